"""
A database that is created once, and an account whose password stands in the pillar only.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_mysql"

State = dict[str, Any]


def account(name: str, host: str, password_pillar: str, socket: str) -> State:
    """
    An account exists and has the password that the pillar says.

    It is ``mysql_user.present`` with the password by reference: what stands in an SLS, Salt keeps
    in the minion's cache (``highstate.cache.p``).

    name
        The account.
    host
        From where it may log in.
    password_pillar
        Where in the pillar its password is, with colons.
    socket
        Of the server; the state logs in as root there.
    """
    if "mysql_user.present" not in __states__:
        comment = (
            "this minion's Python lacks saltext-mysql or PyMySQL: run salt-pip install with the "
            "versions of requirements/salt.txt, then systemctl restart salt-minion"
        )
        return {"name": name, "result": False, "changes": {}, "comment": comment}
    # Where an SLS is not being rendered, Salt 3008 hands out asterisks unless it is told not to.
    password = __salt__["pillar.get"](password_pillar, unmask=True)
    if not password:
        comment = f"the pillar has no {password_pillar}: an account without a password is not made"
        return {"name": name, "result": False, "changes": {}, "comment": comment}
    done: State = __states__["mysql_user.present"](
        name,
        host=host,
        password=password,
        connection_user="root",
        connection_unix_socket=socket,
    )
    if done["result"] is None:
        # Of a dry run, which names no changes.
        done["changes"] = {name: {"old": None, "new": done["comment"]}}
    return done


def schema_present(name: str, file: str, release: str, changes: list[str]) -> State:
    """
    A database is there, created from a schema, once: the schema begins with DROP DATABASE.

    name
        The database.
    file
        The absolute path of the schema, an SQL file.
    release
        Whose schema it is.
    changes
        The names of the schema changes that are in it already.
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": f"{name} is there"}
    created = {name: {"old": None, "new": "created"}}
    try:
        if __salt__["metis_mysql.has_schema"](name):
            return ret
        if __opts__["test"]:
            return ret | {"result": None, "changes": created, "comment": f"{name} would be created"}
        born = __salt__["metis_schema.birth"](name, release, changes)
        __salt__["metis_mysql.create_schema"](name, file, born)
    except salt.exceptions.CommandExecutionError as err:
        if __opts__["test"]:
            # As while it is stopped, and on a host that has never been deployed.
            new = {} if __salt__["metis_mysql.kept_schema"](name) else created
            return ret | {"result": None, "changes": new, "comment": f"not known: {err}"}
        return ret | {"result": False, "comment": str(err)}
    return ret | {"changes": created, "comment": f"{name} was created"}
