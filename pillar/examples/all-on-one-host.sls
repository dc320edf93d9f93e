# An example: a whole organization on one machine, with more than one fighter of each kind. To use
# it, copy it to orgs/<org>.sls below a pillar root of the master. docs/pillar.md has every setting.
metis:
  # consul's name for its cluster. Where it is left out, it is the organization's own name, which is
  # that of this file.
  cluster_name: one-host

  # What is deployed: a file of pillar/releases. `sandbox` is the lab's.
  release: sandbox

  # Of the network that the organization joins.
  data_center: {address: 10.77.0.10, port: 9090}

  hosts:
    # The id of the machine's minion.
    solo:
      address: 10.77.0.40
      roles:
        # A single server of consul is allowed. What it knows is lost with its disk.
        - consul
        - carrier
        - admin
        - ice_via
        # data and compute may be here several times. The first has the port of its section below;
        # one without a port has the next: these have 8700 and 8701.
        - data
        - data
        # What is written at a role counts for this instance alone. A port that is written out stays
        # when a line above it is taken out.
        - data: {port: 8710, task_port_range: [31200, 31300]}
        # The same on several lines.
        - compute
        - compute:
            thread_pool_size: 20
        - compute:
            port: 8810
            task_port_range: [41200, 41300]

  # What is written in the section of a role counts for all its instances.
  data:
    port: 8700
    task_port_range: [31000, 31100]
  compute:
    total_bandwidth: 100000000

  # Where other organizations reach this one: a public address, or a name.
  carrier:
    external_address: 10.77.0.40
    # What carrier keeps, in a folder of its own, such as one of another disk.
    data_directory: /srv/carrier
  ice_via: {external_address: 10.77.0.40}

  admin:
    # nginx, in front of the console. The Java program behind it keeps 9090.
    http_port: 8080
    # Java's heap. 1g where it is left out; this is small, for the lab.
    heap: 128m
    # A password of MariaDB's account is made on the master, as none is given here.
