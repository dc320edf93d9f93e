include:
  - roles.common.marked

The packages of a fighter are installed:
  pkg.installed:
    - pkgs:
      - python3-venv
    - require:
      - metis_ownership: What the organization makes on this host carries its mark
