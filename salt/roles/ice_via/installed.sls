{%- from "roles/common/program.jinja" import account with context %}
{%- from "roles/ice_via/packages.jinja" import packages %}
{%- set ice_via = pillar.metis.roles.ice_via %}
include:
  - roles.common.directories
{{ account("ice_via", ice_via) }}

{{ packages() }}
