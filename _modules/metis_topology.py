"""
The topology of an organization: pure functions, no I/O.

org file + defaults + release -> **topology** -> view of each host, which ``metis_view`` makes. Here
is who runs where, under which name and on which port; whether that can work, ``metis_rules`` says.
"""

import re
from typing import Any

__virtualname__ = "metis_topology"

_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
# An address, or a name whose last label has a letter: a number is no name.
_DNS_NAME = rf"([0-9]+\.){{3}}[0-9]+|(?=.{{1,253}}$)(\*\.)?({_LABEL}\.)*(?=[0-9-]*[A-Za-z]){_LABEL}"

# What each role answers to in consul (service-contract 2, 6, 7): service name and tag. consul
# itself registers nothing, and Ice does not register (service-contract 5).
SERVICES = {
    "carrier": ("carrierService", "carrier", "rpc_port"),
    "admin": ("adminService", "admin", "web_port"),
    "data": ("dataService", "data", "port"),
    "compute": ("jobService", "job", "port"),
}

# Ports of an instance: setting -> protocols. Loopback ports are taken on the host all the same.
PORTS: dict[str, dict[str, tuple[str, ...]]] = {
    "consul": {
        "server_port": ("tcp",),
        "serf_lan_port": ("tcp", "udp"),
        "serf_wan_port": ("tcp", "udp"),
        "http_port": ("tcp",),
        "dns_port": ("tcp", "udp"),
    },
    "carrier": {
        "rpc_port": ("tcp",),
        "grpc_gateway_port": ("tcp",),
        "p2p_tcp_port": ("tcp",),
        "p2p_udp_port": ("udp",),
        "pprof_port": ("tcp",),
    },
    "admin": {
        "web_port": ("tcp",),
        "http_port": ("tcp",),
        "https_port": ("tcp",),
        "mysql_port": ("tcp",),
    },
    "ice_via": {"glacier2_port": ("tcp",), "grid_port": ("tcp",)},
    "data": {"port": ("tcp",)},
    "compute": {"port": ("tcp",)},
}

# systemd units of an instance, in the order in which they start. MariaDB and nginx are the
# distribution's own services, which the admin role configures and runs.
UNITS = {
    "consul": ["metis-consul.service"],
    "carrier": ["metis-carrier.service"],
    "admin": ["mariadb.service", "metis-admin.service", "nginx.service"],
    "ice_via": ["metis-icegrid.service", "metis-glacier2.service"],
    "data": ["metis-data@{port}.service"],
    "compute": ["metis-compute@{port}.service"],
}


def instances(topology: dict[str, Any], roles: list[str] | None = None) -> list[dict[str, Any]]:
    """
    Every instance that verbs may touch, in the order of the file.

    topology
        As ``build`` returns it.
    roles
        Only these roles; all where not given.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.instances '{"instances": []}'
    """
    return [
        instance
        for instance in topology["instances"]
        if instance["settings"]["enabled"] and (roles is None or instance["role"] in roles)
    ]


