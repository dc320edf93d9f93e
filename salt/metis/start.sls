# Starts what `metis.stop` stopped, in the order of the first start.
#
#   salt-run state.orchestrate metis.start pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
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
