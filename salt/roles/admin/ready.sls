{%- from "roles/common/program.jinja" import account with context %}
{%- from "roles/admin/packages.jinja" import packages %}
include:
  - roles.common.ready
{{ account("admin", pillar.metis.roles.admin) }}
{{ packages() }}

# As README has it for a minion that is set up by hand. What is there already is left as it is.
The Python of the minion knows MariaDB:
  pip.installed:
    - pkgs:
      - saltext-mysql==1.1.0
      - PyMySQL==1.2.4
    - reload_modules: True
