"""
A fighter's tasks have ended, before it is stopped for good.
"""

from typing import Any

__virtualname__ = "metis_tasks"

State = dict[str, Any]


def ended(name: str, timeout: float) -> State:
    """
    No task runs, or those that do had time to end. What becomes of them is for the operator too,
    whom the verb tells what this returns as ``told``.

    name
        The fighter's unit, with its suffix.
    timeout
        Seconds.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "no task runs"}
    count = len(__salt__["metis_tasks.running"](name))
    if not count:
        return ret
    ret["changes"] = {"tasks": {"old": count, "new": 0}}
    if __opts__["test"]:
        told = f"{name} runs {count} tasks, which would be given {timeout:.0f} s"
        return ret | {"result": None, "comment": told, "told": told}
    left = __salt__["metis_tasks.wait"](name, timeout)
    told = f"the tasks of {name} have ended"
    if left:
        told = f"{left} tasks of {name} ran still after {timeout:.0f} s, and end with it"
    return ret | {"comment": told, "told": told}
