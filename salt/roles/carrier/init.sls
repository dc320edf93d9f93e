include:
  - roles.carrier.configured
  - roles.carrier.{{ salt['metis_unit.wanted'](pillar.metis.roles.carrier.instances) }}
