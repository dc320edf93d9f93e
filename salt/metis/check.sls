# Looks whether hosts, network and release are fit for the organization, and shows what is not.
# Changes nothing, but for what is safe to mend with `fix: true`.
#
#   salt-run state.orchestrate metis.check pillar='{"org": "demo"}'
The organization's file is valid and its hosts answer:
  metis.guarded:
    - takes: [fix]
    - failhard: True

Every host is looked at:
  metis_check.looked:
    - failhard: True

What is safe to mend is mended:
  metis_check.mended:
    - failhard: True

Hosts and release are fit:
  metis_check.fit:
    - whole: True
    - failhard: True
