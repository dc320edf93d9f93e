"""
The mark of the organization on what its states make, and what is without one.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_ownership"

State = dict[str, Any]


def marked(name: str) -> State:
    """
    Everything that this host's view claims is marked, before it is made.

    name
        What the state is called.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "everything is marked"}
    try:
        news = __salt__["metis_ownership.mark"](__pillar__["metis"], __opts__["test"])
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "comment": str(err)}
    if not news:
        return ret
    ret["changes"] = {"marked": {"old": None, "new": sorted(set(news))}}
    word = "would be marked" if __opts__["test"] else "were marked"
    return ret | {"result": None if __opts__["test"] else True, "comment": f"{len(news)} {word}"}


def former_accounts_absent(name: str) -> State:
    """
    An account of MariaDB that carries the mark, and that this host's view has no more, is gone, and
    its mark too.

    name
        What the state is called.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "there is none"}
    view = __pillar__["metis"]
    try:
        former = __salt__["metis_ownership.former_accounts"](view)
        if not former:
            return ret
        word = "would be gone" if __opts__["test"] else "gone"
        ret |= {"comment": f"{', '.join(former)} {word}"}
        if not __opts__["test"]:
            for account in former:
                __salt__["metis_mysql.drop_account"](account)
            __salt__["metis_ownership.forget_former_accounts"](view)
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "comment": str(err)}
    ret["changes"] = {account: {"old": "there", "new": None} for account in former}
    return ret | {"result": None if __opts__["test"] else True}


def released(name: str, leaving: dict[str, Any]) -> State:
    """
    What has gone carries no mark, and no empty folder of the organization's is left. Where
    something that should have gone is there, everything keeps its mark.

    name
        What the state is called.
    leaving
        Who leaves, and what is kept, as for ``metis_absence.going``.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "nothing had to go"}
    try:
        done = __salt__["metis_absence.release"](__pillar__["metis"], leaving, __opts__["test"])
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "comment": str(err)}
    if not done["unmarked"] and not done["folders"]:
        return ret
    ret["changes"] = {"unmarked": {"old": done["unmarked"], "new": 0}}
    if done["folders"]:
        ret["changes"]["folders"] = {"old": done["folders"], "new": None}
    word = "would carry" if __opts__["test"] else "carry"
    comment = f"{done['unmarked']} {word} no mark any more"
    return ret | {"result": None if __opts__["test"] else True, "comment": comment}
