# The organization that `./lab demo` deploys: four hosts, every role.
# A host and its roles are one line; everything else has a default. docs/pillar.md has them all.
metis:
  cluster_name: demo-cluster
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}

  hosts:
    demo1: {address: 10.77.0.11, roles: [consul, carrier]}
    demo2: {address: 10.77.0.12, roles: [consul, admin]}
    demo3: {address: 10.77.0.13, roles: [consul, ice_via]}
    demo4: {address: 10.77.0.14, roles: [data, data, compute]}

  # Where other organizations reach this one. On a real network these are public addresses.
  carrier: {external_address: 10.77.0.11}
  ice_via: {external_address: 10.77.0.13}

  # Small, as the four hosts share one machine.
  admin: {heap: 128m}
