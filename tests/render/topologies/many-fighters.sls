metis:
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}
  hosts:
    front: {address: 10.77.0.11, roles: [consul, carrier]}
    store:
      address: 10.77.0.12
      roles:
        - data
        - data: {task_port_range: [32000, 32100], chunk_size: 4096}
        - data: {port: 8750, thread_pool_size: 2}
        - data: {port: 8760, enabled: false}
    mixed: {address: 10.77.0.13, roles: [data, compute, compute, data]}
    crunch: {address: 10.77.0.14, roles: [compute, compute, compute]}
  carrier: {external_address: 203.0.113.1}
  admin: {enabled: false}
  ice_via: {enabled: false}
