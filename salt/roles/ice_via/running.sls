{%- set instance = pillar.metis.roles.ice_via.instances[0] %}
include:
  - roles.ice_via.configured
{% for program, port, certificate in (("icegrid", "grid_port", None), ("glacier2", "glacier2_port", instance.tls.shown)) %}
{{ program }} runs:
  metis_unit.running:
    - name: metis-{{ program }}.service
    - files: {{ instance.files['metis-' ~ program ~ '.service'] | json }}
    - require:
      - sls: roles.ice_via.configured
    - watch:
      - file: The properties of {{ program }} are written
      - file: The unit of {{ program }} is written
{%- if certificate %}
      - file: The certificate of ice_via is written
      - file: The key of the certificate of ice_via is written
{%- endif %}

{{ program }} greets as Ice does:
  metis_health.answers_ice:
    - address: {{ pillar.metis.address }}
    - port: {{ instance.settings[port] }}
    - certificate: {{ certificate | json }}
    - unit: metis-{{ program }}.service
    - require:
      - metis_unit: {{ program }} runs
{% endfor %}
