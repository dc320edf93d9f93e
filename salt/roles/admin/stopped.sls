{%- set admin = pillar.metis.roles.admin %}
{%- set instance = admin.instances[0] %}
nginx is stopped:
  metis_unit.stopped:
    - name: nginx.service

admin is stopped:
  metis_unit.stopped:
    - name: metis-admin.service
    - require:
      - metis_unit: nginx is stopped

admin is not registered:
  metis_consul.service_absent:
    - name: {{ instance.service.id }}
    - agent: {{ pillar.metis.agent | json }}
    - unit: metis-admin.service
    - require:
      - metis_unit: admin is stopped

# `metis.cleanup` asks for it when MariaDB cannot say it any more.
The identity of the organization is noted:
  metis_identity.noted:
    - database: {{ admin.releases[instance.release].facts.database }}
    - require:
      - metis_unit: admin is stopped

MariaDB is stopped:
  metis_unit.stopped:
    - name: mariadb.service
    - require:
      - metis_unit: admin is stopped
      - metis_identity: The identity of the organization is noted

What was noted counts until MariaDB runs again:
  metis_identity.sealed:
    - onchanges:
      - metis_unit: MariaDB is stopped
