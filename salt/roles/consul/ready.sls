{%- from "roles/common/program.jinja" import account with context %}
include:
  - roles.common.ready
{{ account("consul", pillar.metis.roles.consul) }}
