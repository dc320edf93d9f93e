{%- from "roles/common/program.jinja" import account with context %}
include:
  - roles.common.ready
{{ account("carrier", pillar.metis.roles.carrier) }}
