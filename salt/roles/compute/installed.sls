{%- from "roles/common/program.jinja" import account with context %}
include:
  - roles.common.curl
  - roles.common.directories
  - roles.fighter.installed
{{ account("compute", pillar.metis.roles.compute) }}
