"""
Who in an organization has to reach whom, on which port, and whether that was so: pure functions, no
I/O. ``metis_reach`` tries it.

It is the network table of the README, by what programs do (service-contract 1 to 7). What other
organizations and people's browsers reach cannot be tried from within.
"""

from typing import Any

__virtualname__ = "metis_network"

Flow = dict[str, Any]

_FIGHTERS = ("data", "compute")
# Role and setting of a port -> the roles whose hosts connect to it.
_NEEDED_BY: dict[str, dict[str, tuple[str, ...]]] = {
    "consul": {
        "server_port": ("consul",),
        "serf_lan_port": ("consul",),
        "serf_wan_port": ("consul",),
    },
    "carrier": {"rpc_port": ("admin", *_FIGHTERS)},
    "ice_via": {"grid_port": _FIGHTERS},
    "data": {"port": ("carrier", "admin")},
    "compute": {"port": ("carrier",)},
}
# Of these all programs use one, and it is the one that looks whether the programs are well.
_AGENT_PORT = "http_port"
_CHECKED = {"carrier": "rpc_port", "admin": "web_port", "data": "port", "compute": "port"}
_TASKS_OF = ("ice_via", *_FIGHTERS)


def _needs(instance: dict[str, Any], agent: str) -> list[tuple[str, int, tuple[str, ...], bool]]:
    """Protocol, port, the roles that connect, and whether the agent's host does too."""
    role, settings = instance["role"], instance["settings"]
    found = []
    protocols = __salt__["metis_topology.ports"](instance)
    for setting, protocol, port in protocols:
        by = _NEEDED_BY.get(role, {}).get(setting, ())
        if role == "consul" and setting == _AGENT_PORT and instance["host"] == agent:
            by = tuple(_CHECKED)
        checked = _CHECKED.get(role) == setting
        if by or checked:
            found.append((protocol, port, by, checked))
    if role in _FIGHTERS:
        # Of a range one port stands for all: a firewall has one rule for it.
        found.append(("tcp", settings["task_port_range"][1], _TASKS_OF, False))
    return found


def flows(topology: dict[str, Any], instances: list[dict[str, Any]]) -> list[Flow]:
    """
    Each connection that some of an organization's hosts must be able to make to others of them, and
    carrier's to the network's data center, without which it does not start.

    topology
        The organization's.
    instances
        Those that are meant; both ends of a flow are on hosts of these.

    Returns mappings with ``from`` and ``to`` (hosts, or ``the data center``), ``address``,
    ``protocol``, ``port``, ``of`` (the instance that listens, or ``""``) and ``by`` (those that
    connect).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_network.flows '{...}' '[]'
    """
    meant = {instance["id"] for instance in instances}
    hosts = {instance["host"] for instance in instances}
    every = [i for i in __salt__["metis_topology.instances"](topology) if i["host"] in hosts]
    agent = topology["agent"]["host"]
    found: dict[tuple[str, str, str, int], Flow] = {}
    for target in every:
        for protocol, port, roles, checked in _needs(target, agent):
            for source in every:
                looks = checked and source["role"] == "consul" and source["host"] == agent
                if source["host"] == target["host"] or not (source["role"] in roles or looks):
                    continue
                if not {source["id"], target["id"]} & meant:
                    continue
                key = (source["host"], target["host"], protocol, port)
                flow = {
                    "from": source["host"],
                    "to": target["host"],
                    "address": target["address"],
                    "protocol": protocol,
                    "port": port,
                    "of": target["id"],
                    "by": [],
                }
                found.setdefault(key, flow)["by"].append(source["id"])
    return [*found.values(), *_to_data_center(topology, instances)]


def _to_data_center(topology: dict[str, Any], instances: list[dict[str, Any]]) -> list[Flow]:
    center = topology["data_center"]
    return [
        {
            "from": instance["host"],
            "to": "the data center",
            "address": center["address"],
            "protocol": "tcp",
            "port": center["port"],
            "of": "",
            "by": [instance["id"]],
        }
        for instance in instances
        if instance["role"] == "carrier"
    ]


def _runs(instance: dict[str, Any], seen: dict[str, Any]) -> bool:
    return set(instance["units"]) <= set(seen[instance["host"]]["up"])


