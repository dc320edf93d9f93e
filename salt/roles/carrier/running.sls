{%- set instance = pillar.metis.roles.carrier.instances[0] %}
include:
  - roles.carrier.configured

carrier runs:
  metis_unit.running:
    - name: metis-carrier.service
    - files: {{ instance.files['metis-carrier.service'] | json }}
    - service: {{ instance.service | json }}
    - agent: {{ pillar.metis.agent | json }}
    - require:
      - sls: roles.carrier.configured
    - watch:
      - file: carrier has its release
      - metis_artifact: The artifacts of carrier {{ instance.release }} are there
      - file: The configuration of carrier is written
      - file: The unit of carrier is written

carrier is registered and passes:
  metis_consul.service_passing:
    - agent: {{ pillar.metis.agent | json }}
    - service: {{ instance.service | json }}
    - unit: metis-carrier.service
    - require:
      - metis_unit: carrier runs
