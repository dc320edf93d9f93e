{#- data and compute are one program with a kind; on one host they share each release of it. #}
{%- from "roles/common/program.jinja" import current with context %}
{%- from "roles/fighter/release.jinja" import fighter with context %}
{%- set roles = pillar.metis.roles %}
{%- set releases = (roles.data | default(roles.compute)).releases %}
{%- set instances = (roles.data | default({})).instances | default([]) + (roles.compute | default({})).instances | default([]) %}
include:
  - roles.common.directories
  - roles.fighter.packages
{%- for name in instances | map(attribute="release") | unique %}
{{ fighter(releases[name]) }}
{%- endfor %}
{%- for instance in instances %}
{{ current(instance.id, instance, "fighter", releases[instance.release]) }}
      - cmd: The Python environment of fighter {{ instance.release }} is built
{%- endfor %}
