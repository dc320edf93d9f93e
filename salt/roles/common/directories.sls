include:
  - roles.common.marked

The directories that the roles share exist:
  file.directory:
    - names: {{ pillar.metis.paths.values() | unique | list | json }}
    - user: root
    - group: root
    - mode: '0755'
    - makedirs: True
    - require:
      - metis_ownership: What the organization makes on this host carries its mark
