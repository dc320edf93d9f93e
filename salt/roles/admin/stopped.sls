{%- set instance = pillar.metis.roles.admin.instances[0] %}
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
    - require:
      - metis_unit: admin is stopped

MariaDB is stopped:
  metis_unit.stopped:
    - name: mariadb.service
    - require:
      - metis_unit: admin is stopped
