{%- from "roles/common/absent.jinja" import absent with context %}
include:
  - roles.common.absent
{{ absent("carrier") }}