def _is_quiet(instance: dict[str, Any], seen: dict[str, Any]) -> bool:
    """
    Whether nothing of an instance runs or is about to, so that nobody is in its way on its ports.
    The distribution's services may have been there before it.
    """
    own = [unit for unit in instance["units"] if unit.startswith("metis-")]
    return not set(own) & set(seen[instance["host"]]["up"])


def _held(seen: dict[str, Any], how: str) -> set[tuple[str, str, int]]:
    return {
        (host, port["protocol"], port["port"])
        for host, facts in seen.items()
        for port in facts["ports"]
        if port[how]
    }


def probes(
    flows: list[dict[str, Any]], instances: list[dict[str, Any]], seen: dict[str, Any], whole: bool
) -> dict[str, Any]:
    """
    What hosts have to try, to know whether they reach each other.

    flows
        As ``metis_network.flows`` returns them.
    instances
        Those that are meant.
    seen
        Host to what ``metis_check.facts`` returned.
    whole
        Whether what runs already is tried too.

    Returns what ``metis_reach.probe`` takes; empty where nothing has to be tried.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_network.probes '[]' '[]' '{}' True
    """
    own, others = _held(seen, "own"), _held(seen, "others")
    idle = {instance["id"] for instance in instances if not _runs(instance, seen)}
    quiet = {instance["id"] for instance in instances if _is_quiet(instance, seen)}
    found: dict[str, Any] = {}
    for flow in flows:
        protocol, port = flow["protocol"], flow["port"]
        target = (flow["to"], protocol, port)
        if not whole and not idle & {flow["of"], *flow["by"]}:
            continue
        listens = target in own
        # A stranger's port is a finding already, and what runs gives nothing back over udp.
        if target in others or (listens and protocol == "udp"):
            continue
        echo = not listens and flow["to"] in seen
        if echo and flow["of"] not in quiet:
            continue
        for host in {flow["from"], flow["to"]} & set(seen):
            found.setdefault(host, {"address": None, "expect": [], "connect": []})
        found[flow["from"]]["connect"].append([protocol, flow["address"], port, echo])
        if echo:
            found[flow["to"]]["address"] = flow["address"]
            found[flow["to"]]["expect"].append([protocol, port, flow["from"]])
    return found


def reached(
    flows: list[dict[str, Any]], tried: dict[str, Any], answers: dict[str, Any]
) -> list[dict[str, str]]:
    """
    Findings on the way between hosts.

    flows
        As ``metis_network.flows`` returns them.
    tried
        As ``probes`` returns it.
    answers
        Host to what ``metis_reach.probe`` returned.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_network.reached '[]' '{}' '{}'
    """
    find = __salt__["metis_findings.finding"]
    taken = [(h, *port) for h, answer in answers.items() for port in answer["taken"]]
    found = [
        find(
            host,
            f"port {port}/{protocol}",
            "warning",
            f"whether others reach it could not be tried: {why}",
            f"look with ss -anp 'sport = :{port}' on the host, and check again",
        )
        for host, protocol, port, why in taken
    ]
    untried = {(host, protocol, port) for host, protocol, port, _ in taken}
    wrong = {
        (host, protocol, address, port): why
        for host, answer in answers.items()
        for protocol, address, port, why in answer["unreached"]
    }
    ways: dict[tuple[str, str, str, str], list[str]] = {}
    for flow in flows:
        protocol, address, port = flow["protocol"], flow["address"], flow["port"]
        entries = tried.get(flow["from"], {"connect": []})["connect"]
        tries = any(entry[:3] == [protocol, address, port] for entry in entries)
        if tries and (flow["to"], protocol, port) not in untried:
            why = wrong.get((flow["from"], protocol, address, port), "")
            way = (flow["from"], flow["to"], address, why)
            ways.setdefault(way, []).append(f"{port}/{protocol}")
    for (host, to, address, why), ports in ways.items():
        listed = ", ".join(ports)
        what, advice = (
            f"way to {to}",
            f"open {listed} of {address} to {host} in every firewall between",
        )
        failure = (host, what, "failure", f"none on {listed}: {why}", advice)
        found.append(find(*failure) if why else find(host, what, "ok", listed))
    return found
