"""
A roll over instances: how they are, who is next, and whether consul bears the loss of a server.

What ``metis.restart``, ``metis.reload``, ``metis.upgrade`` and ``metis.rollback`` share: each takes
one instance after the other, and does not go on from one that is not well.

Runs on the master.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_roll"

Instance = dict[str, Any]

# Seconds for consul's servers to be in contact with the leader.
_QUORUM = 60
# Seconds for a host to look.
LOOK = 120


def look(hosts: list[str]) -> None:
    """
    Look at every instance of hosts; the run knows then how they are.

    hosts
        Minion ids.

    Raises ``CommandExecutionError`` with each host that does not say.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_roll.look '[]'
    """
    seen = __salt__["metis_run.now"]()["seen"]
    seen |= __salt__["metis_ask.ask_all"](hosts, "metis_instance.status", {}, LOOK, list)


def found(instance: Instance) -> Instance | None:
    """
    An instance as it was last seen in this run.

    instance
        Of a topology.

    Returns it as ``metis_instance.status`` does, or ``None``.
    """
    seen = __salt__["metis_run.now"]()["seen"].get(instance["host"], [])
    return next((one for one in seen if one["id"] == instance["id"]), None)


def _servers() -> list[Instance]:
    topology = __salt__["metis_run.now"]()["topology"]
    return __salt__["metis_topology.instances"](topology, ["consul"])


def _agent(instance: Instance) -> dict[str, Any]:
    return {"address": instance["address"], "port": instance["settings"]["http_port"]}


def leader() -> str:
    """
    consul's leader, as the first server knows it that knows one.

    Raises ``CommandExecutionError`` where none does.

    Returns its address and port, with a colon.
    """
    problems = []
    for instance in _servers():
        asked = {"agent": _agent(instance)}
        try:
            seen = __salt__["metis_ask.ask"](
                instance["host"], "metis_consul.cluster", asked, LOOK, dict
            )
        except salt.exceptions.CommandExecutionError as err:
            problems.append(str(err))
            continue
        if seen["leader"]:
            known: str = seen["leader"]
            return known
        problems.append(f"{instance['id']} knows no leader")
    raise salt.exceptions.CommandExecutionError("; ".join(problems))


def quorum(instance: Instance, without: str = "") -> list[str]:
    """
    What keeps consul's servers from being all there, waited for.

    instance
        The server that is asked.
    without
        The address in raft of the one that does not count.

    Returns problems.
    """
    asked = {"agent": _agent(instance), "peers": len(_servers()), "timeout": _QUORUM}
    asked |= {"without": without} if without else {}
    host = instance["host"]
    wrong = __salt__["metis_ask.ask"](
        host, "metis_consul.wait_for_quorum", asked, _QUORUM + LOOK, str
    )
    return [wrong] if wrong else []


def endangered(instance: Instance) -> list[str]:
    """
    What forbids to take an instance away: of consul's servers one that runs, while not all are
    there. One that is not well itself is taken away while all others are.

    instance
        Of a topology.

    Returns problems.
    """
    seen = found(instance)
    if instance["role"] != "consul" or not seen or seen["state"] != "running":
        return []
    others = [server for server in _servers() if server["id"] != instance["id"]]
    if seen["healthy"]:
        wrong = quorum(instance)
    else:
        own = f"{instance['address']}:{instance['settings']['server_port']}"
        wrong = quorum(others[0], own) if others else []
    return [f"{instance['id']} was not touched: {cause}" for cause in wrong]


def following(waiting: list[Instance]) -> Instance:
    """
    Who is next of instances that wait: in the order of the file, but of consul's servers the leader
    last, asked for each time as it may have changed.

    waiting
        Of a topology, one at least.
    """
    if waiting[0]["role"] != "consul" or len(waiting) == 1:
        return waiting[0]
    address = leader().partition(":")[0]
    return next((i for i in waiting if i["address"] != address), waiting[0])
