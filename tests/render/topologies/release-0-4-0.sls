metis:
  release: 0.4.0
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    only: {address: 10.77.0.11, roles: [consul, carrier, admin, ice_via, data, compute]}
  carrier: {external_address: 203.0.113.1}
  ice_via: {external_address: 203.0.113.1}
