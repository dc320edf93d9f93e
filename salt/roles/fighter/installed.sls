{#- data and compute are one program with a kind; on one host they share it. #}
{%- from "roles/common/program.jinja" import release, current with context %}
{%- set fighter = pillar.metis.roles.data | default(pillar.metis.roles.compute) %}
{%- set environment = fighter.release ~ "/env" %}
{%- set mark = fighter.release ~ "/" ~ fighter.facts.environment_mark %}
include:
  - roles.common.directories
{{ release("fighter", fighter) }}

The packages of a fighter are installed:
  pkg.installed:
    - pkgs:
      - python3-venv

# Its last command makes the mark: an environment that was cut off is made anew.
The Python environment of fighter is built:
  cmd.run:
    - name: >-
        {{ fighter.facts.python }} -m venv --clear {{ environment }} &&
        {{ environment }}/bin/pip install --quiet --no-index --find-links {{ fighter.release }}/wheelhouse
        --require-hashes --requirement {{ fighter.release }}/wheelhouse/requirements.txt &&
        {{ environment }}/bin/pip install --quiet --no-index --no-deps
        {%- for artifact in fighter.artifacts.values() if artifact.kind == "wheel" %}
        {{ fighter.release }}/{{ artifact.file }}
        {%- endfor %} &&
        touch {{ mark }}
    - creates: {{ mark }}
    - timeout: 600
    - require:
      - pkg: The packages of a fighter are installed
{%- for artifact in fighter.artifacts.values() %}
      - metis_artifact: {{ fighter.release }}/{{ artifact.file }}
{%- endfor %}
      - metis_artifact: The artifact fighter_wheelhouse is unpacked
{{ current("fighter", fighter) }}
      - cmd: The Python environment of fighter is built
