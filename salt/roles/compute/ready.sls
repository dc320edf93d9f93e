{%- from "roles/common/program.jinja" import account with context %}
include:
  - roles.common.ready
  - roles.fighter.packages
{{ account("compute", pillar.metis.roles.compute) }}
