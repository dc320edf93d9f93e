# A host's highstate is what its view says: every role that it has. How a host gets its view:
# pillar/top.sls. The order between hosts is the verbs' business (salt/metis/), not a highstate's.
base:
  'metis:org:*':
    - match: pillar
    - roles
