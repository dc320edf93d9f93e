{%- from "roles/common/certificate.jinja" import certificate with context %}
{%- set ice_via = pillar.metis.roles.ice_via %}
{%- set instance = ice_via.instances[0] %}
include:
  - roles.ice_via.installed
{{ certificate("ice_via", ice_via) }}

The directory for the registry of IceGrid exists:
  file.directory:
    - name: {{ ice_via.data }}/registry
    - user: {{ ice_via.user }}
    - group: {{ ice_via.user }}
    - mode: '0750'
    - require:
      - sls: roles.ice_via.installed
{% for program in ("icegrid", "glacier2") %}
The properties of {{ program }} are written:
  file.managed:
    - name: {{ ice_via.configuration }}/{{ program }}.properties
    - source: salt://roles/ice_via/files/ice.properties.jinja
    - template: jinja
    - user: root
    - group: {{ ice_via.user }}
    - mode: '0640'
    - context:
        properties: {{ instance[program] | json }}
    - require:
      - sls: roles.ice_via.installed

The unit of {{ program }} is written:
  file.managed:
    - name: /usr/local/lib/systemd/system/metis-{{ program }}.service
    - source: salt://roles/ice_via/files/metis-{{ program }}.service.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - require:
      - sls: roles.ice_via.installed
    - context:
        org: {{ pillar.metis.org | json }}
        user: {{ ice_via.user }}
        directory: {{ ice_via.data }}
        properties_file: {{ ice_via.configuration }}/{{ program }}.properties
        writable: {{ ice_via.writable | json }}
{% endfor %}
