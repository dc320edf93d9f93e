# An example: a host for each role, as is advised for production. To use it, copy it to
# orgs/<org>.sls below a pillar root of the master. docs/pillar.md has every setting.
metis:
  cluster_name: one-role-a-host
  release: sandbox
  data_center: {address: 10.77.0.10, port: 9090}

  hosts:
    # Three servers of consul go on when one of them is lost; five, when two are. All programs talk
    # to the first.
    consul1: {address: 10.77.0.41, roles: [consul]}
    consul2: {address: 10.77.0.42, roles: [consul]}
    consul3: {address: 10.77.0.43, roles: [consul]}

    carrier1: {address: 10.77.0.44, roles: [carrier]}
    admin1: {address: 10.77.0.45, roles: [admin]}
    # Tasks with other organizations go through here. Without them, leave this host out, or switch
    # the role off below.
    ice1: {address: 10.77.0.46, roles: [ice_via]}

    # A host more is a line more: data2, compute2 and so on.
    data1: {address: 10.77.0.47, roles: [data]}
    compute1: {address: 10.77.0.48, roles: [compute: {total_bandwidth: 100000000}]}

  consul:
    # For all servers alike. Other ports are for machines where these are taken.
    http_port: 8500
    dns_port: 8600

  carrier:
    # What the network's other organizations are told: a public address, or a name. It leads to
    # carrier1, ports 10035/udp and 10036/tcp.
    external_address: carrier.example.org
    # From `trace` to `panic`.
    verbosity: info

  ice_via:
    # No verb touches a role with `enabled: false`: it is not installed, started, stopped or shown.
    enabled: true
    # Leads to ice1, port 10031/tcp.
    external_address: tasks.example.org
    # TLS with other organizations; `tcp` is without.
    protocol: ssl

  admin:
    # The console's domain, in nginx; any where it is left out.
    server_name: console.example.org
    # https, with a certificate of the organization's own authority, or with one of yours.
    enable_tls: true
    # 1g where it is left out; this is small, for the lab.
    heap: 128m
