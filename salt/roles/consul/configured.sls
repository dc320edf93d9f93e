{%- set consul = pillar.metis.roles.consul %}
{%- set instance = consul.instances[0] %}
include:
  - roles.consul.installed

The configuration of consul is written:
  file.serialize:
    - name: {{ instance.config_file }}
    - dataset_pillar: metis:roles:consul:instances:0:config
    - serializer: json
    - user: root
    - group: {{ consul.user }}
    - mode: '0640'
    - require:
      - sls: roles.consul.installed

The unit of consul is written:
  file.managed:
    - name: /usr/local/lib/systemd/system/metis-consul.service
    - source: salt://roles/consul/files/metis-consul.service.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - require:
      - sls: roles.consul.installed
    - context:
        org: {{ pillar.metis.org | json }}
        user: {{ consul.user }}
        directory: {{ instance.link }}
        config_file: {{ instance.config_file }}
        writable: {{ consul.writable | json }}
