{%- from "roles/fighter/instances.jinja" import configured with context %}
include:
  - roles.compute.installed
{{ configured("compute") }}
