{%- set instance = pillar.metis.leaving.consul.instances[0] %}
{%- set agent = {"address": instance.address, "port": instance.settings.http_port} %}
include:
  - roles.consul.absent

The consul server has left its cluster:
  metis_consul.left:
    - name: metis-consul.service
    - agent: {{ agent | json }}
    - require_in:
      - sls: roles.consul.absent
