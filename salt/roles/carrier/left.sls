{%- from "roles/common/left.jinja" import left with context %}
include:
  - roles.carrier.absent
{{ left("carrier") }}
