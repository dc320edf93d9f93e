# One host with every role, which others use too: what is theirs stays when the organization goes.
metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    removed1: {address: 10.77.0.51, roles: [consul, carrier, admin, ice_via, data, compute]}
  carrier: {external_address: 10.77.0.51}
  ice_via: {external_address: 10.77.0.51}
  admin: {heap: 128m}
