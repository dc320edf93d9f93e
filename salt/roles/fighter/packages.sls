The packages of a fighter are installed:
  pkg.installed:
    - pkgs:
      - python3-venv
