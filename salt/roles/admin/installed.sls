{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- from "roles/admin/packages.jinja" import packages %}
{%- set admin = pillar.metis.roles.admin %}
{%- set seen = admin.releases[admin.instances[0].release] %}
include:
  - roles.common.curl
  - roles.common.directories
{{ account("admin", admin) }}
{{ release("admin", seen) }}
{{ current("admin", admin.instances[0], "admin", seen) }}

{{ packages() }}
