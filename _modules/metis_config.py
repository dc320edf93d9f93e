"""
What the configuration of each program holds: pure functions, one a role.

Every key is described in section 1 to 7 of the service contract. A function gets the topology, the
release, the organization's secrets and one instance, and returns what the host's view adds to that
instance: mappings ready to be written by ``file.serialize`` or by a template.
"""

import hashlib
import re
from typing import Any

__virtualname__ = "metis_config"

Data = dict[str, Any]


# Not /etc/systemd/system: a unit that stands there cannot be masked, and masks are how `metis.stop`
# keeps units stopped.
UNITS = "/usr/local/lib/systemd/system"
# Kinds of artifacts that are run as what came out of them.
_RUN_UNPACKED = ("installer", "wheelhouse", "zip")

# Seconds between two health checks. A program is registered as critical until the first, and every
# start waits for it: the seed's 3 s, and 10 s for admin, are most of a start's time.
CHECK_INTERVAL = 1


def data_directory(paths: dict[str, str], instance: Data) -> str:
    """
    Where an instance keeps what it keeps.

    paths
        Of the organization's file.
    instance
        Of a topology.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.data_directory '{data: /var/lib/metis}' '{...}'
    """
    settings = instance["settings"]
    base: str = settings["data_directory"] or f"{paths['data']}/{instance['role']}"
    return f"{base}/{settings['port']}" if instance["role"] in ("data", "compute") else base


def _paths(topology: Data, instance: Data) -> tuple[str, str, str]:
    paths, role = topology["paths"], instance["role"]
    return (
        f"{paths['configuration']}/{role}",
        data_directory(paths, instance),
        f"{paths['logs']}/{role}",
    )


def link(paths: Data, instance: Data) -> str:
    """
    The link to the release that an instance runs.

    Fighters share their releases, and each has a link of its own: so they are switched to another
    release one by one.

    paths
        The topology's.
    instance
        Of a topology.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.link '{programs: /opt/metis}' '{role: consul}'
    """
    role = instance["role"]
    name = instance["settings"]["port"] if role in ("data", "compute") else "current"
    return f"{paths['programs']}/{role}/{name}"


def _files(topology: Data, release: Data, instance: Data, unit: str, *own: str) -> list[str]:
    """
    What a program is when it starts: its unit, its configuration, the link to its release, and of
    the release what is run as it was downloaded, or the mark that it was unpacked.
    """
    role = instance["role"]
    program = "fighter" if role in ("data", "compute") else role
    programs = f"{topology['paths']['programs']}/{program}"
    parts = []
    for artifact in release["artifacts"].values():
        if role in artifact["roles"] and artifact["kind"] in ("binary", "jar"):
            parts.append(artifact["file"])
        elif role in artifact["roles"] and artifact["kind"] in _RUN_UNPACKED:
            parts.append(f".{artifact['file']}.unpacked")
    if program == "fighter":
        parts.append(environment_mark(release))
    content = [f"{programs}/releases/{release['release']}/{part}" for part in parts]
    return [f"{UNITS}/{unit}", *own, link(topology["paths"], instance), *content]


def environment_mark(release: Data) -> str:
    """
    The file that tells that the fighters' Python environment is whole, and of what it was built.

    release
        The release file's content.

    Returns its path in the release's directory.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.environment_mark '{"artifacts": {}}'
    """
    built_of = [
        # Not known before metis.prepare has asked for it.
        artifact["sha256"] or ""
        for artifact in release["artifacts"].values()
        if artifact["kind"] in ("installer", "wheel", "wheelhouse")
    ]
    return f"env/complete-{hashlib.sha256(' '.join(built_of).encode()).hexdigest()[:12]}"


def _tls(topology: Data, secrets: Data, instance: Data) -> Data:
    """
    The files of an instance's certificate; where it speaks TLS, what they hold, and which one its
    server shows.
    """
    role = instance["role"]
    configuration, _, _ = _paths(topology, instance)
    files = {
        "certificate_file": f"{configuration}/server.crt",
        "key_file": f"{configuration}/server.key",
    }
    content = secrets["certificates"].get(role, {})
    shown = files["certificate_file"] if content else None
    return files | content | {"enabled": bool(content), "shown": shown}


