# Writes what cannot be made again of an organization into one file, encrypted for a key of the
# operator's: what consul knows, carrier's identity, admin's database, and what the master knows.
#
#   salt-run state.orchestrate metis.backup \
#     pillar='{"org": "demo", "to": "/root/demo.backup", "recipient": "/root/operator.asc"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - takes: [to, recipient, keyring]
    - failhard: True

The backup can be encrypted and written:
  metis_backup.prepared:
    - failhard: True

The backup is written:
  metis_backup.written:
    - failhard: True
