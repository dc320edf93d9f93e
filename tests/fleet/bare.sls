# The organization of hosts that have nothing but sshd: see test_bootstrapped.py.
metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    bare1: {address: 10.77.0.51, roles: [consul, carrier, data]}
    bare2: {address: 10.77.0.52, roles: [admin, ice_via, data, compute]}
  carrier: {external_address: 10.77.0.51}
  ice_via: {external_address: 10.77.0.52}
  admin: {heap: 128m}
