"""
The rules that organizations are held to beyond the form of their files: pure functions, no I/O.

What must hold between the parts of a file, such as ports that clash or the number of consul
servers; of the release that it names; and between organizations. Which instances there are and what
they listen on is said in ``metis_topology``.
"""

import re
from collections import Counter
from typing import Any

__virtualname__ = "metis_rules"

Fault = dict[str, Any]

# Ports that other organizations reach, by the role's external_address: setting -> protocol.
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
        ("/var/lib/metis-store", "is the master's store"),
        ("/etc/salt /var/cache/salt /var/log/salt", "is Salt's"),
        ("/etc/systemd /usr/lib/systemd /usr/local/lib/systemd /var/lib/systemd", "is systemd's"),
        ("/etc/apt /etc/dpkg /var/lib/apt /var/lib/dpkg", "says what is installed"),
        ("/bin /sbin /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin", "is for commands"),
        ("/lib /lib32 /lib64 /libx32", "is for the system's libraries"),
        ("/var/cache", "may be emptied at any time"),
    )
    for folder in folders.split()
}
# What programs write cannot lie in these either, though programs and configuration can.
UNWRITTEN_DIRECTORIES = {"/etc": "is for settings", "/usr": "is for programs"}


def _fault(place: str, problem: str, fix: str, value: Any = None) -> Fault:
    return __salt__["metis_orgfile.fault"](place, problem, fix, value)


def broken(name: str, form: dict[str, Any], found: list[dict[str, Any]]) -> list[Fault]:
    """
    The faults of an organization's parts with each other, but for what only follows from those of
    its form.

    name
        The organization: its file's name without the suffix.
    form
        As ``metis_orgfile.read`` returns it, with an ``org``.
    found
        Its instances.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_rules.broken acme '{...}' '[]'
    """
    org, places = form["org"], [fault["place"] for fault in form["faults"]]
    return [
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
    ]


def _counting_faults(org: dict[str, Any], found: list[dict[str, Any]]) -> list[Fault]:
    faults = []
    count = Counter(instance["role"] for instance in found)
    places = {
        role: ", ".join(i["place"] for i in found if i["role"] == role) or "hosts"
        for role in ("consul", "carrier", "admin", "ice_via")
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
        if why := _unfit(path, written=name in ("data", "logs")):
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


def _unfit(path: str, written: bool) -> str:
    """Why nothing of ours, or nothing that programs write, can be in a folder, or ``""``."""
    if path in SYSTEM_DIRECTORIES:
        return "is a folder of the system"
    forbidden = FORBIDDEN_DIRECTORIES | (UNWRITTEN_DIRECTORIES if written else {})
    why = [
        f"lies in {folder}, which {reason}"
        for folder, reason in forbidden.items()
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
        # Roles have their own folders in it, and it has another owner.
        data = org["paths"]["data"]
        if _within(data, own):
            clashing.append("is paths.data too" if data == own else f"holds paths.data, {data}")
        if why := _unfit(own, written=True) or "; ".join(clashing):
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


def _port_faults(found: list[dict[str, Any]]) -> list[Fault]:
    faults = []
    taken: dict[tuple[str, str, int], tuple[str, str]] = {}
    for instance in found:
        told: set[str] = set()
        for setting, protocol, port in __salt__["metis_topology.ports"](instance):
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

        salt-run salt.cmd metis_rules.release_faults '{artifacts: {}}' '[]'
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


def claims(form: dict[str, Any], found: list[dict[str, Any]]) -> dict[str, Any]:
    """
    What no other organization may have, for ``clashes`` and ``held``.

    form
        As ``metis_orgfile.read`` returns it, with an ``org``.
    found
        Its instances.

    Returns ``{"hosts": ..., "public": [...]}``: host to address, and where others reach instances.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_rules.claims '{...}' '[]'
    """
    org, at_fault = form["org"], [fault["place"] for fault in form["faults"]]
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
        Organization to its ``claims``.
    leaving
        Organization to its instances that are leaving, as ``metis_deployed.leaving`` returns them.

    Returns organization to faults, of who came later; an organization without is left out.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_rules.held '{}' '{}'
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
        Organization to its ``claims``.

    Returns organization to faults, those of a clash in both; an organization without is left out.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_rules.clashes '{}'
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
