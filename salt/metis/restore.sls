# Brings hosts up with what a backup has of them: the same identity, the same data. On a new master,
# `salt-run metis.unpack_backup` comes first. Run again, it goes on where it ended.
#
#   salt-run state.orchestrate metis.restore pillar='{"org": "demo", "from": "/root/demo.backup"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - takes: [from, keyring, confirm]
    - failhard: True

The backup is whole and of this organization:
  metis_restore.verified:
    - failhard: True

Nothing is lost that was not confirmed:
  metis_restore.allowed:
    - failhard: True

The hosts are fit for it:
  metis_check.fit:
    - failhard: True

Every instance has a release:
  metis_upgrade.settled:
    - failhard: True

The release is in the master's store:
  metis.stored:
    - failhard: True

The store is served:
  metis.served:
    - failhard: True

It is on record that this restore begins:
  metis_restore.begun:
    - failhard: True

carrier has its identity again:
  metis_restore.brought_back:
    - part: p2p.key
    - failhard: True

Everything is installed and configured:
  metis.reached:
    - to: configured
    - roles: [consul, carrier, admin, ice_via, data, compute]
    - timeout: 1800
    - failhard: True

consul runs:
  metis.reached:
    - to: running
    - roles: [consul]
    - failhard: True

consul knows again what it knew:
  metis_restore.brought_back:
    - part: consul.snapshot
    - failhard: True

carrier runs:
  metis.reached:
    - to: running
    - roles: [carrier]
    - failhard: True

The database is that of the backup:
  metis_restore.brought_back:
    - part: database.sql.gz
    - failhard: True

admin runs:
  metis.reached:
    - to: running
    - roles: [admin]
    - failhard: True

ice_via runs:
  metis.reached:
    - to: running
    - roles: [ice_via]
    - failhard: True

data and compute run:
  metis.reached:
    - to: running
    - roles: [data, compute]
    - failhard: True

Everything is registered and passes:
  metis.passing:
    - failhard: True

What the restore needed is removed:
  metis_restore.ended:
    - failhard: True
