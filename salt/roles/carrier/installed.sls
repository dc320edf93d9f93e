{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set carrier = pillar.metis.roles.carrier %}
{%- set seen = carrier.releases[carrier.instances[0].release] %}
include:
  - roles.common.curl
  - roles.common.directories
{{ account("carrier", carrier) }}
{{ release("carrier", seen) }}
{{ current("carrier", carrier.instances[0], "carrier", seen) }}
