"""
The topology of an organization: pure functions, no I/O.

org file + defaults + release -> **topology** -> view of each host, which ``metis_view`` makes. Here
is who runs where, under which name, on which port, and whether that can work.
"""

import re
from collections import Counter
from typing import Any

__virtualname__ = "metis_topology"

Fault = dict[str, Any]

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

# Those that other organizations reach, by the role's external_address: setting -> protocol.
PUBLIC_PORTS = {
    "carrier": {"p2p_tcp_port": "tcp", "p2p_udp_port": "udp"},
    "ice_via": {"glacier2_port": "tcp"},
}

# Folders that are everyone's: a role's folder would stand among what is not ours.
_SYSTEM = """
/ /bin /boot /dev /etc /home /lib /lib32 /lib64 /libx32 /media /mnt /opt /proc /root /run /sbin /srv
/sys /tmp /usr /usr/bin /usr/include /usr/lib /usr/libexec /usr/local /usr/local/bin /usr/local/etc
/usr/local/lib /usr/local/sbin /usr/local/share /usr/sbin /usr/share /usr/src /var /var/cache
/var/lib /var/local /var/lock /var/log /var/mail /var/opt /var/run /var/spool /var/tmp
"""
SYSTEM_DIRECTORIES = frozenset(_SYSTEM.split())

