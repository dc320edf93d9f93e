# Restarts what runs, instance by instance, in the order of the first start, each behind its gate.
# What was stopped stays stopped. One that does not come back ends it.
#
#   salt-run state.orchestrate metis.restart pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - failhard: True

What runs is known:
  metis_roll.looked:
    - failhard: True

consul is restarted:
  metis_roll.restarted:
    - roles: [consul]
    - failhard: True

carrier is restarted:
  metis_roll.restarted:
    - roles: [carrier]
    - failhard: True

admin is restarted:
  metis_roll.restarted:
    - roles: [admin]
    - failhard: True

ice_via is restarted:
  metis_roll.restarted:
    - roles: [ice_via]
    - failhard: True

data and compute are restarted:
  metis_roll.restarted:
    - roles: [data, compute]
    - failhard: True

Everything is registered and passes:
  metis.passing:
    - failhard: True
