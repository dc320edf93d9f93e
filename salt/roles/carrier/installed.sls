{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set carrier = pillar.metis.roles.carrier %}
include:
  - roles.common.curl
  - roles.common.directories
{{ account("carrier", carrier) }}
{{ release("carrier", carrier) }}
{{ current("carrier", carrier) }}
