# No setting has its default here: where a default shows through, it is hard-coded. And what YAML
# would read as a number is a name all the same: the organization (this file) and the account.
metis:
  cluster_name: other-cluster
  release: 9.1-other
  data_center: {address: 198.51.100.7, port: 19099}
  hosts:
    first: {address: 192.0.2.1, roles: [consul, carrier, data]}
    second: {address: 192.0.2.2, roles: [consul, admin, compute]}
    third: {address: 192.0.2.3, roles: [consul, ice_via]}
  store: {address: store.other.example, port: 18014}
  paths:
    programs: /srv/other/programs
    configuration: /srv/other/configuration
    data: /srv/other/data
    logs: /srv/other/logs
  consul:
    data_directory: /mnt/other/consul
    server_port: 18200
    serf_lan_port: 18300
    serf_wan_port: 18400
    http_port: 18500
    dns_port: 18600
  carrier:
    data_directory: /mnt/other/carrier
    external_address: carrier.other.example
    rpc_port: 21033
    grpc_gateway_port: 21034
    p2p_udp_port: 21035
    p2p_tcp_port: 21036
    pprof_port: 21037
    pprof: true
    pprof_address: 192.0.2.1
    debug: true
    verbosity: trace
    bootstrap_nodes:
      - enr:-Jy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMa
      - enr:-Jy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QMaJy4QM
    peers: [/ip4/203.0.113.9/tcp/23036/p2p/16Uiu2HAmOther]
    max_peers: 7
  admin:
    data_directory: /mnt/other/admin
    web_port: 19090
    http_port: 18080
    server_name: admin.example
    enable_tls: true
    https_port: 18443
    ssl_protocols: [TLSv1.3]
    ssl_ciphers: ECDHE+AESGCM
    mysql_port: 13306
    mysql_user: "10086"
    mysql_password: "it's \"quoted\": {{ '{{ no }}' }} #\\ %i $x"
    heap: 300m
    metaspace: 200m
    thread_stack: 300k
  ice_via:
    data_directory: /mnt/other/ice_via
    external_address: 203.0.113.3
    glacier2_port: 21031
    grid_port: 21032
    protocol: ssl
  data:
    data_directory: /mnt/other/data
    port: 18700
    task_port_range: [33000, 33100]
    thread_pool_size: 3
    total_bandwidth: 1234567
    chunk_size: 65536
  compute:
    data_directory: /mnt/other/compute
    port: 18800
    task_port_range: [43000, 43100]
    thread_pool_size: 4
    total_bandwidth: 7654321
