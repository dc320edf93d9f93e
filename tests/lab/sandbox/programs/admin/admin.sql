-- The schema of the sandbox's admin: written for it, with the properties of the real one that a
-- deployment meets. It starts by dropping the database, so it must never be run twice; its views
-- cannot be made under ONLY_FULL_GROUP_BY; its last statement needs SUPER.

DROP DATABASE IF EXISTS `metis_admin`;
CREATE DATABASE `metis_admin` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;
USE `metis_admin`;

CREATE TABLE `local_org` (
  `identity_id` varchar(200) NOT NULL COMMENT 'identity of the organization in the network',
  `name` varchar(100) DEFAULT NULL,
  `carrier_ip` varchar(32) DEFAULT NULL,
  `carrier_port` int DEFAULT NULL,
  `carrier_status` varchar(50) DEFAULT NULL,
  `status` tinyint NOT NULL DEFAULT 0 COMMENT '0: outside of the network, 1: joined',
  `rec_update_time` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
  PRIMARY KEY (`identity_id`)
) ENGINE=InnoDB COMMENT='this organization';

CREATE TABLE `organization` (
  `identity_id` varchar(200) NOT NULL,
  `org_name` varchar(100) DEFAULT NULL,
  `node_id` varchar(200) DEFAULT NULL,
  `status` tinyint NOT NULL DEFAULT 1,
  PRIMARY KEY (`identity_id`)
) ENGINE=InnoDB COMMENT='organizations of the network';

CREATE TABLE `sys_user` (
  `id` int NOT NULL AUTO_INCREMENT,
  `user_name` varchar(50) NOT NULL,
  `password` varchar(100) NOT NULL,
  `is_admin` tinyint NOT NULL DEFAULT 0,
  `status` tinyint NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_user_name` (`user_name`)
) ENGINE=InnoDB;

CREATE TABLE `sys_config` (
  `id` int NOT NULL AUTO_INCREMENT,
  `key` varchar(100) NOT NULL,
  `value` varchar(500) DEFAULT NULL,
  `status` tinyint NOT NULL DEFAULT 1,
  `desc` varchar(200) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_key` (`key`)
) ENGINE=InnoDB;

CREATE TABLE `data_sync` (
  `data_type` varchar(64) NOT NULL,
  `latest_synced` datetime(3) NOT NULL,
  `info` varchar(200) DEFAULT NULL,
  PRIMARY KEY (`data_type`)
) ENGINE=InnoDB COMMENT='how far the network data has been read';

CREATE TABLE `local_seed_node` (
  `seed_node_id` varchar(1024) NOT NULL,
  `internal_ip` varchar(32) DEFAULT NULL,
  `conn_status` tinyint NOT NULL DEFAULT 0,
  PRIMARY KEY (`seed_node_id`(191))
) ENGINE=InnoDB;

CREATE TABLE `local_data_node` (
  `node_id` varchar(200) NOT NULL,
  `node_name` varchar(50) DEFAULT NULL,
  `internal_ip` varchar(32) DEFAULT NULL,
  `internal_port` int DEFAULT NULL,
  `external_ip` varchar(32) DEFAULT NULL,
  `external_port` int DEFAULT NULL,
  `conn_status` tinyint NOT NULL DEFAULT 0,
  PRIMARY KEY (`node_id`)
) ENGINE=InnoDB;

CREATE TABLE `local_data_file` (
  `id` int NOT NULL AUTO_INCREMENT,
  `file_id` varchar(200) NOT NULL,
  `identity_id` varchar(200) DEFAULT NULL,
  `file_name` varchar(100) NOT NULL,
  `file_path` varchar(100) DEFAULT NULL,
  `size` bigint NOT NULL DEFAULT 0,
  `rows` bigint NOT NULL DEFAULT 0,
  `columns` int NOT NULL DEFAULT 0,
  `has_title` tinyint NOT NULL DEFAULT 0,
  `node_id` varchar(200) DEFAULT NULL,
  `rec_create_time` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_file_id` (`file_id`)
) ENGINE=InnoDB;

CREATE TABLE `local_data_file_column` (
  `id` int NOT NULL AUTO_INCREMENT,
  `file_id` varchar(200) NOT NULL,
  `column_idx` int NOT NULL,
  `column_name` varchar(100) DEFAULT NULL,
  `column_type` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_column` (`file_id`, `column_idx`)
) ENGINE=InnoDB;