# What nothing of ours can lie in, and why.
FORBIDDEN_DIRECTORIES = {
    folder: reason
    for folders, reason in (
        ("/boot /dev /proc /sys", "is the kernel's"),
        ("/run /var/lock /var/run", "is emptied at every boot"),
        ("/var/tmp /tmp", "is emptied, and not the same to two programs"),  # noqa: S108
        ("/home /root", "is hidden from the programs by their units"),
        ("/etc/mysql /var/lib/mysql /var/log/mysql", "is MariaDB's"),
        ("/etc/nginx /var/lib/nginx /var/log/nginx", "is nginx's"),
        ("/var/lib/metis-ownership", "says what is the organization's"),
        ("/etc/salt /var/cache/salt /var/log/salt", "is Salt's"),
        ("/etc/systemd /usr/lib/systemd /usr/local/lib/systemd /var/lib/systemd", "is systemd's"),
    )
    for folder in folders.split()
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


def _fault(place: str, problem: str, fix: str, value: Any = None) -> Fault:
    return __salt__["metis_orgfile.fault"](place, problem, fix, value)


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


def _counting_faults(org: dict[str, Any], found: list[dict[str, Any]]) -> list[Fault]:
    faults = []
    count = Counter(instance["role"] for instance in found)
    places = {
        role: ", ".join(i["place"] for i in found if i["role"] == role) or "hosts" for role in UNITS
    }
    second = [i for n, i in enumerate(found) if i["id"] in {other["id"] for other in found[:n]}]
    for instance in second:
        if instance["role"] not in ("data", "compute"):
            faults.append(
                _fault(
                    instance["place"],
                    f"is a second {instance['role']} on {instance['host']}",
                    "take it away: only data and compute may be on a host more than once",
                )
            )
    if count["consul"] % 2 == 0:
        faults.append(
            _fault(
                places["consul"],
                f"has {count['consul']} consul servers, and raft needs an odd number to elect "
                "a leader",
                "give the role consul to 1, 3 or 5 hosts",
            )
        )
    faults += [
        _fault(
            instance["place"],
            f"is a consul server that is {'on' if own else 'off'} where consul is not",
            "set consul.enabled for all servers alike: all programs use one of them",
        )
        for instance in found
        if instance["role"] == "consul"
        and (own := instance["settings"]["enabled"]) is not org["consul"]["enabled"]
    ]
    on = {instance["role"] for instance in found if instance["settings"]["enabled"]}
    for role in ("carrier", "admin"):
        if (org[role]["enabled"] or role in on) and count[role] != 1:
            faults.append(
                _fault(
                    places[role],
                    f"has {count[role]} instances of {role}, and an organization has exactly one",
                    f"give the role {role} to one host, or set {role}.enabled to false",
                )
            )
    if (org["ice_via"]["enabled"] or "ice_via" in on) and count["ice_via"] > 1:
        faults.append(
            _fault(
                places["ice_via"],
                f"has {count['ice_via']} instances of ice_via, and an organization has at most one",
                "give the role ice_via to one host",
            )
        )
    return faults


def _name_faults(name: str, org: dict[str, Any]) -> list[Fault]:
    if org["cluster_name"] or re.fullmatch(r"[A-Za-z0-9_-]+", name):
        return []
    problem = f"is missing, and consul cannot call a data center {name}, as the file is called"
    return [_fault("cluster_name", problem, "add one of letters, digits and -")]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _path_faults(org: dict[str, Any], at_fault: list[str]) -> list[Fault]:
    faults = []
    paths = {name: path for name, path in org["paths"].items() if f"paths.{name}" not in at_fault}
    for number, (name, path) in enumerate(paths.items()):
        place, fix = f"paths.{name}", f"name a folder for this alone, such as /srv/metis/{name}"
        if why := _unfit(path):
            faults.append(_fault(place, why, fix, path))
        for other, before in list(paths.items())[:number]:
            if path == before:
                problem = f"is paths.{other} too"
            elif _within(path, before):
                problem = f"lies in paths.{other}, which is {before}"
            elif _within(before, path):
                problem = f"holds paths.{other}, which is {before}"
            else:
                continue
            faults.append(_fault(place, problem, "name a folder beside it", path))
    return faults


def _unfit(path: str) -> str:
    """Why nothing of ours can be in a folder, or ``""``."""
    if path in SYSTEM_DIRECTORIES:
        return "is a folder of the system"
    why = [
        f"lies in {folder}, which {reason}"
        for folder, reason in FORBIDDEN_DIRECTORIES.items()
        if _within(path, folder)
    ]
    return why[0] if why else ""


def _data_faults(org: dict[str, Any], found: list[dict[str, Any]]) -> list[Fault]:
    """What is wrong with the folders that instances have of their own for their data."""
    faults = []
    where = {i["place"]: __salt__["metis_config.data_directory"](org["paths"], i) for i in found}
    for instance in found:
        own = instance["settings"]["data_directory"]
        if own is None:
            continue
        place = f"{instance['place']} (data_directory)"
        fix = "name a folder for this alone, such as one of another disk"
        others = {f"paths.{k}": path for k, path in org["paths"].items() if k != "data"} | {
            f"the data of {other['place']}": where[other["place"]]
            for other in found
            if other["host"] == instance["host"] and other is not instance
        }
        directory = where[instance["place"]]
        clashing = [
            f"is not apart from {other}, which is {path}"
            for other, path in others.items()
            if path == directory or _within(path, directory) or _within(directory, path)
        ]
        if why := _unfit(own) or "; ".join(clashing):
            faults.append(_fault(place, why, fix, own))
    return faults


def _public(instance: dict[str, Any]) -> list[tuple[str, str, int, str]]:
    """Where others reach an instance: address, protocol, port, and the port's setting."""
    settings = instance["settings"]
    address = settings.get("external_address")
    if not settings["enabled"] or address is None:
        return []
    return [
        (address.lower(), protocol, settings[setting], setting)
        for setting, protocol in PUBLIC_PORTS[instance["role"]].items()
    ]


def _public_faults(found: list[dict[str, Any]]) -> list[Fault]:
    faults = []
    taken: dict[tuple[str, str, int], tuple[str, dict[str, Any]]] = {}
    for instance in found:
        for address, protocol, port, setting in _public(instance):
            named, other = taken.setdefault((address, protocol, port), (setting, instance))
            # On one host it is a clash of ports, and of one role a second too many.
            if other["host"] != instance["host"] and other["role"] != instance["role"]:
                faults.append(
                    _fault(
                        f"{instance['place']} ({setting})",
                        f"is {protocol} port {port} of {address} to other organizations, which is "
                        f"{named} of {other['place']} too",
                        f"set another port, as `- {instance['role']}: {{{setting}: ...}}`, or "
                        "another external_address",
                        port,
                    )
                )
    return faults


def _address_faults(
    org: dict[str, Any], found: list[dict[str, Any]], at_fault: list[str]
) -> list[Fault]:
    faults = []
    for role in ("carrier", "ice_via"):
        for instance in found:
            settings = instance["settings"]
            if instance["role"] != role or not settings["enabled"]:
                continue
            if settings["external_address"] is None:
                faults.append(
                    _fault(
                        f"{role}.external_address",
                        f"is missing, and other organizations reach {role} through it",
                        f"set the public address of {instance['host']}",
                    )
                )
    wanted = [i for i in found if i["role"] == "carrier" and i["settings"]["enabled"]]
    if wanted and org["data_center"] is None:
        faults.append(
            _fault(
                "data_center",
                "is missing, and carrier does not start without one",
                "add `data_center: {address: ..., port: ...}`",
            )
        )
    owners: dict[str, str] = {}
    for name, host in org["hosts"].items():
        if f"hosts.{name}.address" in at_fault:
            continue
        other = owners.setdefault(host["address"], name)
        if other != name:
            faults.append(
                _fault(
                    f"hosts.{name}.address",
                    f"is the address of hosts.{other} too",
                    "give every host its own address",
                    host["address"],
                )
            )
    return faults


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


def _port_faults(found: list[dict[str, Any]]) -> list[Fault]:
    faults = []
    taken: dict[tuple[str, str, int], tuple[str, str]] = {}
    for instance in found:
        told: set[str] = set()
        for setting, protocol, port in ports(instance):
            user = (setting, instance["place"])
            other = taken.setdefault((instance["host"], protocol, port), user)
            if other != user and setting not in told:
                told.add(setting)
                faults.append(
                    _fault(
                        f"{instance['place']} ({setting})",
                        f"is {protocol} port {port} on {instance['host']}, which is "
                        f"{other[0]} of {other[1]} too",
                        f"set another port, as `- {instance['role']}: {{{setting}: ...}}`",
                        port,
                    )
                )
    for instance in found:
        low, high = instance["settings"].get("task_port_range", (0, 0))
        if low > high:
            faults.append(
                _fault(
                    f"{instance['place']} (task_port_range)",
                    "ends before it begins",
                    "write the lower port first",
                    [low, high],
                )
            )
        for (host, protocol, port), user in taken.items():
            if host == instance["host"] and protocol == "tcp" and low <= port <= high:
                faults.append(
                    _fault(
                        f"{instance['place']} (task_port_range)",
                        f"holds port {port}, which is {user[0]} of {user[1]}",
                        "move the range or the port",
                        [low, high],
                    )
                )
    return faults


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


def _certificate_faults(found: list[dict[str, Any]]) -> list[Fault]:
    return [
        _fault(
            f"{instance['place']} ({missing})",
            f"is missing, and {there} is given",
            "give both, or neither for one of the organization's own authority",
        )
        for instance in found
        for missing, there in (
            ("certificate", "certificate_key"),
            ("certificate_key", "certificate"),
        )
        if instance["settings"].get(there) and not instance["settings"].get(missing)
    ]


def release_faults(release: dict[str, Any], found: list[dict[str, Any]]) -> list[Fault]:
    """
    What keeps a release from being deployed: an artifact without a checksum.

    release
        The release file's content.
    found
        The instances that are to run it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.release_faults '{artifacts: {}}' '[]'
    """
    wanted = {instance["role"] for instance in found if instance["settings"]["enabled"]}
    return [
        _fault(
            "release",
            f"names {release['release']}, whose artifact {name} has no checksum",
            f"look at it and pin it: salt-run metis.pin release={release['release']} "
            f"artifact={name}; or name another release",
            artifact["file"],
        )
        for name, artifact in release["artifacts"].items()
        if wanted & set(artifact["roles"])
        # Where its publisher tells the checksum, metis.prepare asks for it.
        and not (artifact.get("sha256") or artifact.get("checksums"))
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
    is ``None`` where there are faults: those of the form and those found here, but for what only
    follows from the former. ``claims`` is what no other organization may have, for ``clashes``;
    ``instances`` are those that could be read, whatever is at fault.
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
    places = [fault["place"] for fault in form["faults"]]
    faults = [
        *form["faults"],
        *(_counting_faults(org, found) if form["whole"] else []),
        *(
            fault
            for fault in (*_address_faults(org, found, places), *_name_faults(name, org))
            if not any(place.startswith(fault["place"]) for place in places)
        ),
        *_path_faults(org, places),
        *_data_faults(org, found),
        *_port_faults(found),
        *_certificate_faults(found),
        *_public_faults(found),
        *(release_faults(release, found) if release else []),
    ]
    claims = _claims(org, found, places)
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


def _claims(
    org: dict[str, Any], found: list[dict[str, Any]], at_fault: list[str]
) -> dict[str, Any]:
    return {
        # No address where it is not known.
        "hosts": {
            name: None if f"hosts.{name}.address" in at_fault else host["address"]
            for name, host in org["hosts"].items()
        },
        "public": [
            {
                "place": f"{instance['place']} ({setting})",
                "role": instance["role"],
                "endpoint": (address, protocol, port),
            }
            for instance in found
            for address, protocol, port, setting in _public(instance)
        ],
    }


def held(
    claims: dict[str, dict[str, Any]], leaving: dict[str, list[dict[str, Any]]]
) -> dict[str, list[Fault]]:
    """
    Hosts that an organization has and that another one is not through with: what was taken out of
    that one's file runs there still.

    claims
        Organization to what ``build`` returned as its ``claims``.
    leaving
        Organization to its instances that are leaving, as ``metis_deployed.leaving`` returns them.

    Returns organization to faults, of who came later; an organization without is left out.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.held '{}' '{}'
    """
    faults: dict[str, list[Fault]] = {}
    for other, instances_left in leaving.items():
        for host in sorted({instance["host"] for instance in instances_left}):
            there = ", ".join(i["id"] for i in instances_left if i["host"] == host)
            for name, own in claims.items():
                if name != other and host in own["hosts"]:
                    problem = f"has {there} of the organization {other} still"
                    asked = f"""pillar='{{"org": "{other}", "hosts": "{host}"}}'"""
                    fix = f"salt-run state.orchestrate metis.scale_in {asked}"
                    faults.setdefault(name, []).append(_fault(f"hosts.{host}", problem, fix))
    return faults


def clashes(claims: dict[str, dict[str, Any]]) -> dict[str, list[Fault]]:
    """
    What two organizations both have and only one can: a host, a host's address, a public port.

    claims
        Organization to what ``build`` returned as its ``claims``.

    Returns organization to faults, those of a clash in both; an organization without is left out.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_topology.clashes '{}'
    """
    faults: dict[str, list[Fault]] = {}
    for name, own in claims.items():
        for other, theirs in claims.items():
            if other == name:
                continue
            found = _shared_hosts(own["hosts"], theirs["hosts"], other)
            found += _shared_ports(own["public"], theirs["public"], other)
            if found:
                faults.setdefault(name, []).extend(found)
    return faults


def _shared_hosts(
    own: dict[str, str | None], theirs: dict[str, str | None], other: str
) -> list[Fault]:
    faults = []
    owners = {address: host for host, address in theirs.items() if address}
    for host, address in own.items():
        if host in theirs:
            faults.append(
                _fault(
                    f"hosts.{host}",
                    f"is a host of the organization {other} too",
                    "give the host to one of them",
                )
            )
        elif address in owners:
            faults.append(
                _fault(
                    f"hosts.{host}.address",
                    f"is the address of hosts.{owners[address]} of the organization {other} too",
                    "give every host its own address, and a machine to one organization",
                    address,
                )
            )
    return faults


def _shared_ports(
    own: list[dict[str, Any]], theirs: list[dict[str, Any]], other: str
) -> list[Fault]:
    owners = {tuple(public["endpoint"]): public for public in theirs}
    faults = []
    for public in own:
        address, protocol, port = public["endpoint"]
        if (address, protocol, port) in owners:
            owner = owners[(address, protocol, port)]
            faults.append(
                _fault(
                    public["place"],
                    f"is {protocol} port {port} of {address} to others, which is "
                    f"{owner['place']} of the organization {other} too",
                    f"set another port or another {public['role']}.external_address",
                    port,
                )
            )
    return faults
