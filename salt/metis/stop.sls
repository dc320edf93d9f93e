# Stops an organization, last started first. It stays stopped, over reboots and highstates, until
# `metis.start` or `metis.deploy`.
#
#   salt-run state.orchestrate metis.stop pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - failhard: True

data and compute are stopped:
  metis.reached:
    - to: stopped
    - roles: [data, compute]
    - failhard: True

ice_via is stopped:
  metis.reached:
    - to: stopped
    - roles: [ice_via]
    - failhard: True

admin is stopped:
  metis.reached:
    - to: stopped
    - roles: [admin]
    - failhard: True

carrier is stopped:
  metis.reached:
    - to: stopped
    - roles: [carrier]
    - failhard: True

consul is stopped:
  metis.reached:
    - to: stopped
    - roles: [consul]
    - failhard: True
