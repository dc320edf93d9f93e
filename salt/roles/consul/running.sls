{%- set consul = pillar.metis.roles.consul %}
{%- set instance = consul.instances[0] %}
{%- set agent = {"address": pillar.metis.address, "port": instance.settings.http_port} %}
include:
  - roles.consul.configured

The consul server runs:
  metis_unit.running:
    - name: metis-consul.service
    - files: {{ instance.files['metis-consul.service'] | json }}
    - require:
      - sls: roles.consul.configured
    - watch:
      - file: consul has its release
      - metis_artifact: consul of consul {{ instance.release }} is unpacked
      - file: The configuration of consul is written
      - file: The unit of consul is written

consul has a leader and all its peers:
  metis_consul.cluster_ready:
    - agent: {{ agent | json }}
    - peers: {{ instance.peers }}
    - unit: metis-consul.service
    - require:
      - metis_unit: The consul server runs
{% for key, value in instance['keys'].items() %}
The key {{ key }} says where to find it:
  metis_consul.key_present:
    - name: {{ key }}
    - value: {{ value }}
    - agent: {{ agent | json }}
    - unit: metis-consul.service
    - require:
      - metis_consul: consul has a leader and all its peers
{% endfor %}
