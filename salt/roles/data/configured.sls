{%- from "roles/fighter/instances.jinja" import configured with context %}
include:
  - roles.data.installed
{{ configured("data") }}
