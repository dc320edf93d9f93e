include:
  - roles.data.configured
  - roles.data.{{ salt['metis_unit.wanted'](pillar.metis.roles.data.instances) }}
