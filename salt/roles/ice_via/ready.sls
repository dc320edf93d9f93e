{%- from "roles/common/program.jinja" import account with context %}
{%- from "roles/ice_via/packages.jinja" import packages %}
include:
  - roles.common.ready
{{ account("ice_via", pillar.metis.roles.ice_via) }}
{{ packages() }}
