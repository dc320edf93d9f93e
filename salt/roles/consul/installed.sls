{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set consul = pillar.metis.roles.consul %}
{%- set seen = consul.releases[consul.instances[0].release] %}
include:
  - roles.common.directories
{{ account("consul", consul) }}
{{ release("consul", seen) }}
{{ current("consul", consul.instances[0], "consul", seen) }}
