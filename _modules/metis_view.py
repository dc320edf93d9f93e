"""
What one host sees of its organization, in its pillar: pure functions, no I/O.

org file + defaults + release -> topology -> **view** of each host. What a program's configuration
holds is said in ``metis_config``; here is what of the topology, the releases and the secrets goes
to which host, and where it lies there.
"""

from pathlib import PurePosixPath
from typing import Any

__virtualname__ = "metis_view"


def view(
    topology: dict[str, Any],
    releases: dict[str, dict[str, Any]],
    secrets: dict[str, Any],
    host: str,
) -> dict[str, Any]:
    """
    What one host may know: its own instances, the addresses that they need, their secrets.

    topology
        As ``metis_topology.build`` returns it, with ``deployed``: instance to ``{"release",
        "previous"}``, as ``metis_deployed.of`` returns it; and with ``leaving``, as
        ``metis_deployed.leaving`` does.
    releases
        Release to its file's content: of every release that is deployed, and of those that may be
        laid down beside it.
    secrets
        By name, and ``certificates``: role to certificate and key. Only those of the host's roles
        go into the view.
    host
        A host of the topology, or one that it has left.

    Returns ``{"org", "host", "address", "release", "releases_kept", "paths", "store", "agent",
    "roles", "leaving"}``; ``release`` is the one that is wanted. ``roles`` has for each role of the
    host its system user, directories, ``releases`` (each with its directory, artifacts and facts),
    ``kept`` (releases that are not pruned) and ``instances``, each with its ``release`` and the
    content of its configuration. ``leaving`` has the same of what is deployed and not wanted any
    more, as far as ``traces`` has it, and whether the agent of each stays (``agent_stays``).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_view.view '{...}' '{...}' '{}' demo1
    """
    roles: dict[str, Any] = {}
    for instance in __salt__["metis_topology.instances"](topology):
        if instance["host"] != host:
            continue
        role = instance["role"]
        seen = roles.setdefault(role, _role_view(topology["paths"], releases, role))
        deployed = topology["deployed"][instance["id"]]
        release = releases[deployed["release"]]
        config = __salt__[f"metis_config.{role}"](topology, release, secrets, instance)
        # The password is where the program reads it, and nowhere else.
        settings = {k: v for k, v in instance["settings"].items() if k != "mysql_password"}
        known = {key: instance[key] for key in ("id", "units", "service")}
        ports = __salt__["metis_topology.ports"](instance)
        known["ports"] = [[protocol, port] for _, protocol, port in ports]
        known["release"] = deployed["release"]
        known["link"] = __salt__["metis_config.link"](topology["paths"], instance)
        seen["instances"].append(known | {"settings": settings} | config)
        if role not in ("data", "compute"):
            directory = __salt__["metis_config.data_directory"](topology["paths"], instance)
            seen["data"] = directory
        seen["writable"] += [seen["data"]] * (seen["data"] not in seen["writable"])
        for name in (deployed["release"], deployed.get("previous")):
            if name and name not in seen["kept"]:
                seen["kept"].append(name)
    leaving = _leaving_view(topology, host)
    former = [instance["address"] for role in leaving.values() for instance in role["instances"]]
    return {
        "org": topology["org"],
        "host": host,
        "address": topology["hosts"].get(host) or former[0],
        "release": topology["release"],
        "releases_kept": topology["releases_kept"],
        "paths": topology["paths"],
        "store": topology["store"],
        "agent": topology["agent"],
        "roles": roles,
        "leaving": leaving,
    }


def _program(role: str) -> str:
    # data and compute are one program with a kind: on one host they share its environment.
    return "fighter" if role in ("data", "compute") else role


def release_directory(paths: dict[str, str], role: str, release: str) -> str:
    """
    Where a release of a role's program is on a host.

    paths
        Of the organization's file.
    role
        The role.
    release
        What the release is called.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_view.release_directory '{programs: /opt/metis}' data 0.3.0
    """
    return f"{paths['programs']}/{_program(role)}/releases/{release}"


def _leaving_view(topology: dict[str, Any], host: str) -> dict[str, Any]:
    roles: dict[str, Any] = {}
    servers = [i for i in topology["instances"] if i["role"] == "consul"]
    agents = [__salt__["metis_topology.agent"](server) for server in servers]
    for instance in topology["leaving"]:
        if instance["host"] == host:
            role = instance["role"]
            seen = roles.setdefault(role, _role_view(instance["paths"], {}, role))
            seen["instances"].append(instance | {"agent_stays": instance["agent"] in agents})
            if role not in ("data", "compute"):
                seen["data"] = instance["settings"]["data_directory"] or seen["data"]
            if role == "admin":
                facts = {"database": instance["database"]}
                seen["releases"] = {instance["release"]: {"facts": facts}}
    return roles


def _role_view(
    paths: dict[str, str], releases: dict[str, dict[str, Any]], role: str
) -> dict[str, Any]:
    program = _program(role)
    return {
        "user": f"metis-{role}".replace("_", "-"),
        "programs": f"{paths['programs']}/{program}",
        "releases": {
            name: {
                "name": name,
                "directory": release_directory(paths, role, name),
                "artifacts": __salt__["metis_release.on_host"](release, role),
                "facts": _facts(release, program, release_directory(paths, role, name)),
            }
            for name, release in releases.items()
        },
        "links": f"{paths['programs']}/{role}",
        "configuration": f"{paths['configuration']}/{role}",
        "data": f"{paths['data']}/{role}",
        "logs": f"{paths['logs']}/{role}",
        "writable": [f"{paths['logs']}/{role}"],
        "kept": [],
        "instances": [],
    }


def _facts(release: dict[str, Any], program: str, directory: str) -> dict[str, Any]:
    facts: dict[str, Any] = release.get(program, {})
    if program == "fighter":
        libraries = facts.get("libraries")
        return facts | {
            "packages": facts.get("packages", []),
            "libraries": f"{directory}/env/{libraries}" if libraries else None,
            # One that the release brings is below it; a host's own is where it is.
            "python": str(PurePosixPath(directory, facts["python"])),
            "environment_mark": __salt__["metis_config.environment_mark"](release),
        }
    return facts


# What it takes to look at an instance and to take it out, of what a view has of it. No secret, and
# nothing that another release changes.
_TRACE = (
    *("id", "units", "service", "ports", "link", "config_file", "environment_file", "directory"),
    *("drop_in", "p2p_key", "mariadb_file", "nginx_file"),
)


def traces(
    topology: dict[str, Any], releases: dict[str, dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """
    What instances are on their hosts, as far as it takes to look at them and to take them out once
    the organization's file does not have them any more. Without a secret.

    topology, releases
        As for ``view``.

    Returns instance to its trace.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_view.traces '{...}' '{...}'
    """
    found = {}
    for host, address in topology["hosts"].items():
        seen = view(topology, releases, {"mysql_password": "", "certificates": {}}, host)
        for role, content in seen["roles"].items():
            for instance in content["instances"]:
                own = {key: instance[key] for key in _TRACE if key in instance}
                # As it is read again from a file.
                own["settings"] = {
                    key: list(value) if isinstance(value, tuple) else value
                    for key, value in instance["settings"].items()
                }
                own |= {"role": role, "host": host, "address": address}
                own |= {"agent": topology["agent"], "paths": topology["paths"]}
                if role == "admin":
                    facts = content["releases"][instance["release"]]["facts"]
                    own["database"] = facts["database"]
                found[instance["id"]] = own
    return found
