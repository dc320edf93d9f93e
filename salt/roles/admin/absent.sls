{%- from "roles/common/absent.jinja" import absent with context %}
{%- set going = salt["metis_absence.going"]("admin", pillar.metis, pillar.metis_leaving | default({})) %}
include:
  - roles.common.absent
{{ absent("admin") }}
{%- for service in going.services %}
# It is given back with the settings that it had.
{{ service }} does not run with settings of admin:
  metis_unit.dead:
    - name: {{ service }}
    - require:
      - metis_unit: systemd has forgotten the units of admin
{% endfor %}
{%- if going.databases or going.accounts %}
MariaDB runs while the database of admin goes:
  service.running:
    - name: mariadb.service
    - unmask: True
    - require:
      - metis_unit: mariadb.service does not run with settings of admin
{% endif %}
{%- for database in going.databases %}
The database {{ database }} is gone:
  mysql_database.absent:
    - name: {{ database }}
    - connection_user: root
    - connection_unix_socket: /run/mysqld/mysqld.sock
    # Not there in a dry run, and always after that.
    - onlyif: test -S /run/mysqld/mysqld.sock
    - require:
      - service: MariaDB runs while the database of admin goes
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endfor %}
{%- for account in going.accounts %}
The database account {{ account }} is gone:
  mysql_user.absent:
    - name: {{ account | json }}
    - host: 127.0.0.1
    - connection_user: root
    - connection_unix_socket: /run/mysqld/mysqld.sock
    - onlyif: test -S /run/mysqld/mysqld.sock
    - require:
      - service: MariaDB runs while the database of admin goes
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endfor %}
{%- for link in going.links %}
{{ link.name }} is what it was:
  file.symlink:
    - name: {{ link.name | json }}
    - target: {{ link.target | json }}
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endfor %}
{%- for service, was in going.services.items() %}
{{ service }} is as it was before:
  service.{{ "running" if was.active else "dead" }}:
    - name: {{ service }}
{%- if was.active %}
    - unmask: True
{%- endif %}
    - enable: {{ was.enabled }}
    - require:
      - metis_unit: {{ service }} does not run with settings of admin
{%- for database in going.databases %}
      - mysql_database: The database {{ database }} is gone
{%- endfor %}
{%- for account in going.accounts %}
      - mysql_user: The database account {{ account }} is gone
{%- endfor %}
{%- for link in going.links %}
      - file: {{ link.name }} is what it was
{%- endfor %}
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endfor %}
