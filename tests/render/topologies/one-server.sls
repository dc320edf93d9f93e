metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    first: {address: 10.77.0.11, roles: [consul, carrier, data]}
    second: {address: 10.77.0.12, roles: [admin, ice_via, compute]}
  carrier: {external_address: 203.0.113.1}
  ice_via: {external_address: 203.0.113.2}
