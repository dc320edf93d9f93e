include:
  - roles.ice_via.configured
  - roles.ice_via.{{ salt['metis_unit.wanted'](pillar.metis.roles.ice_via.instances) }}