CREATE TABLE `local_meta_data` (
  `id` int NOT NULL AUTO_INCREMENT,
  `meta_data_id` varchar(200) DEFAULT NULL,
  `file_id` varchar(200) NOT NULL,
  `meta_data_name` varchar(100) DEFAULT NULL,
  `status` tinyint NOT NULL DEFAULT 0,
  `industry` varchar(50) DEFAULT NULL,
  `publish_time` datetime DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_meta_data_id` (`meta_data_id`)
) ENGINE=InnoDB;

CREATE TABLE `local_meta_data_column` (
  `id` int NOT NULL AUTO_INCREMENT,
  `local_meta_data_db_id` int NOT NULL,
  `column_idx` int NOT NULL,
  `visible` tinyint NOT NULL DEFAULT 1,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_column` (`local_meta_data_db_id`, `column_idx`)
) ENGINE=InnoDB;

CREATE TABLE `local_data_auth` (
  `auth_id` varchar(200) NOT NULL,
  `meta_data_id` varchar(200) NOT NULL,
  `apply_user` varchar(200) DEFAULT NULL,
  `status` tinyint NOT NULL DEFAULT 0,
  `create_at` datetime DEFAULT NULL,
  PRIMARY KEY (`auth_id`)
) ENGINE=InnoDB;

CREATE TABLE `local_power_node` (
  `node_id` varchar(200) NOT NULL,
  `node_name` varchar(50) DEFAULT NULL,
  `internal_ip` varchar(32) DEFAULT NULL,
  `internal_port` int DEFAULT NULL,
  `external_ip` varchar(32) DEFAULT NULL,
  `external_port` int DEFAULT NULL,
  `power_id` varchar(200) DEFAULT NULL,
  `memory` bigint NOT NULL DEFAULT 0,
  `core` int NOT NULL DEFAULT 0,
  `bandwidth` bigint NOT NULL DEFAULT 0,
  `used_memory` bigint NOT NULL DEFAULT 0,
  `used_core` int NOT NULL DEFAULT 0,
  `used_bandwidth` bigint NOT NULL DEFAULT 0,
  `conn_status` tinyint NOT NULL DEFAULT 0,
  `power_status` tinyint NOT NULL DEFAULT 0,
  `rec_create_time` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`node_id`)
) ENGINE=InnoDB;

CREATE TABLE `local_power_load_snapshot` (
  `id` int NOT NULL AUTO_INCREMENT,
  `node_id` varchar(200) NOT NULL,
  `snapshot_time` datetime NOT NULL,
  `used_core` int NOT NULL DEFAULT 0,
  `used_memory` bigint NOT NULL DEFAULT 0,
  `used_bandwidth` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_snapshot` (`node_id`, `snapshot_time`)
) ENGINE=InnoDB;

CREATE TABLE `local_power_join_task` (
  `id` int NOT NULL AUTO_INCREMENT,
  `node_id` varchar(200) NOT NULL,
  `task_id` varchar(200) NOT NULL,
  `used_memory` bigint NOT NULL DEFAULT 0,
  `used_core` int NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`),
  UNIQUE KEY `uk_task` (`node_id`, `task_id`)
) ENGINE=InnoDB;

