{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set admin = pillar.metis.roles.admin %}
include:
  - roles.common.curl
  - roles.common.directories
{{ account("admin", admin) }}
{{ release("admin", admin) }}
{{ current("admin", admin) }}

The packages of admin are installed:
  pkg.installed:
    - pkgs:
      - mariadb-server
      - nginx-light
      - openjdk-17-jre-headless
