# Six hosts for tests/bench/store.py.
metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    six1: {address: 10.77.0.41, roles: [consul, carrier]}
    six2: {address: 10.77.0.42, roles: [admin]}
    six3: {address: 10.77.0.43, roles: [ice_via]}
    six4: {address: 10.77.0.44, roles: [data]}
    six5: {address: 10.77.0.45, roles: [compute]}
    six6: {address: 10.77.0.46, roles: [compute]}
  carrier: {external_address: 10.77.0.41}
  ice_via: {external_address: 10.77.0.43}
