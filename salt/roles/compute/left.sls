{%- from "roles/common/left.jinja" import left with context %}
include:
  - roles.compute.absent
{{ left("compute") }}
