# Fills the master's store with what the organization needs, and has it served; touches no host.
# Deploy does the same first: this is for doing it beforehand.
#
#   salt-run state.orchestrate metis.prepare pillar='{"org": "demo"}'
The organization's file is valid:
  metis.guarded:
    - hosts: False
    - failhard: True

The release is in the master's store:
  metis.stored:
    - wanted: True
    - failhard: True

The store is served:
  metis.served:
    - failhard: True
