include:
  - roles.admin.configured
  - roles.admin.{{ salt['metis_unit.wanted'](pillar.metis.roles.admin.instances) }}
