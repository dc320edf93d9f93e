"""
MariaDB on this host, asked as its root: by the local socket, without a password.

Salt's own ``mysql`` module splits an SQL file into statements itself, which a schema with events
and views does not survive; the server's client reads it as it is.
"""

import os

import salt.exceptions

__virtualname__ = "metis_mysql"

TIMEOUT = 60
IMPORT_TIMEOUT = 600
# Stands beside the database while its schema is read: an import that was cut off is seen.
_MARK = "metis_importing"
# Where Debian has its databases.
FOLDER = "/var/lib/mysql"


def ask(words: list[str], stdin: str | None = None, timeout: int = TIMEOUT) -> str:
    """
    Ask the server's client.

    words
        What the client is given; statements with ``--execute``, and never a password.
    stdin
        Statements, where they are many.
    timeout
        Seconds.

    Returns the rows, columns between tabs.

    Raises ``CommandExecutionError`` where the server cannot be asked, or says no.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.ask '[--execute, SHOW DATABASES]'
    """
    done = __salt__["cmd.run_all"](
        ["mariadb", "--batch", "--skip-column-names", *words],
        python_shell=False,
        stdin=stdin,
        timeout=timeout,
        ignore_retcode=True,
    )
    if done["retcode"]:
        raise salt.exceptions.CommandExecutionError(
            f"MariaDB cannot be asked: {done['stderr'] or done['stdout']}"
        )
    return done["stdout"]


def has_schema(database: str) -> bool:
    """
    Whether a database is there, and was created to its end.

    database
        Its name.

    Raises ``CommandExecutionError`` where the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.has_schema metis_admin
    """
    databases = ask(["--execute", "SHOW DATABASES"]).split()
    return database in databases and _MARK not in databases


def kept_schema(database: str) -> bool:
    """
    Whether a server that cannot be asked, such as one that is stopped, has a database on its disk
    that was created to its end.

    database
        Its name.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.kept_schema metis_admin
    """
    known = folders()
    return database in known and _MARK not in known


def create_schema(database: str, file: str, then: str = "") -> None:
    """
    Read a schema that makes a database, and drops it first where it is there.

    database
        Its name.
    file
        The absolute path of an SQL file.
    then
        Statements that are a part of it.

    Raises ``CommandExecutionError`` where the file or the server fails.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.create_schema metis_admin /opt/metis/admin/current/admin.sql
    """
    try:
        with open(file, encoding="utf-8") as stream:
            schema = stream.read()
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err
    ask(["--execute", f"CREATE DATABASE IF NOT EXISTS {_MARK}"])
    ask([], schema, IMPORT_TIMEOUT)
    if database not in ask(["--execute", "SHOW DATABASES"]).split():
        raise salt.exceptions.CommandExecutionError(f"{file} does not make a database {database}")
    if then:
        ask([], then)
    settle()


def settle() -> None:
    """
    Say that the database is whole, as after an import, or after a dump took its place.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.settle
    """
    ask(["--execute", f"DROP DATABASE IF EXISTS {_MARK}"])


def folder() -> str:
    """
    Where Debian has its databases.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.folder
    """
    return FOLDER


def folders() -> list[str]:
    """
    Every database, also of a server that does not run: each is a folder.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.folders
    """
    try:
        return sorted(entry.name for entry in os.scandir(FOLDER) if entry.is_dir())
    except FileNotFoundError:
        return []
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{FOLDER}: {err.strerror}") from err


def drop_account(name: str, host: str = "127.0.0.1") -> None:
    """
    Have an account be gone, with its rights.

    name
        The account.
    host
        From where it may log in.

    Raises ``CommandExecutionError`` where the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.drop_account metis_admin
    """
    ask(["--execute", f"DROP USER IF EXISTS '{name}'@'{host}'"])


def accounts(host: str = "127.0.0.1") -> list[str]:
    """
    Who may log in from a host; nobody where there is no server.

    host
        The host, as accounts say it.

    Raises ``CommandExecutionError`` where the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_mysql.accounts
    """
    if not folders():
        return []
    rows = ask(["--execute", "SELECT Host, User FROM mysql.user"])
    known = [line.split("\t") for line in rows.splitlines()]
    return sorted(user for where, user in known if where == host)
