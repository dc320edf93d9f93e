# Brings the release that the organization's file wants: laid down everywhere beside the one that
# runs, then switched instance by instance. One that does not become healthy is switched back, and
# ends it. Run again, it goes on where it ended.
#
#   salt-run state.orchestrate metis.upgrade pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - takes: [release]
    - failhard: True

The wanted release can be brought in:
  metis_upgrade.prepared:
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

Old releases are removed:
  metis_upgrade.pruned:
    - failhard: True
