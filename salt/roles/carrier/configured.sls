{%- set carrier = pillar.metis.roles.carrier %}
{%- set instance = carrier.instances[0] %}
include:
  - roles.carrier.installed

carrier has its identity in the p2p network:
  metis_p2p_key.present:
    - name: {{ instance.p2p_key }}
    - user: {{ carrier.user }}
    - require:
      - sls: roles.carrier.installed

The configuration of carrier is written:
  file.serialize:
    - name: {{ instance.config_file }}
    - dataset_pillar: metis:roles:carrier:instances:0:config
    - serializer: yaml
    - user: root
    - group: {{ carrier.user }}
    - mode: '0640'
    - require:
      - sls: roles.carrier.installed

The unit of carrier is written:
  file.managed:
    - name: /usr/local/lib/systemd/system/metis-carrier.service
    - source: salt://roles/carrier/files/metis-carrier.service.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - require:
      - sls: roles.carrier.installed
    - context:
        org: {{ pillar.metis.org | json }}
        user: {{ carrier.user }}
        directory: {{ instance.link }}
        program: {{ carrier.releases[instance.release].artifacts.carrier.file }}
        config_file: {{ instance.config_file }}
        agent: {{ pillar.metis.agent | json }}
        service: {{ instance.service | json }}
        data_center: {{ instance.data_center }}
        writable: {{ carrier.writable | json }}