CREATE TABLE `local_power_history` (
  `id` int NOT NULL AUTO_INCREMENT,
  `node_id` varchar(200) NOT NULL,
  `power_status` tinyint NOT NULL DEFAULT 0,
  `changed_at` datetime NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;

CREATE TABLE `global_meta_data` (
  `meta_data_id` varchar(200) NOT NULL,
  `identity_id` varchar(200) NOT NULL,
  `file_name` varchar(100) DEFAULT NULL,
  `size` bigint NOT NULL DEFAULT 0,
  `status` tinyint NOT NULL DEFAULT 0,
  PRIMARY KEY (`meta_data_id`)
) ENGINE=InnoDB;

CREATE TABLE `global_meta_data_column` (
  `meta_data_id` varchar(200) NOT NULL,
  `column_idx` int NOT NULL,
  `column_name` varchar(100) DEFAULT NULL,
  `column_type` varchar(20) DEFAULT NULL,
  PRIMARY KEY (`meta_data_id`, `column_idx`)
) ENGINE=InnoDB;

CREATE TABLE `global_power` (
  `id` varchar(200) NOT NULL,
  `identity_id` varchar(200) NOT NULL,
  `memory` bigint NOT NULL DEFAULT 0,
  `core` int NOT NULL DEFAULT 0,
  `bandwidth` bigint NOT NULL DEFAULT 0,
  `status` tinyint NOT NULL DEFAULT 0,
  PRIMARY KEY (`id`)
) ENGINE=InnoDB;

CREATE TABLE `task` (
  `task_id` varchar(200) NOT NULL,
  `task_name` varchar(100) DEFAULT NULL,
  `owner_identity_id` varchar(200) DEFAULT NULL,
  `status` tinyint NOT NULL DEFAULT 0,
  `create_at` datetime DEFAULT NULL,
  `start_at` datetime DEFAULT NULL,
  `end_at` datetime DEFAULT NULL,
  PRIMARY KEY (`task_id`)
) ENGINE=InnoDB;

CREATE TABLE `task_algo_provider` (
  `task_id` varchar(200) NOT NULL,
  `identity_id` varchar(200) NOT NULL,
  `party_id` varchar(200) NOT NULL,
  PRIMARY KEY (`task_id`)
) ENGINE=InnoDB;

CREATE TABLE `task_meta_data` (
  `task_id` varchar(200) NOT NULL,
  `meta_data_id` varchar(200) NOT NULL,
  `identity_id` varchar(200) NOT NULL,
  `party_id` varchar(200) NOT NULL,
  PRIMARY KEY (`task_id`, `meta_data_id`)
) ENGINE=InnoDB;

CREATE TABLE `task_power_provider` (
  `task_id` varchar(200) NOT NULL,
  `identity_id` varchar(200) NOT NULL,
  `party_id` varchar(200) NOT NULL,
  `used_core` int NOT NULL DEFAULT 0,
  `used_memory` bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (`task_id`, `party_id`)
) ENGINE=InnoDB;

CREATE TABLE `task_result_consumer` (
  `task_id` varchar(200) NOT NULL,
  `consumer_identity_id` varchar(200) NOT NULL,
  `consumer_party_id` varchar(200) NOT NULL,
  PRIMARY KEY (`task_id`, `consumer_party_id`)
) ENGINE=InnoDB;

CREATE TABLE `task_event` (
  `id` int NOT NULL AUTO_INCREMENT,
  `task_id` varchar(200) NOT NULL,
  `event_type` varchar(20) DEFAULT NULL,
  `event_at` datetime DEFAULT NULL,
  `event_content` varchar(512) DEFAULT NULL,
  PRIMARY KEY (`id`),
  KEY `idx_task_id` (`task_id`)
) ENGINE=InnoDB;

CREATE VIEW `v_local_data_file_stats_monthly` AS
SELECT `this`.`month` AS `stats_time`, `this`.`size` AS `month_size`,
       SUM(`until`.`size`) AS `total_size`
FROM (SELECT DATE_FORMAT(`rec_create_time`, '%Y-%m') AS `month`, SUM(`size`) AS `size`
      FROM `local_data_file` GROUP BY DATE_FORMAT(`rec_create_time`, '%Y-%m')) AS `this`
JOIN (SELECT DATE_FORMAT(`rec_create_time`, '%Y-%m') AS `month`, SUM(`size`) AS `size`
      FROM `local_data_file` GROUP BY DATE_FORMAT(`rec_create_time`, '%Y-%m')) AS `until`
  ON `until`.`month` <= `this`.`month`
GROUP BY `this`.`month`
ORDER BY `this`.`month`;

CREATE VIEW `v_local_power_stats_monthly` AS
SELECT `this`.`month` AS `stats_time`, `this`.`core` AS `month_core`,
       `this`.`memory` AS `month_memory`, SUM(`until`.`core`) AS `total_core`,
       SUM(`until`.`memory`) AS `total_memory`
FROM (SELECT DATE_FORMAT(`rec_create_time`, '%Y-%m') AS `month`, SUM(`core`) AS `core`,
             SUM(`memory`) AS `memory`
      FROM `local_power_node` GROUP BY DATE_FORMAT(`rec_create_time`, '%Y-%m')) AS `this`
JOIN (SELECT DATE_FORMAT(`rec_create_time`, '%Y-%m') AS `month`, SUM(`core`) AS `core`,
             SUM(`memory`) AS `memory`
      FROM `local_power_node` GROUP BY DATE_FORMAT(`rec_create_time`, '%Y-%m')) AS `until`
  ON `until`.`month` <= `this`.`month`
GROUP BY `this`.`month`
ORDER BY `this`.`month`;

CREATE EVENT `local_power_load_snapshot_event`
ON SCHEDULE EVERY 1 HOUR STARTS '2022-01-01 00:00:00'
ON COMPLETION PRESERVE ENABLE
DO
INSERT INTO `local_power_load_snapshot`
  (`node_id`, `snapshot_time`, `used_core`, `used_memory`, `used_bandwidth`)
SELECT `node_id`, DATE_FORMAT(NOW(), '%Y-%m-%d %H:00:00'), `used_core`, `used_memory`,
       `used_bandwidth`
FROM `local_power_node`;

INSERT INTO `sys_user` (`user_name`, `password`, `is_admin`, `status`)
VALUES ('admin', 'admin', 1, 1);

INSERT INTO `data_sync` (`data_type`, `latest_synced`, `info`) VALUES
  ('data_auth_req', '1970-01-01 00:00:00', 'requests for the use of data'),
  ('local_meta_data', '1970-01-01 00:00:00', 'state of the published data'),
  ('local_task', '1970-01-01 00:00:00', 'tasks');

SET GLOBAL event_scheduler = ON;
