# A release beside the one that runs, complete but for what runs it.
{%- from "roles/fighter/release.jinja" import fighter with context %}
{%- set roles = pillar.metis.roles %}
{%- set releases = (roles.data | default(roles.compute)).releases %}
include:
  - roles.common.directories
  - roles.fighter.packages
{{ fighter(releases[pillar.metis_release | default(pillar.metis.release)]) }}
