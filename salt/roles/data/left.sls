{%- from "roles/common/left.jinja" import left with context %}
include:
  - roles.data.absent
{{ left("data") }}
