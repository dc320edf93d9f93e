# Brings an organization up, or to what its file says now. Run again, it changes nothing. What was
# taken out of the file it names and leaves as it is: `metis.scale_in` takes it out.
#
#   salt-run state.orchestrate metis.deploy pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - failhard: True

The hosts are fit for it:
  metis_check.fit:
    - failhard: True

The record says what is deployed, and what is not wanted any more:
  metis_scale_in.recorded:
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

carrier runs:
  metis.reached:
    - to: running
    - roles: [carrier]
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
