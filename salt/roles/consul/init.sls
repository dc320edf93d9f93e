include:
  - roles.consul.configured
  - roles.consul.{{ salt['metis_unit.wanted'](pillar.metis.roles.consul.instances) }}
