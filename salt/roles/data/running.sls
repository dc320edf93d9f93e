{%- from "roles/fighter/instances.jinja" import running with context %}
include:
  - roles.data.configured
{{ running("data") }}
