# Makes hosts ready that have nothing but sshd: each becomes a minion, over ssh, and gets the
# packages, accounts and directories that its roles need. Hosts that are minions already are only
# made ready. Run again, it goes on where it ended.
#
#   salt-run state.orchestrate metis.bootstrap pillar='{"org": "demo", "ssh": "/root/demo-ssh.yaml"}'
The organization's file is valid:
  metis.guarded:
    - hosts: False
    - takes: [ssh]
    - failhard: True

Every host is reached and can be a minion:
  metis_bootstrap.reachable:
    - failhard: True

Every host is a minion:
  metis_bootstrap.installed:
    - failhard: True

Every host answers:
  metis.answering:
    - failhard: True

Every host is ready for its roles:
  metis.reached:
    - to: ready
    - roles: [consul, carrier, admin, ice_via, data, compute]
    - timeout: 1800
    - failhard: True
