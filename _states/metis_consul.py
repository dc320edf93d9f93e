"""
consul as a role needs it: a cluster with a leader, keys, registrations.

Each of these is a gate: it looks at the running system, waits for what is wanted, and when that
does not come says why, with the last lines of the unit's journal.
"""

import re
from typing import Any

import salt.exceptions

__virtualname__ = "metis_consul"

State = dict[str, Any]


def _failed(ret: State, cause: str, unit: str) -> State:
    return ret | {"result": False, "comment": __salt__["metis_unit.explain"](cause, unit)}


def cluster_ready(
    name: str, agent: dict[str, Any], peers: int, unit: str, timeout: float = 60
) -> State:
    """
    consul has a leader, and all its servers are peers.

    name
        What the state is called.
    agent
        ``{"address": ..., "port": ...}`` of the server that is asked.
    peers
        How many servers the cluster has.
    unit
        Whose journal explains a failure.
    timeout
        Seconds.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": ""}
    wait = 0 if __opts__["test"] else timeout
    try:
        seen = __salt__["metis_consul.wait_for_cluster"](agent, peers, wait)
    except salt.exceptions.CommandExecutionError as err:
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"consul would be waited for: {err}"}
        return _failed(ret, str(err), unit)
    known = ", ".join(seen["peers"]) or "none"
    if seen["leader"] and len(seen["peers"]) == peers:
        return ret | {"comment": f"leader {seen['leader']}, {peers} peers: {known}"}
    cause = (
        f"consul has leader '{seen['leader']}' and {len(seen['peers'])} of {peers} peers: {known}"
    )
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"consul would be waited for: {cause}"}
    return _failed(ret, f"{cause}, after {timeout} s", unit)


def key_present(name: str, agent: dict[str, Any], value: str, unit: str) -> State:
    """
    A key has a value.

    name
        The key.
    agent
        ``{"address": ..., "port": ...}``.
    value
        What programs shall read there.
    unit
        consul's, whose journal explains a failure. It keeps keys while it is stopped: a dry run
        expects them to be as they were written then.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is {value}"}
    try:
        found = __salt__["metis_consul.key"](agent, name)
        if found == value:
            return ret
        ret["changes"] = {name: {"old": found, "new": value}}
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"{name} would be {value}"}
        __salt__["metis_consul.set_key"](agent, name, value)
    except salt.exceptions.CommandExecutionError as err:
        if __opts__["test"]:
            new = __salt__["metis_unit.facts"]([unit])[unit]["state"] == "absent"
            changes = {name: {"old": None, "new": value}} if new else {}
            return ret | {"result": None, "changes": changes, "comment": f"not known: {err}"}
        return _failed(ret | {"changes": {}}, str(err), unit)
    return ret | {"comment": f"{name} was set to {value}"}


def service_passing(
    name: str, agent: dict[str, Any], service: dict[str, Any], unit: str, timeout: float = 60
) -> State:
    """
    A service is registered on the agent that the programs use, and passes its checks.

    name
        What the state is called.
    agent
        ``{"address": ..., "port": ...}`` of that agent.
    service
        ``{"id": ..., "name": ...}``.
    unit
        Whose journal explains a failure.
    timeout
        Seconds.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{service['id']} passes"}

    port = service["id"].rpartition("_")[2]

    def look(seconds: float) -> str:
        state = __salt__["metis_consul.wait_for_service"](agent, service, seconds)
        where = f"on the agent {agent['address']}:{agent['port']}"
        if state == "passing":
            return ""
        # A program registers the first address that its host has, which may be of another network.
        instead = [
            other
            for other in __salt__["metis_consul.services"](agent)
            if other != service["id"] and re.fullmatch(f"{service['name']}_.+_{port}", other)
        ]
        there = f"; registered are {', '.join(instead)}" if instead and state == "absent" else ""
        return f"{service['id']} is {state} {where}{there}"

    try:
        wrong = __salt__["metis_unit.wait"](unit, look, 0 if __opts__["test"] else timeout)
    except salt.exceptions.CommandExecutionError as err:
        wrong = str(err)
    if not wrong:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"would be waited for: {wrong}"}
    return _failed(ret, wrong, unit)


def _is_up(unit: str) -> bool:
    return bool(__salt__["metis_unit.facts"]([unit])[unit]["state"] == "active")


def service_absent(
    name: str, agent: dict[str, Any], unit: str | None = None, outlived: bool = False
) -> State:
    """
    A service is not registered on an agent, as when its program was stopped.

    A program that was killed leaves its registration behind. With consul stopped, nobody is told
    of a registration any more, until it is started and has it from its disk.

    name
        The service's id.
    agent
        ``{"address": ..., "port": ...}``.
    unit
        Of its program, where that is stopped before: it removes its registration itself.
    outlived
        Whether the program goes for good and the agent stays: then it has to run.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is not registered"}
    try:
        if not __salt__["metis_consul.listens"](agent):
            cause = "consul is stopped"
            if outlived:
                cause += (
                    f" at {agent['address']}:{agent['port']}, and may have {name} on its disk: "
                )
                cause += "start it first, with metis.start"
            return ret | {"result": not outlived, "comment": cause}
        state = __salt__["metis_consul.services"](agent).get(name)
        if state is None:
            return ret
        if __opts__["test"] and unit and _is_up(unit):
            return ret | {"comment": f"{unit} would remove it when it ends"}
        ret["changes"] = {name: {"old": state, "new": None}}
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"{name} would be deregistered"}
        __salt__["metis_consul.deregister"](agent, name)
    except salt.exceptions.CommandExecutionError as err:
        # Registrations outlive the agent's process on its disk: unreachable is not the same as
        # absent.
        return ret | {"result": None if __opts__["test"] else False, "comment": str(err)}
    return ret | {"comment": f"{name} was deregistered"}


def left(name: str, agent: dict[str, Any], timeout: float = 60) -> State:
    """
    A server has left its cluster, raft too, and has ended for it.

    A server that does not run leaves nothing by itself: the others have to expel it.

    name
        The server's unit.
    agent
        ``{"address": ..., "port": ...}`` of the server.
    timeout
        Seconds for it to end.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": f"{name} does not run"}
    try:
        if __salt__["metis_unit.facts"]([name])[name]["state"] not in ("active", "reloading"):
            return ret
        ret["changes"] = {"state": {"old": "active", "new": "left"}}
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"{name} would leave its cluster"}
        # Its unit starts it again whenever it ends, and then it would join again.
        __salt__["metis_unit.act"]("mask", [name])
        __salt__["metis_consul.leave"](agent)
        if not __salt__["metis_unit.wait_for_end"](name, timeout):
            cause = f"{name} has not ended {timeout:.0f} s after it was told to leave"
            return _failed(ret | {"changes": {}}, cause, name)
        __salt__["metis_unit.act"]("stop", [name])
        __salt__["metis_unit.act"]("unmask", [name])
    except salt.exceptions.CommandExecutionError as err:
        return _failed(ret | {"changes": {}}, str(err), name)
    return ret | {"comment": f"{name} has left its cluster"}