def _read(tls: Data) -> list[str]:
    return [tls["certificate_file"], tls["key_file"]] if tls["enabled"] else []


def _of_role(topology: Data, role: str) -> list[Data]:
    """The instances of a role, but those that are switched off."""
    return [i for i in topology["instances"] if i["role"] == role and i["settings"]["enabled"]]


def consul(topology: Data, release: Data, secrets: Data, instance: Data) -> Data:
    """
    A consul server (service-contract 1), and the keys that programs read (service-contract 3).

    Returns ``config_file``, ``config``, ``peers`` (the number of servers, with those that are
    leaving), ``keys`` (key to value; empty but on the agent that the programs use) and ``files``
    (unit to what it reads).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.consul '{...}' '{...}' '{}' '{...}'
    """
    configuration, data, logs = _paths(topology, instance)
    settings = instance["settings"]
    servers = _of_role(topology, "consul")
    config = {
        "datacenter": topology["cluster_name"],
        "node_name": f"consul_{instance['address']}",
        "client_addr": instance["address"],
        "bind_addr": instance["address"],
        "data_dir": data,
        "log_file": f"{logs}/consul.log",
        "log_level": "INFO",
        "log_rotate_max_files": 7,
        "server": True,
        "bootstrap_expect": len(servers),
        "ui": True,
        "retry_join": [
            f"{server['address']}:{server['settings']['serf_lan_port']}"
            for server in servers
            if server["id"] != instance["id"]
        ],
        # Servers of one site gossip every 0.2 s instead of every second and elect in 1 s, as
        # consul's own documentation advises for production.
        "performance": {"raft_multiplier": 1},
        "retry_interval": "1s",
        "disable_update_check": True,
        "ports": {
            "server": settings["server_port"],
            "serf_lan": settings["serf_lan_port"],
            "serf_wan": settings["serf_wan_port"],
            "http": settings["http_port"],
            "dns": settings["dns_port"],
        },
    }
    keys: dict[str, str] = {}
    if instance["host"] == topology["agent"]["host"]:
        wanted = {"datacenter": topology["data_center"]}
        for ice in _of_role(topology, "ice_via"):
            address = ice["settings"]["external_address"]
            wanted["glacier2"] = {"address": address, "port": ice["settings"]["glacier2_port"]}
            wanted["icegrid"] = {"address": address, "port": ice["settings"]["grid_port"]}
        keys = {
            release["kv"][name]: f"{endpoint['address']}_{endpoint['port']}"
            for name, endpoint in wanted.items()
            if endpoint and endpoint["address"] and release["kv"].get(name)
        }
    unit, config_file = "metis-consul.service", f"{configuration}/consul.json"
    files = {unit: _files(topology, release, instance, unit, config_file)}
    # Those that are taken out are members until they have left.
    leaving = [i for i in topology["leaving"] if i["role"] == "consul"]
    more = {"peers": len(servers) + len(leaving), "keys": keys, "files": files}
    return {"config_file": config_file, "config": config, **more}


def carrier(topology: Data, release: Data, secrets: Data, instance: Data) -> Data:
    """
    carrier's flat YAML of flag names (service-contract 2).

    Returns ``config_file``, ``config``, ``p2p_key`` (the path of the key that is made on the host),
    ``data_center`` and ``files`` (unit to what it reads).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.carrier '{...}' '{...}' '{}' '{...}'
    """
    configuration, data, _ = _paths(topology, instance)
    settings = instance["settings"]
    p2p_key = f"{configuration}/p2p.key"
    by_name = re.search(r"[^0-9.]", settings["external_address"] or "")
    advertised = "p2p-host-dns" if by_name else "p2p-host-ip"
    # discovery-service-id stays unset: carrier computes the default one when it deregisters, and
    # would leave another behind.
    config = {
        "datadir": data,
        "verbosity": settings["verbosity"],
        "debug": settings["debug"],
        "pprof": settings["pprof"],
        "pprof-addr": settings["pprof_address"],
        "pprof-port": settings["pprof_port"],
        "disable-grpc-gateway": False,
        "rpc-host": "0.0.0.0",
        "rpc-port": settings["rpc_port"],
        "grpc-gateway-host": "0.0.0.0",
        "grpc-gateway-port": settings["grpc_gateway_port"],
        "enable-debug-rpc-endpoints": settings["debug"],
        "no-discovery": False,
        "bootstrap-node": settings["bootstrap_nodes"],
        "peer": settings["peers"],
        "p2p-udp-port": settings["p2p_udp_port"],
        "p2p-tcp-port": settings["p2p_tcp_port"],
        "p2p-local-ip": instance["address"],
        advertised: settings["external_address"],
        "p2p-priv-key": p2p_key,
        "p2p-max-peers": settings["max_peers"],
        "discovery-server-ip": topology["agent"]["address"],
        "discovery-server-port": topology["agent"]["port"],
        "discovery-service-health-check-interval": CHECK_INTERVAL * 1000,
    }
    unit, config_file = "metis-carrier.service", f"{configuration}/carrier.yml"
    files = {unit: _files(topology, release, instance, unit, config_file, p2p_key)}
    center = topology["data_center"]
    return {
        "config_file": config_file,
        "config": config,
        "p2p_key": p2p_key,
        "data_center": f"{center['address']}:{center['port']}",
        "files": files,
    }


