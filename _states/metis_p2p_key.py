"""
carrier's identity on its host.
"""

import os
from typing import Any

__virtualname__ = "metis_p2p_key"

State = dict[str, Any]


def present(name: str, user: str) -> State:
    """
    The p2p key is there. One that is there already is left as it is, whatever it holds: it is the
    node's identity, and carrier says itself when it cannot read it.

    name
        Its absolute path.
    user
        Who owns it.
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is there"}
    if os.path.exists(name):
        return __states__["file.managed"](name, replace=False, mode="0600", user=user, group=user)
    ret["changes"] = {name: {"old": None, "new": "a new key"}}
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{name} would be made"}
    try:
        __salt__["metis_p2p_key.generate"](name, user)
    except (OSError, KeyError) as err:
        return ret | {"result": False, "changes": {}, "comment": f"{name} was not made: {err}"}
    return ret | {"comment": f"{name} was made"}
