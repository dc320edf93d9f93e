# Every minion gets the view of its host, made from the organization's file, and nothing else.
# What a view is: docs/pillar.md. The master's own id, metis_master, gets every topology.
base:
  '*':
    - node
