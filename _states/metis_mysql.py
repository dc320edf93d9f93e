"""
Accounts of MariaDB whose password stands in the pillar, and nowhere else.
"""

from typing import Any

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
    return __states__["mysql_user.present"](
        name,
        host=host,
        password=password,
        connection_user="root",
        connection_unix_socket=socket,
    )