def admin(topology: Data, release: Data, secrets: Data, instance: Data) -> Data:
    """
    admin's ``application-admin.yml`` and its database account (service-contract 7).

    Returns ``config_file``, ``config`` (holds the account's password), ``jvm`` (flags),
    ``mariadb_file``, ``nginx_file``, ``tls``, ``health`` (the URL that nginx serves) and ``files``
    (unit to what it reads).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.admin '{...}' '{...}' '{"mysql_password": "..."}' '{...}'
    """
    configuration, data, logs = _paths(topology, instance)
    settings = instance["settings"]
    facts = release["admin"]
    password = settings["mysql_password"] or secrets["mysql_password"]
    url = (
        f"jdbc:mysql://127.0.0.1:{settings['mysql_port']}/{facts['database']}"
        "?useUnicode=true&characterEncoding=utf8&useSSL=false&allowPublicKeyRetrieval=true"
        "&serverTimezone=UTC"
    )
    druid = {
        "url": url,
        "username": settings["mysql_user"],
        "password": password,
        "initial-size": 10,
        "max-active": 20,
        "min-idle": 10,
        "max-wait": 60000,
        "connection-init-sqls": ["set names utf8mb4"],
        "pool-prepared-statements": False,
        "max-pool-prepared-statement-per-connection-size": -1,
        "validation-query": "select 1",
        "test-on-borrow": False,
        "test-on-return": False,
        "test-while-idle": True,
        "time-between-eviction-runs-millis": 60000,
        "min-evictable-idle-time-millis": 300000,
        # The seed serves druid's statistics, SQL included, without a login.
        "stat-view-servlet": {"enabled": False},
        "filter": {"stat": {"enabled": True}, "wall": {"enabled": True}},
    }
    config = {
        "spring": {
            "datasource": {
                "type": "com.alibaba.druid.pool.DruidDataSource",
                "driverClassName": "com.mysql.cj.jdbc.Driver",
                "druid": druid,
            },
            "cloud": {
                "consul": {
                    "host": topology["agent"]["address"],
                    "port": topology["agent"]["port"],
                    "discovery": {
                        "register": True,
                        "service-name": instance["service"]["name"],
                        "instance-id": instance["service"]["id"],
                        "tags": [instance["service"]["tag"]],
                        "ip-address": instance["address"],
                        "prefer-ip-address": True,
                        "health-check-path": f"/{facts['context_path']}/health",
                        "health-check-interval": f"{CHECK_INTERVAL}s",
                    },
                    "carrierServiceName": "carrierService",
                }
            },
        },
        "server": {
            "port": settings["web_port"],
            "servlet": {"context-path": facts["context_path"]},
            "tomcat": {"uri-encoding": "UTF-8", "basedir": f"{data}/tomcat"},
        },
        "swagger": {"enable": False, "enabled": False},
        "logging": {
            "level": {"root": "info"},
            "file": {"name": f"{logs}/metis-admin.log"},
        },
        "grpc-client-timeout": 5,
        "grpc-client-upload-file-timeout": 60,
    }
    for task, delay in _ADMIN_TASKS.items():
        config[task] = {"fixedDelay": delay}
    heap = settings["heap"]
    # The seed's collector and log flags stop Java 17 (service-contract 0.7).
    jvm = [
        "-server",
        f"-Xms{heap}",
        f"-Xmx{heap}",
        f"-Xss{settings['thread_stack']}",
        f"-XX:MaxMetaspaceSize={settings['metaspace']}",
        "-XX:+UseG1GC",
        "-XX:+HeapDumpOnOutOfMemoryError",
        f"-XX:HeapDumpPath={data}",
        f"-Xlog:gc:file={logs}/gc.log::filecount=5,filesize=10m",
    ]
    unit, config_file = "metis-admin.service", f"{configuration}/application-admin.yml"
    mariadb, nginx = "/etc/mysql/mariadb.conf.d/60-metis.cnf", "/etc/nginx/conf.d/metis.conf"
    tls = _tls(topology, secrets, instance)
    files = {
        "mariadb.service": [mariadb],
        unit: _files(topology, release, instance, unit, config_file),
        "nginx.service": [nginx, *_read(tls)],
    }
    web = f"http://{instance['address']}:{settings['http_port']}"
    if tls["enabled"]:
        web = f"https://{instance['address']}:{settings['https_port']}"
    return {
        "config_file": config_file,
        "config": config,
        "jvm": jvm,
        "mariadb_file": mariadb,
        "nginx_file": nginx,
        "tls": tls,
        "health": f"{web}{facts['context_path']}/health",
        "files": files,
    }


