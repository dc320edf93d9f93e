include:
  - roles.compute.configured
  - roles.compute.{{ salt['metis_unit.wanted'](pillar.metis.roles.compute.instances) }}
