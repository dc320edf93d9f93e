# A release beside the one that runs, complete but for what runs it.
{%- from "roles/common/program.jinja" import release with context %}
include:
  - roles.common.directories
{{ release("carrier", pillar.metis.roles.carrier.releases[pillar.metis_release | default(pillar.metis.release)]) }}
