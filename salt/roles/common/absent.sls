# What several roles of a host have goes with the last of them: packages too, where the organization
# brought them and nobody else needs them.
{%- set leaving = pillar.metis_leaving | default({}) %}
{%- set going = salt["metis_absence.shared"](pillar.metis, leaving) %}
{%- if going.packages %}
What the organization installed is gone:
  pkg.purged:
    - pkgs: {{ going.packages | json }}
    - order: last
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endif %}
{%- for path in going.paths %}
{{ path }} is gone:
  file.absent:
    - name: {{ path | json }}
    - order: last
    - require:
{%- if going.packages %}
      - pkg: What the organization installed is gone
{%- else %} []
{%- endif %}
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endfor %}
{%- for folder in going.owners %}
{{ folder.name }} is whose it was:
  file.directory:
    - name: {{ folder.name | json }}
    - user: {{ folder.owner[0] }}
    - group: {{ folder.owner[1] }}
    - mode: '{{ folder.owner[2] }}'
    - order: last
    - require_in:
      - metis_ownership: What has gone carries no mark
{% endfor %}
What has gone carries no mark:
  metis_ownership.released:
    - leaving: {{ leaving | json }}
    - order: last
