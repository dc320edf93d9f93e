{%- set instance = pillar.metis.roles.carrier.instances[0] %}
carrier is stopped:
  metis_unit.stopped:
    - name: metis-carrier.service

carrier is not registered:
  metis_consul.service_absent:
    - name: {{ instance.service.id }}
    - agent: {{ pillar.metis.agent | json }}
    - unit: metis-carrier.service
    - require:
      - metis_unit: carrier is stopped
