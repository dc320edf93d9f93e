{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set carrier = pillar.metis.roles.carrier %}
include:
  - roles.common.directories
{{ account("carrier", carrier) }}
{{ release("carrier", carrier) }}
{{ current("carrier", carrier) }}
# carrier's unit removes its own stale registration with it before it starts.
The program curl is installed:
  pkg.installed:
    - name: curl
