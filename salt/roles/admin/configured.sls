{%- from "roles/common/certificate.jinja" import certificate with context %}
{%- set admin = pillar.metis.roles.admin %}
{%- set instance = admin.instances[0] %}
{%- set release = admin.releases[instance.release] %}
include:
  - roles.admin.installed
{{ certificate("admin", admin) }}

The settings of MariaDB are written:
  file.managed:
    - name: {{ instance.mariadb_file }}
    - source: salt://roles/admin/files/mariadb.cnf.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - context:
        port: {{ instance.settings.mysql_port }}
    - require:
      - sls: roles.admin.installed

# Salt's file.serialize cannot hide what it changes and tell whether it is the content or the mode.
The configuration of admin is written:
  file.managed:
    - name: {{ instance.config_file }}
    - source: salt://roles/admin/files/application-admin.yml.jinja
    - template: jinja
    - user: root
    - group: {{ admin.user }}
    - mode: '0640'
    - show_changes: False
    - require:
      - sls: roles.admin.installed

# admin reads config/application-admin.yml below its working directory, and no other place.
The release of admin finds its configuration:
  file.symlink:
    - name: {{ release.directory }}/config
    - target: {{ admin.configuration }}
    - require:
      - sls: roles.admin.installed

The unit of admin is written:
  file.managed:
    - name: /usr/local/lib/systemd/system/metis-admin.service
    - source: salt://roles/admin/files/metis-admin.service.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - require:
      - sls: roles.admin.installed
    - context:
        org: {{ pillar.metis.org | json }}
        user: {{ admin.user }}
        directory: {{ instance.link }}
        jar: {{ release.artifacts.admin_jar.file }}
        jvm: {{ instance.jvm | json }}
        agent: {{ pillar.metis.agent | json }}
        service: {{ instance.service | json }}
        writable: {{ admin.writable | json }}

The web site of admin is written:
  file.managed:
    - name: {{ instance.nginx_file }}
    - source: salt://roles/admin/files/nginx.conf.jinja
    - template: jinja
    - user: root
    - group: root
    - mode: '0644'
    - context:
        org: {{ pillar.metis.org | json }}
        settings: {{ instance.settings | json }}
        certificate_file: {{ instance.tls.certificate_file }}
        key_file: {{ instance.tls.key_file }}
        context_path: {{ release.facts.context_path }}
        web_files: {{ instance.link }}/network
    - require:
      - sls: roles.admin.installed

{% for unit in ("mariadb", "nginx") %}
{{ unit }} is started again whenever it ends:
  file.managed:
    - name: /etc/systemd/system/{{ unit }}.service.d/metis.conf
    - contents: |
        [Service]
        Restart=always
        RestartSec=1
    - user: root
    - group: root
    - mode: '0644'
    - makedirs: True
    - require:
      - sls: roles.admin.installed
{% endfor %}
# It takes port 80 as the default server, and its page would be shown instead of admin's.
The example site of the nginx package is switched off:
  file.absent:
    - name: /etc/nginx/sites-enabled/default
    - require:
      - sls: roles.admin.installed
