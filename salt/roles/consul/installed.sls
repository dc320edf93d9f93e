{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set consul = pillar.metis.roles.consul %}
include:
  - roles.common.directories
{{ account("consul", consul) }}
{{ release("consul", consul) }}
{{ current("consul", consul) }}