# Milliseconds between two runs. The program has no defaults and does not start without them.
_ADMIN_TASKS = {
    "LocalCarrierStatusRefreshTask": 20000,
    "LocalDataAuthReqRefreshTask": 20000,
    "LocalDataNodeRefreshTask": 20000,
    "LocalMetaDataStatusRefreshTask": 20000,
    "LocalPowerNodeRefreshTask": 20000,
    "LocalTaskRefreshTask": 20000,
    "SeedNodeRefreshTask": 20000,
}


def ice_via(topology: Data, release: Data, secrets: Data, instance: Data) -> Data:
    """
    The properties of IceGrid's registry and of Glacier2 (service-contract 5).

    Returns ``icegrid`` and ``glacier2`` (property to value), ``tls`` and ``files`` (unit to what it
    reads).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.ice_via '{...}' '{...}' '{}' '{...}'
    """
    configuration, data, _ = _paths(topology, instance)
    settings = instance["settings"]
    address = instance["address"]
    grid, glacier2 = settings["grid_port"], settings["glacier2_port"]
    locator = f"ChannelIceGrid/Locator:tcp -p {grid} -h {address}"
    registry = "IceGrid.Registry."
    tls = _tls(topology, secrets, instance)
    protocol = "ssl" if tls["enabled"] else "tcp"
    secured = {
        # The seed's Keychain properties are for macOS: Debian's Ice has OpenSSL.
        "Ice.Plugin.IceSSL": "IceSSL:createIceSSL",
        "IceSSL.CertFile": tls["certificate_file"],
        "IceSSL.KeyFile": tls["key_file"],
        "IceSSL.Protocols": "TLS1_2,TLS1_3",
        # Ice would want a certificate of every client, of an authority that is ours alone.
        "IceSSL.VerifyPeer": 0,
    }
    files = {
        f"metis-{program}.service": [
            f"{UNITS}/metis-{program}.service",
            f"{configuration}/{program}.properties",
        ]
        for program in ("icegrid", "glacier2")
    }
    files["metis-glacier2.service"] += _read(tls)
    return {
        "files": files,
        "tls": tls,
        "icegrid": {
            "IceGrid.InstanceName": "ChannelIceGrid",
            "Ice.Default.Locator": locator,
            f"{registry}ReplicaName": "Master",
            f"{registry}Client.Endpoints": f"tcp -p {grid} -h {address}",
            f"{registry}Server.Endpoints": f"tcp -h {address}",
            f"{registry}Internal.Endpoints": f"tcp -h {address}",
            f"{registry}PermissionsVerifier": "ChannelIceGrid/NullPermissionsVerifier",
            f"{registry}LMDB.MapSize": 10,
            f"{registry}LMDB.Path": f"{data}/registry",
            f"{registry}DynamicRegistration": 1,
            "Ice.Trace.Network": 2,
            "Ice.MessageSizeMax": 0,
        },
        "glacier2": {
            "Glacier2.InstanceName": "ChannelGlacier2",
            "Ice.Default.Locator": locator,
            "Glacier2.Client.Endpoints": f"{protocol} -p {glacier2} -h {address}",
            "Glacier2.PermissionsVerifier": "ChannelGlacier2/NullPermissionsVerifier",
            "Glacier2.SessionTimeout": 30,
            "Glacier2.Client.ForwardContext": 1,
            "Glacier2.Server.ForwardContext": 1,
            "Glacier2.Client.Trace.Reject": 1,
            "Ice.Trace.Network": 2,
            "Ice.MessageSizeMax": 0,
            **(secured if tls["enabled"] else {}),
        },
    }


