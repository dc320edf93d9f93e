"""
What a dry run predicts, for the operator's eyes: differences of files, and units that would be
started, restarted or stopped.

Runs on the master; computes only.
"""

from typing import Any

__virtualname__ = "metis_predicted"

State = dict[str, Any]

# Salt's word for a difference that is not for everyone's eyes.
_HIDDEN = "<show_changes=False>"
# States of Salt that, in a dry run, name what they would change in their comment only.
_SILENT = ("service", "mysql_grants")
_OWNERSHIP = ("user", "group", "mode")


def complete(tag: str, state: State) -> State:
    """
    A state of a dry run with its changes, where Salt's own state leaves them out.

    tag
        Salt's tag of the state.
    state
        As a host returns it, of a dry run.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_predicted.complete 'service_|-x_|-x_|-dead' \
            '{result: null, changes: {}, comment: x would be killed}'
    """
    silent = tag.split("_|-")[0] in _SILENT and state["result"] is None and not state["changes"]
    return state | {"changes": {"told": state["comment"]}} if silent else state


def lines(tag: str, state: State) -> list[str]:
    """
    What one state would change.

    tag
        Salt's tag of the state.
    state
        As a host returns it, of a dry run.

    Returns lines: first what, then the difference where it is one of a file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_predicted.lines 'file_|-x_|-/etc/x_|-managed' \
            '{name: /etc/x, changes: {diff: "+a"}, comment: ""}'
    """
    module, changes, name = tag.split("_|-")[0], state["changes"], state.get("name", "")
    if module == "metis_unit":
        return [_unit(name, changes)]
    owned = [f"{key} {changes[key]}" for key in _OWNERSHIP if key in changes]
    if module != "file" or not (owned or "diff" in changes):
        return (str(state["comment"]) or name).splitlines()[:1]
    what = [name, *owned]
    if changes.get("diff") == _HIDDEN:
        what.append("its content would change, and is not shown")
    return [", ".join(what), *_difference(changes.get("diff", _HIDDEN))]


def _difference(diff: str) -> list[str]:
    if diff == _HIDDEN:
        return []
    # The name of the file is told already.
    return [line for line in diff.splitlines() if not line.startswith(("--- ", "+++ "))]


def _unit(name: str, changes: dict[str, Any]) -> str:
    if "restarted" in changes:
        return f"{name} would be restarted: {changes['restarted']['new']}"
    if "state" in changes:
        word = "started" if changes["state"]["new"] == "active" else "stopped"
        return f"{name} would be {word}"
    return f"{name} would be {'enabled' if 'enabled' in changes else 'masked'}"


def restarts_agent(states: dict[str, State]) -> bool:
    """
    Whether consul would be started or restarted on a host.

    states
        Tag to state, as a host returns them, of a dry run.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_predicted.restarts_agent '{}'
    """
    return any(
        tag.startswith("metis_unit_|-")
        and state.get("name") == "metis-consul.service"
        and bool({"restarted", "state"} & set(state["changes"]))
        for tag, state in states.items()
    )
