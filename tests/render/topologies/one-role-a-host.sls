metis:
  release: sandbox
  data_center: {address: center.example, port: 9090}
  hosts:
    consul1: {address: 10.77.0.11, roles: [consul]}
    consul2: {address: 10.77.0.12, roles: [consul]}
    consul3: {address: 10.77.0.13, roles: [consul]}
    carrier1: {address: 10.77.0.14, roles: [carrier]}
    admin1: {address: 10.77.0.15, roles: [admin]}
    ice1: {address: 10.77.0.16, roles: [ice_via]}
    data1: {address: 10.77.0.17, roles: [data]}
    compute1: {address: 10.77.0.18, roles: [compute]}
  carrier: {external_address: carrier.example}
  ice_via: {external_address: ice.example}
