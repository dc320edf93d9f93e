{%- from "roles/fighter/instances.jinja" import running with context %}
include:
  - roles.compute.configured
{{ running("compute") }}
