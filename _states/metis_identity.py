"""
The identity of an organization in the network, noted while its database can be asked.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_identity"

State = dict[str, Any]


def noted(name: str, database: str) -> State:
    """
    It is noted which identity admin's database says, where MariaDB runs. Where that is not to be
    known, nothing is noted: what comes of it is for who asks then.

    name
        What the state is called.
    database
        Of admin.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "is noted"}
    if __opts__["test"]:
        return ret | {"comment": "is noted as MariaDB is stopped"}
    unknown = __salt__["metis_identity.note"](database)
    return ret | ({"comment": f"is not known: {unknown}"} if unknown else {})


def sealed(name: str) -> State:
    """
    What was noted counts until MariaDB runs again.

    name
        What the state is called.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "counts"}
    if __opts__["test"]:
        return ret
    try:
        __salt__["metis_identity.seal"]()
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "comment": str(err)}
    return ret
