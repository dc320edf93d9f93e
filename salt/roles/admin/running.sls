{%- set admin = pillar.metis.roles.admin %}
{%- set instance = admin.instances[0] %}
{%- set sql = admin.release ~ "/" ~ admin.artifacts.admin_sql.file %}
include:
  - roles.admin.configured

MariaDB runs:
  metis_unit.running:
    - name: mariadb.service
    - files: {{ instance.files['mariadb.service'] | json }}
    - require:
      - sls: roles.admin.configured
    - watch:
      - file: The settings of MariaDB are written

# The schema begins with DROP DATABASE: it runs only when the server itself says that there is nothing
# to lose. While it runs, the database metis_importing stands beside it, so that an import that was
# cut off is seen and done again, and a database that is there without that mark is left alone.
The database of admin is created once:
  cmd.run:
    - name: >-
        { echo 'CREATE DATABASE IF NOT EXISTS metis_importing;';
        cat {{ sql }} && echo 'DROP DATABASE metis_importing;'; } | mysql --batch
    - onlyif:
      - >-
        mysql --batch --skip-column-names --execute
        "SELECT IF(SUM(schema_name = '{{ admin.facts.database }}') = 1
        AND SUM(schema_name = 'metis_importing') = 0, 'keep', 'import')
        FROM information_schema.schemata"
        | grep --line-regexp import
    - require:
      - metis_unit: MariaDB runs

# As long as it runs, admin may log in again with the password that it has.
admin does not run while its password changes:
  service.dead:
    - name: metis-admin.service
    - prereq:
      - metis_mysql: The database account of admin exists

The database account of admin exists:
  metis_mysql.account:
    - name: {{ instance.settings.mysql_user | json }}
    - host: 127.0.0.1
    - password_pillar: metis:roles:admin:instances:0:config:spring:datasource:druid:password
    - socket: /run/mysqld/mysqld.sock
    # Not there in a dry run of a host that has never been deployed, and always after that.
    - onlyif: test -S /run/mysqld/mysqld.sock
    - require:
      - cmd: The database of admin is created once

The database account of admin has rights on its database only:
  mysql_grants.present:
    - grant: ALL PRIVILEGES
    - database: {{ admin.facts.database }}.*
    - user: {{ instance.settings.mysql_user | json }}
    - host: 127.0.0.1
    - connection_user: root
    - connection_unix_socket: /run/mysqld/mysqld.sock
    - onlyif: test -S /run/mysqld/mysqld.sock
    - require:
      - metis_mysql: The database account of admin exists

admin runs:
  metis_unit.running:
    - name: metis-admin.service
    - files: {{ instance.files['metis-admin.service'] | json }}
    - service: {{ instance.service | json }}
    - agent: {{ pillar.metis.agent | json }}
    - require:
      - mysql_grants: The database account of admin has rights on its database only
    - watch:
      - file: The current release of admin is this one
      - file: The configuration of admin is written
      - file: The unit of admin is written

nginx runs:
  metis_unit.running:
    - name: nginx.service
    - files: {{ instance.files['nginx.service'] | json }}
    - require:
      - metis_unit: admin runs
    - watch:
      - file: The web site of admin is written

admin is healthy over nginx:
  metis_health.answers_http:
    - url: {{ instance.health }}
    - body: Metis-Admin
    - certificate: {{ instance.tls.shown | json }}
    - unit: metis-admin.service
    - require:
      - metis_unit: nginx runs
