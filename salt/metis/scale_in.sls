# Takes out what is deployed and not in the organization's file any more: deregistered, its running
# tasks waited for, stopped, removed. `hosts`, `roles` and `instances` name some of it; `keep` what
# stays on the hosts; `drain` the seconds for tasks; `lost` hosts that are gone for good. carrier and
# admin want their data and database kept, or `confirm`. Run again, it goes on where it ended.
#
#   salt-run state.orchestrate metis.scale_in pillar='{"org": "demo"}'
The organization's file is valid and the hosts answer:
  metis.guarded:
    - leaving: True
    - takes: [instances, keep, drain, lost, confirm]
    - failhard: True

What is not wanted any more can be taken out:
  metis_scale_in.prepared:
    - failhard: True

data and compute are taken out:
  metis_scale_in.taken_out:
    - roles: [data, compute]
    - failhard: True

ice_via is taken out:
  metis_scale_in.taken_out:
    - roles: [ice_via]
    - failhard: True

admin is taken out:
  metis_scale_in.taken_out:
    - roles: [admin]
    - failhard: True

carrier is taken out:
  metis_scale_in.taken_out:
    - roles: [carrier]
    - failhard: True

consul is taken out:
  metis_scale_in.taken_out:
    - roles: [consul]
    - failhard: True