def _instance(name: str, host: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    role = settings["role"]
    identity = f"{role}@{name}"
    if role in ("data", "compute"):
        identity += f":{settings['port']}"
    service = None
    if role in SERVICES:
        service_name, tag, port = SERVICES[role]
        service_id = f"{service_name}_{host['address']}_{settings[port]}"
        service = {"id": service_id, "name": service_name, "tag": tag, "port": settings[port]}
        # As the instance's unit can say it: one template serves every fighter of a kind.
        number = "%i" if role in ("data", "compute") else settings[port]
        service["unit_id"] = f"{service_name}_{host['address']}_{number}"
    return {
        "id": identity,
        "role": role,
        "host": name,
        "address": host["address"],
        "units": [unit.format(**settings) for unit in UNITS[role]],
        "service": service,
        "place": settings["place"],
        "settings": {k: v for k, v in settings.items() if k not in ("role", "place")},
    }


def ports(instance: dict[str, Any]) -> list[tuple[str, str, int]]:
    """
    What an instance listens on: setting, protocol and port. Whoever switches a port off may use it
    for something else.

    instance
        Of a topology.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.ports '{...}'
    """
    settings = instance["settings"]
    off = {"https_port": not settings.get("enable_tls"), "pprof_port": not settings.get("pprof")}
    return [
        (setting, protocol, settings[setting])
        for setting, protocols in PORTS[instance["role"]].items()
        if not off.get(setting)
        for protocol in protocols
    ]


def speaks_tls(instance: dict[str, Any]) -> bool:
    """
    Whether an instance needs a certificate.

    instance
        Of a topology.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.speaks_tls '{role: consul, settings: {}}'
    """
    settings = instance["settings"]
    return settings.get("enable_tls", False) or settings.get("protocol") == "ssl"


def server_names(instance: dict[str, Any]) -> list[str]:
    """
    What clients call an instance, as subject alternative names of its certificate.

    instance
        Of a topology, of a role that can speak TLS.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.server_names '{...}'
    """
    settings = instance["settings"]
    names = [settings.get("server_name"), settings.get("external_address"), instance["host"]]
    # A minion's id need not be a name that a certificate can hold; the address always is.
    called = [name for name in names if name and re.fullmatch(_DNS_NAME, name)]
    return [
        f"{'IP' if re.fullmatch(r'[0-9.]+', name) else 'DNS'}:{name}"
        for name in dict.fromkeys([*called, instance["address"]])
    ]


def build(name: str, form: dict[str, Any], release: dict[str, Any] | None) -> dict[str, Any]:
    """
    The topology of an organization, or what keeps it from being one.

    name
        The organization: its file's name without the suffix.
    form
        As ``metis_orgfile.read`` returns it.
    release
        The release file's content; ``None`` where it is at fault itself.

    Returns ``{"topology": ..., "faults": [...], "claims": ..., "instances": [...]}``; ``topology``
    is ``None`` where there are faults: those of the form, and those of the rules that do not only
    follow from them. ``claims`` is what no other organization may have, for
    ``metis_rules.clashes``; ``instances`` are those that could be read, whatever is at fault.
    A topology has ``org``, ``cluster_name``, ``release`` (the wanted one; ``metis_orgs`` adds which
    is ``deployed``, and which instances are ``leaving``), ``releases_kept``, ``paths``,
    ``data_center``, ``store``, ``hosts`` (name to address), ``off`` (roles that are switched off),
    ``instances`` (mappings with ``id``, ``role``, ``host``, ``address``, ``units``, ``service``,
    ``settings``) and ``agent``, the consul agent that all programs use.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.build acme '{...}' '{...}'
    """
    org = form["org"]
    if org is None:
        claims: dict[str, Any] = {"hosts": {}, "public": []}
        faults = form["faults"]
        return {"topology": None, "faults": faults, "claims": claims, "instances": []}
    found = [
        _instance(host_name, host, settings)
        for host_name, host in org["hosts"].items()
        for settings in host["instances"]
    ]
    faults = [
        *form["faults"],
        *__salt__["metis_rules.broken"](name, form, found),
        *(__salt__["metis_rules.release_faults"](release, found) if release else []),
    ]
    claims = __salt__["metis_rules.claims"](form, found)
    if faults or release is None:
        return {"topology": None, "faults": faults, "claims": claims, "instances": found}
    # Programs find each other in the agent's own list, not in the catalog, so all of them talk to
    # one agent: the first server of the file (service-contract 0.3).
    server = next(instance for instance in found if instance["role"] == "consul")
    topology = {
        "org": name,
        "cluster_name": org["cluster_name"] or name,
        "release": release["release"],
        "releases_kept": org["releases_kept"],
        "paths": org["paths"],
        "data_center": org["data_center"],
        "store": org["store"],
        "hosts": {host_name: host["address"] for host_name, host in org["hosts"].items()},
        "off": [role for role in UNITS if not org[role]["enabled"]],
        "instances": found,
        "leaving": [],
        "agent": agent(server),
    }
    return {"topology": topology, "faults": [], "claims": claims, "instances": found}


def agent(server: dict[str, Any]) -> dict[str, Any]:
    """
    Where the agent of a consul server is asked: ``{"host", "address", "port"}``.

    server
        An instance of consul, of a topology.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.agent '{...}'
    """
    return {
        "host": server["host"],
        "address": server["address"],
        "port": server["settings"]["http_port"],
    }
