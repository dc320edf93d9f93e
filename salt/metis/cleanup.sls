# Removes an organization that was stopped from its hosts, and forgets it on the master: whatever
# carries its mark, and nothing else. Without `confirm` it only tells what that is.
#
#   salt-run state.orchestrate metis.cleanup pillar='{"org": "demo", "confirm": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - takes: [confirm, keep, forget_identity]
    - failhard: True

It is told what goes:
  metis_cleanup.surveyed:
    - failhard: True

It may go:
  metis_cleanup.allowed:
    - failhard: True

It is gone from the hosts:
  metis_cleanup.removed:
    - timeout: 900
    - failhard: True

Nothing is left on the hosts:
  metis_cleanup.proven:
    - failhard: True

The master has forgotten it:
  metis_cleanup.forgotten:
    - failhard: True
