{%- from "roles/common/program.jinja" import account, release, current with context %}
{%- set admin = pillar.metis.roles.admin %}
{%- set seen = admin.releases[admin.instances[0].release] %}
include:
  - roles.common.curl
  - roles.common.directories
{{ account("admin", admin) }}
{{ release("admin", seen) }}
{{ current("admin", admin.instances[0], "admin", seen) }}

The packages of admin are installed:
  pkg.installed:
    - pkgs:
      - mariadb-server
      - nginx-light
      - openjdk-17-jre-headless
    - require:
      - metis_ownership: What the organization makes on this host carries its mark
