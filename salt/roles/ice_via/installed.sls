{%- from "roles/common/program.jinja" import account with context %}
{%- set ice_via = pillar.metis.roles.ice_via %}
include:
  - roles.common.directories
{{ account("ice_via", ice_via) }}

# The packages start services of their own, on their own ports. A mask that is there before them
# keeps these from ever starting.
The services of the Ice packages are masked:
  file.symlink:
    - names:
      - /etc/systemd/system/icegridregistry.service
      - /etc/systemd/system/icegridnode.service
      - /etc/systemd/system/glacier2router.service
    - target: /dev/null
    - force: True
    - require:
      - metis_ownership: What the organization makes on this host carries its mark

The packages of Ice are installed:
  pkg.installed:
    - pkgs:
      - zeroc-icegrid
      - zeroc-glacier2
    - require:
      - file: The services of the Ice packages are masked
