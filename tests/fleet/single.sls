# Every role on one host, with three fighters of each kind.
metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    single1:
      address: 10.77.0.31
      roles: [consul, carrier, admin, ice_via, data, data, data, compute, compute, compute]
  carrier: {external_address: 10.77.0.31}
  ice_via: {external_address: 10.77.0.31}
  admin: {heap: 128m}
