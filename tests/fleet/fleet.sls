# The organization of the fleet tests: the demo's form, on hosts of its own, so that the master has
# two organizations and a verb must be told which.
metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    fleet1: {address: 10.77.0.21, roles: [consul, carrier]}
    fleet2: {address: 10.77.0.22, roles: [consul, admin]}
    fleet3: {address: 10.77.0.23, roles: [consul, ice_via]}
    fleet4: {address: 10.77.0.24, roles: [data, data: {port: 8711}, compute]}
  carrier: {external_address: 10.77.0.21}
  ice_via: {external_address: 10.77.0.23}
  admin: {heap: 128m}