def _fighter(topology: Data, release: Data, instance: Data, own: Data) -> Data:
    role, settings = instance["role"], instance["settings"]
    configuration, root, _ = _paths(topology, instance)
    config = {
        "bind_ip": instance["address"],
        "port": settings["port"],
        "task_port_range": list(settings["task_port_range"]),
        "thread_pool_size": settings["thread_pool_size"],
        "total_bandwidth": settings["total_bandwidth"],
        "pass_via": bool(_of_role(topology, "ice_via")),
        "code_root_dir": f"{root}/contract_work_dir",
        "results_root_dir": f"{root}/result_root",
        "channel_log_level": 2,
        # The seed names certificates that it never deploys; empty names are what works.
        "certs": dict.fromkeys(
            (
                "base_path",
                "root_cert",
                "server_sign_key",
                "server_sign_cert",
                "server_enc_key",
                "server_enc_cert",
                "client_sign_key",
                "client_sign_cert",
                "client_enc_key",
                "client_enc_cert",
            ),
            "",
        ),
        "consul": {
            "service_ip": topology["agent"]["address"],
            "service_port": topology["agent"]["port"],
            "name": instance["service"]["name"],
            "tag": instance["service"]["tag"],
            "interval": f"{CHECK_INTERVAL}s",
            "deregister": "3s",
        },
    }
    later = {"register_ip": instance["address"], "pass_ice": config["pass_via"]}
    config |= {key: later[key] for key in release["fighter"].get("keys", [])}
    config_file = f"{configuration}/{settings['port']}.yml"
    environment_file = f"{configuration}/{settings['port']}.env"
    drop_in = f"{UNITS}/metis-{role}@{settings['port']}.service.d/metis.conf"
    # The unit template is every instance's: what one of them may write to beside what all may is in
    # a file of its own, so that no other has to start again for it.
    writable = root if settings["data_directory"] else None
    own_files = (config_file, environment_file, *([drop_in] if writable else []))
    files = _files(topology, release, instance, f"metis-{role}@.service", *own_files)
    return {
        "drop_in": drop_in,
        "writable": writable,
        "config_file": config_file,
        "environment_file": environment_file,
        "config": config | own,
        "directory": root,
        "files": {instance["units"][0]: files},
    }


def data(topology: Data, release: Data, secrets: Data, instance: Data) -> Data:
    """
    The YAML of a fighter(data) instance (service-contract 6).

    Returns ``config_file``, ``config``, ``environment_file`` (which module of its release it is,
    and where its libraries are), ``directory`` (where its data is), ``writable`` (the same, where
    that is no folder of the role), ``drop_in`` (the file of its unit that says so) and ``files``
    (unit to what it reads).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.data '{...}' '{...}' '{}' '{...}'
    """
    root = data_directory(topology["paths"], instance)
    chunk = instance["settings"]["chunk_size"]
    own = {"data_root": f"{root}/data_root", "chunk_size": chunk}
    return _fighter(topology, release, instance, own)


def compute(topology: Data, release: Data, secrets: Data, instance: Data) -> Data:
    """
    The YAML of a fighter(compute) instance (service-contract 6).

    Returns ``config_file``, ``config``, ``environment_file`` (which module of its release it is,
    and where its libraries are), ``directory`` (where its data is), ``writable`` (the same, where
    that is no folder of the role), ``drop_in`` (the file of its unit that says so) and ``files``
    (unit to what it reads).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_config.compute '{...}' '{...}' '{}' '{...}'
    """
    return _fighter(topology, release, instance, {})
