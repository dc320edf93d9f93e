"""
A database whose schema is that of a release.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_schema"

State = dict[str, Any]


def current(name: str, release: str, changes: list[dict[str, str]], backups: str) -> State:
    """
    A database was brought to a release: dumped, and changed as that release needs it. Nothing is
    done where it was.

    name
        The database.
    release
        The release.
    changes
        Its schema changes in their order: ``{"name": ..., "file": ...}`` each.
    backups
        The absolute path of the folder for dumps.

    .. code-block:: yaml

        The schema of admin is that of its release:
          metis_schema.current:
            - name: metis_admin
            - release: 0.3.1
            - changes: [{name: admin_sql_031, file: /opt/.../admin-0.3.1.sql}]
            - backups: /var/lib/metis/admin/backups
    """
    ret: State = {"name": name, "result": True, "changes": {}}
    ret["comment"] = f"the schema is that of {release}"
    try:
        known = __salt__["metis_schema.seen"](name)
        if known is None and __opts__["test"]:
            return ret | {"comment": f"{name} would be created as {release} has it"}
        if known:
            missing = [c["name"] for c in changes if c["name"] not in known["changes"]]
            unfinished = known["begun"] or known["restoring"]
            if known["release"] == release and not missing and not unfinished:
                return ret
            made = {"release": {"old": known["release"], "new": release}}
            made |= {change: {"old": None, "new": "made"} for change in missing}
            if __opts__["test"]:
                comment = f"{name} would be dumped, and brought to {release}"
                return ret | {"result": None, "changes": made, "comment": comment}
            ret["changes"] = made
        file = __salt__["metis_schema.advance"](name, release, changes, backups)
    except salt.exceptions.CommandExecutionError as err:
        if __opts__["test"]:
            # As on a host that has never been deployed.
            return ret | {"result": None, "comment": f"not known: {err}"}
        return ret | {"result": False, "changes": {}, "comment": str(err)}
    return ret | {"comment": f"{name} was brought to {release}; its dump from before is {file}"}
