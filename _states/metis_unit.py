"""
Units that run with what their files say now, and units that are stopped on purpose.

Salt's ``service.running`` restarts on a change that it sees in the same run. Here files are written
in one phase and units started in a later one, so whether a unit runs with its files is read from
when the process started and when the files last changed.
"""

from typing import Any

import salt.exceptions
import salt.utils.state

__virtualname__ = "metis_unit"

State = dict[str, Any]

# What may change of a file that stays as old as it is.
_OWNERSHIP = {"user", "group", "mode"}


def _stale(
    started: float,
    files: list[str],
    service: dict[str, Any] | None,
    agent: dict[str, Any] | None,
    not_before: float,
) -> str:
    """Why a program that runs must be started again, or ``""``."""
    if newer := __salt__["metis_unit.newer_files"](files, started):
        return "changed: " + ", ".join(newer)
    if started < not_before:
        return "it is older than the consul agent"
    if service and service["id"] not in __salt__["metis_consul.services"](agent):
        return "it is not registered"
    return ""


def running(
    name: str,
    files: list[str],
    service: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    not_before: float = 0.0,
) -> State:
    """
    A unit is enabled and runs with its files as they are now.

    A unit that was stopped on purpose (masked) is unmasked. A unit whose program runs but is no
    longer registered is restarted: programs register once, when they start (service-contract 0.6).

    name
        The unit, with its suffix.
    files
        Absolute paths of what the program reads when it starts.
    service
        ``{"id": ...}`` of what the program registers; nothing where it registers nothing.
    agent
        ``{"address": ..., "port": ...}`` of the consul agent where it registers.
    not_before
        Seconds of the epoch: a program that was started before is started again.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": f"{name} runs"}
    try:
        seen = __salt__["metis_unit.facts"]([name])[name]
        if seen["state"] == "absent" and not __opts__["test"]:
            return ret | {"result": False, "comment": f"systemd knows no {name}"}
        up = seen["state"] in ("active", "reloading")
        stale = _stale(seen["started"] or 0.0, files, service, agent, not_before) if up else ""
        if not up:
            ret["changes"]["state"] = {"old": seen["state"], "new": "active"}
        elif stale:
            ret["changes"]["restarted"] = {"old": None, "new": stale}
        if not seen["enabled"]:
            ret["changes"]["enabled"] = {"old": False, "new": True}
        if __opts__["test"]:
            if not ret["changes"]:
                return ret
            return ret | {"result": None, "comment": f"{name} would run with its files"}
        if seen["masked"]:
            __salt__["metis_unit.act"]("unmask", [name])
        if seen["masked"] or seen["needs_reload"]:
            __salt__["metis_unit.act"]("daemon-reload")
        if not ret["changes"]:
            return ret
        if not seen["enabled"]:
            __salt__["metis_unit.act"]("enable", [name])
        if not up or stale:
            __salt__["metis_unit.act"]("restart", [name])
    except salt.exceptions.CommandExecutionError as err:
        cause = __salt__["metis_unit.explain"](str(err), name)
        return ret | {"result": False, "changes": {}, "comment": cause}
    return ret | {"comment": f"{name} was started"}


def mod_watch(
    name: str,
    files: list[str],
    service: dict[str, Any] | None = None,
    agent: dict[str, Any] | None = None,
    not_before: float = 0.0,
    **kwargs: Any,
) -> State:
    """
    What a change of a watched file means for the unit that reads it.

    In a real run ``running`` has seen the change itself, from the file's time, and this finds
    nothing left to do. With ``test=True`` the file did not change, and only the watched states tell
    whether it would get another time.

    name, files, service, agent, not_before
        As for ``running``.
    kwargs
        Salt's own; ``__reqs__`` has the watched states.
    """
    if not __opts__["test"]:
        return running(name, files, service, agent, not_before)
    for low in kwargs["__reqs__"]["watch"]:
        told = __running__[salt.utils.state.gen_tag(low)]["changes"]
        found = [told]
        if (low["state"], low["fun"]) == ("metis_artifact", "present"):
            # It brings all that a release has, also what nobody reads at a start.
            found = [told[file] for file in told if f"{low['directory']}/{file}" in files]
        if any(change.keys() - _OWNERSHIP for change in found):
            why = "what it reads would change"
            changes = {"restarted": {"old": None, "new": why}}
            return {"name": name, "result": None, "changes": changes, "comment": f"{name}: {why}"}
    return running(name, files, service, agent, not_before)


def stopped(name: str) -> State:
    """
    A unit is stopped, and stays so over reboots and highstates until ``metis.start``.

    name
        The unit, with its suffix.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": f"{name} is stopped"}
    try:
        seen = __salt__["metis_unit.facts"]([name])[name]
        if seen["state"] == "absent":
            return ret | {"comment": f"{name} does not exist"}
        if seen["state"] not in ("inactive", "failed"):
            ret["changes"]["state"] = {"old": seen["state"], "new": "inactive"}
        if not seen["masked"]:
            ret["changes"]["masked"] = {"old": False, "new": True}
        if not ret["changes"]:
            return ret
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"{name} would be stopped"}
        # Masked first: a unit with Restart=always that exits just now would start again.
        __salt__["metis_unit.act"]("mask", [name])
        __salt__["metis_unit.act"]("stop", [name])
        # A program may end with an error when it is told to stop, as consul does.
        if __salt__["metis_unit.facts"]([name])[name]["state"] == "failed":
            __salt__["metis_unit.act"]("reset-failed", [name])
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "changes": {}, "comment": str(err)}
    return ret | {"comment": f"{name} was stopped"}


def dead(name: str) -> State:
    """
    A unit does not run, as before its file goes. It is not kept from running again.

    name
        The unit, with its suffix.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": f"{name} does not run"}
    try:
        state = __salt__["metis_unit.facts"]([name])[name]["state"]
        if state in ("absent", "inactive"):
            return ret
        ret["changes"]["state"] = {"old": state, "new": "inactive"}
        if __opts__["test"]:
            return ret | {"result": None, "comment": f"{name} would be stopped"}
        if state != "failed":
            __salt__["metis_unit.act"]("stop", [name])
        if __salt__["metis_unit.facts"]([name])[name]["state"] == "failed":
            __salt__["metis_unit.act"]("reset-failed", [name])
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "changes": {}, "comment": str(err)}
    return ret | {"comment": f"{name} was stopped"}


def reloaded(name: str) -> State:
    """
    systemd knows its units as their files say them now.

    name
        What the state is called.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "systemd knows its units"}
    if __opts__["test"]:
        return ret
    try:
        __salt__["metis_unit.act"]("daemon-reload")
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "comment": str(err)}
    return ret
