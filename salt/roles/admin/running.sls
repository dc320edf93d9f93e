{%- set admin = pillar.metis.roles.admin %}
{%- set instance = admin.instances[0] %}
{%- set release = admin.releases[instance.release] %}
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

The database of admin is created once:
  metis_mysql.schema_present:
    - name: {{ release.facts.database }}
    - file: {{ release.directory }}/{{ release.artifacts.admin_sql.file }}
    - release: {{ release.name }}
    - changes: {{ release.facts.schema_changes | default([]) | json }}
    - require:
      - metis_unit: MariaDB runs

# What it would write after the dump could not be brought back.
admin does not run while its schema changes:
  service.dead:
    - name: metis-admin.service
    - prereq:
      - metis_schema: The schema of admin is that of its release

The schema of admin is that of its release:
  metis_schema.current:
    - name: {{ release.facts.database }}
    - release: {{ release.name }}
    - backups: {{ admin.data }}/backups
    - changes:
{%- for change in release.facts.schema_changes | default([]) %}
      - name: {{ change }}
        file: {{ release.directory }}/{{ release.artifacts[change].file }}
{%- else %} []
{%- endfor %}
    - require:
      - metis_mysql: The database of admin is created once

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
      - metis_schema: The schema of admin is that of its release

The database account of admin has rights on its database only:
  mysql_grants.present:
    - grant: ALL PRIVILEGES
    - database: {{ release.facts.database }}.*
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
      - file: admin has its release
      - metis_artifact: The artifacts of admin {{ instance.release }} are there
      - file: The configuration of admin is written
      - file: The unit of admin is written

# No sooner: until then, admin logs in with the one that it had.
The database accounts that admin had before are gone:
  metis_ownership.former_accounts_absent:
    - require:
      - metis_unit: admin runs

nginx runs:
  metis_unit.running:
    - name: nginx.service
    - files: {{ instance.files['nginx.service'] | json }}
    - require:
      - metis_unit: admin runs
    - watch:
      - file: The web site of admin is written
{%- if instance.tls.enabled %}
      - file: The certificate of admin is written
      - file: The key of the certificate of admin is written
{%- endif %}

admin is registered and passes:
  metis_consul.service_passing:
    - agent: {{ pillar.metis.agent | json }}
    - service: {{ instance.service | json }}
    - unit: metis-admin.service
    - require:
      - metis_unit: admin runs

admin is healthy over nginx:
  metis_health.answers_http:
    - url: {{ instance.health }}
    - body: Metis-Admin
    - certificate: {{ instance.tls.shown | json }}
    - unit: metis-admin.service
    - require:
      - metis_unit: nginx runs
