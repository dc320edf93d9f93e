-- What 0.3.1 adds to the schema of 0.3.0.

ALTER TABLE `organization` ADD COLUMN `joined_at` datetime DEFAULT NULL;

CREATE TABLE `sys_notice` (
  `id` int NOT NULL AUTO_INCREMENT,
  `text` varchar(1000) NOT NULL,
  `rec_create_time` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB COMMENT='what is shown to everyone who logs in';
