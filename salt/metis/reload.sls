# Brings the configuration of what runs to what the organization's file says now: shows the
# difference, and restarts only what reads it. Installs nothing, starts nothing new, and leaves
# stopped what was stopped; for the rest there is `metis.deploy`.
#
#   salt-run state.orchestrate metis.reload pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - failhard: True

What runs is known:
  metis_roll.looked:
    - failhard: True

What differs from the file is shown:
  metis_roll.shown:
    - failhard: True

The record says what is deployed, and what is not wanted any more:
  metis_scale_in.recorded:
    - failhard: True

consul runs with its configuration:
  metis_roll.reloaded:
    - roles: [consul]
    - failhard: True

carrier runs with its configuration:
  metis_roll.reloaded:
    - roles: [carrier]
    - failhard: True

admin runs with its configuration:
  metis_roll.reloaded:
    - roles: [admin]
    - failhard: True

ice_via runs with its configuration:
  metis_roll.reloaded:
    - roles: [ice_via]
    - failhard: True

data and compute run with their configuration:
  metis_roll.reloaded:
    - roles: [data, compute]
    - failhard: True

Everything is registered and passes:
  metis.passing:
    - failhard: True
