# Goes back to the release before, as `metis.upgrade` goes on: instance by instance, each behind its
# gate. The schema of the database is not changed back; its dumps are on the host of admin.
#
#   salt-run state.orchestrate metis.rollback pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - takes: [release]
    - failhard: True

The release before can be brought back:
  metis_upgrade.prepared:
    - back: True
    - failhard: True

The release is in the master's store:
  metis.stored:
    - failhard: True

The store is served:
  metis.served:
    - failhard: True

It is laid down beside the one that runs:
  metis_upgrade.laid_down:
    - failhard: True

consul is switched:
  metis_upgrade.switched:
    - roles: [consul]
    - failhard: True

carrier is switched:
  metis_upgrade.switched:
    - roles: [carrier]
    - failhard: True

admin is switched:
  metis_upgrade.switched:
    - roles: [admin]
    # Its database is dumped, and its schema changed, each of which may take an hour.
    - timeout: 8100
    - failhard: True

data and compute are switched:
  metis_upgrade.switched:
    - roles: [data, compute]
    - failhard: True

Everything is registered and passes:
  metis.passing:
    - failhard: True

What is wanted and what runs is told:
  metis_upgrade.settled:
    - failhard: True
