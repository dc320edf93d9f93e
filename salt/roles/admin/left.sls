{%- from "roles/common/left.jinja" import left with context %}
include:
  - roles.admin.absent
{{ left("admin") }}
