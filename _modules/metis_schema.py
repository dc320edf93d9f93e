"""
The schema of a database that lives on from release to release: dumps, changes, and the way back.

The database says itself what it has been through, in its table ``metis_schema``: which changes were
made, which was begun, after which dump, and which release it was last brought to. So a dump that is
read back takes that along, and a change that was cut off is seen by whoever looks next.

MariaDB is asked as its root, on its own host.
"""

import os
import re
import time
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_schema"

_TABLE = "metis_schema"
# Stands beside the database while a dump is read back, and says which.
_RESTORING = "metis_restoring"
# Dumps of one database that are left; each upgrade makes one, and each rollback.
KEPT = 5
# A console's database is small; this only bounds a stuck one.
DUMP_TIMEOUT = 3600


def _ask(statement: str) -> str:
    return __salt__["metis_mysql.ask"](["--execute", statement])


def _quoted(text: str) -> str:
    # Names of releases, artifacts and dumps; whatever else is nobody's.
    if not re.fullmatch(r"[A-Za-z0-9_./+:-]*", text):
        raise salt.exceptions.CommandExecutionError(f"{text!r} is no name of a release or a file")
    return f"'{text}'"


def _table_of(database: str) -> str:
    return (
        f"CREATE TABLE IF NOT EXISTS `{database}`.`{_TABLE}` (kind VARCHAR(20) NOT NULL, "
        "name VARCHAR(200) NOT NULL, dump VARCHAR(500) NOT NULL, ended TINYINT NOT NULL, "
        "PRIMARY KEY (kind, name));\n"
    )


def _row(database: str, kind: str, name: str, dump: str = "", ended: bool = True) -> str:
    values = ", ".join([_quoted(kind), _quoted(name), _quoted(dump), str(int(ended))])
    return f"REPLACE INTO `{database}`.`{_TABLE}` VALUES ({values});\n"  # noqa: S608


def birth(database: str, release: str, changes: list[str]) -> str:
    """
    What makes a new database one that a release has: its schema has all changes in it.

    database
        Its name.
    release
        Whose schema it has.
    changes
        The names of the release's schema changes.

    Returns SQL statements.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.birth metis_admin 0.3.1 '[admin_sql_031]'
    """
    rows = [_row(database, "change", name) for name in changes]
    return "".join([_table_of(database), *rows, _row(database, "release", release)])


def seen(database: str) -> dict[str, Any] | None:
    """
    What a database has been through; ``None`` where there is none.

    database
        Its name.

    Returns ``{"release", "dump", "changes", "begun", "restoring"}``: the release that it was last
    brought to, or ``None``, and the dump from before; change to the dump from before it, of those
    that were made and of those that were begun only; the dump that is being read back, or ``None``.

    Raises ``CommandExecutionError`` where the server cannot be asked.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.seen metis_admin
    """
    databases = _ask("SHOW DATABASES").split()
    restoring = None
    if _RESTORING in databases:
        restoring = (
            _ask(
                f"SELECT TABLE_COMMENT FROM information_schema.TABLES "  # noqa: S608
                f"WHERE TABLE_SCHEMA = '{_RESTORING}'"
            ).strip()
            or None
        )
    if database not in databases and restoring is None:
        return None
    found: dict[str, Any] = {"release": None, "dump": "", "changes": {}, "begun": {}}
    found["restoring"] = restoring
    tables = _ask(f"SHOW TABLES FROM `{database}`").split() if database in databases else []
    if _TABLE not in tables:
        return found
    rows = _ask(f"SELECT kind, name, dump, ended FROM `{database}`.`{_TABLE}`")  # noqa: S608
    for line in rows.splitlines():
        kind, name, dump, ended = line.split("\t")
        if kind == "release":
            found |= {"release": name, "dump": dump}
        else:
            found["changes" if ended == "1" else "begun"][name] = dump
    return found


def _shell(what: str, script: str, *arguments: str) -> None:
    done = __salt__["cmd.run_all"](
        ["bash", "-c", f"set -o pipefail; {script}", "bash", *arguments],
        python_shell=False,
        umask="077",
        timeout=DUMP_TIMEOUT,
        ignore_retcode=True,
    )
    if done["retcode"]:
        said = done["stderr"] or done["stdout"] or f"exit code {done['retcode']}"
        raise salt.exceptions.CommandExecutionError(f"{what} failed: {said}")


def dump_command(database: str) -> list[str]:
    """
    What writes a whole database to its standard output, as it is at one moment.

    database
        Its name.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.dump_command metis_admin
    """
    return [
        *("mariadb-dump", "--single-transaction", "--routines", "--events", "--triggers"),
        *("--add-drop-database", "--databases", database),
    ]


def dump(database: str, into: str, release: str) -> str:
    """
    Write down a whole database, as it is at one moment; older dumps beyond the last five go.

    database
        Its name.
    into
        The absolute path of a folder; made where it is missing, for root alone.
    release
        Which release used it, for the file's name.

    Returns the file, ``<database>-<release>-<UTC>.sql.gz``.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.dump metis_admin /var/lib/metis/admin/backups 0.3.0
    """
    folder = Path(into)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        file = folder / f"{database}-{release}-{moment}.sql.gz"
        part = folder / f".{file.name}.part"
        _shell(
            f"dumping {database}",
            'file=$1; shift; "$@" | gzip > "$file" && sync "$file"',
            str(part),
            *dump_command(database),
        )
        os.replace(part, file)
        dumps = sorted(folder.glob(f"{database}-*.sql.gz"), key=lambda path: path.stat().st_mtime)
        for old in dumps[:-KEPT]:
            old.unlink()
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{folder}: {err.strerror}") from err
    return str(file)


def restore(database: str, file: str) -> None:
    """
    Make a database what a dump says. What was written since is lost. One that is cut off is made
    again by whoever looks next (``advance``, ``retreat``).

    database
        Its name.
    file
        The absolute path of a dump.

    Raises ``CommandExecutionError`` where the dump cannot be read back.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.restore metis_admin /var/lib/metis/admin/backups/....sql.gz
    """
    if not os.path.isfile(file):
        raise salt.exceptions.CommandExecutionError(f"the dump {file} is not there")
    _ask(
        f"CREATE DATABASE IF NOT EXISTS {_RESTORING}; CREATE TABLE IF NOT EXISTS "
        f"{_RESTORING}.dump (nothing INT) COMMENT {_quoted(file)}"
    )
    _shell(f"restoring {database} from {file}", 'gunzip --to-stdout "$1" | mysql --batch', file)
    _ask(f"DROP DATABASE {_RESTORING}")


def _whole(database: str) -> dict[str, Any] | None:
    """The database as seen, after what was cut off has been undone."""
    known = seen(database)
    if known and known["restoring"]:
        restore(database, known["restoring"])
        known = seen(database)
    if known and known["begun"]:
        restore(database, next(iter(known["begun"].values())))
        known = seen(database)
    return known


def advance(database: str, release: str, changes: list[dict[str, str]], backups: str) -> str:
    """
    Bring a database to a release: dump it, and make the changes that it does not have yet, each
    once. Where one fails, the database is made what it was.

    database
        Its name. Nobody else may write to it meanwhile.
    release
        The release.
    changes
        Its schema changes in their order, ``{"name", "file"}`` each.
    backups
        The absolute path of the folder for dumps.

    Returns the dump.

    Raises ``CommandExecutionError`` where it is not brought there.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.advance metis_admin 0.3.1 '[{name: a, file: /opt/a.sql}]' /root
    """
    known = _whole(database)
    if known is None:
        raise salt.exceptions.CommandExecutionError(f"there is no database {database}")
    file = dump(database, backups, known["release"] or "unknown")
    pending = [change for change in changes if change["name"] not in known["changes"]]
    begun = [_row(database, "change", change["name"], file, ended=False) for change in pending]
    _ask(_table_of(database) + "".join(begun))
    for change in pending:
        try:
            with open(change["file"], encoding="utf-8") as stream:
                __salt__["metis_mysql.ask"](["--database", database], stream.read(), DUMP_TIMEOUT)
        except (OSError, UnicodeDecodeError, salt.exceptions.CommandExecutionError) as err:
            restore(database, file)
            raise salt.exceptions.CommandExecutionError(
                f"the schema change {change['name']} ({change['file']}) failed: {err}\n"
                f"{database} is what it was before, from {file}"
            ) from err
    # At once: a change that has ended, of a release that was not reached, would never be undone.
    _ask(_release(database, release, file, [change["name"] for change in pending]))
    return file


def _release(database: str, release: str, dumped: str, made: list[str]) -> str:
    ended = "".join(_row(database, "change", name, dumped) for name in made)
    forget = f"DELETE FROM `{database}`.`{_TABLE}` WHERE kind = 'release';\n"  # noqa: S608
    row = _row(database, "release", release, dumped)
    return f"START TRANSACTION;\n{ended}{forget}{row}COMMIT"


def retreat(database: str, release: str, back_to: str, unit: str, **kwargs: Any) -> str:
    """
    Undo what ``advance`` did for a release whose program does not run: the dump from before is read
    back where the schema was changed. Where it was not, the data stays as it is.

    database
        Its name.
    release
        The release that it was brought to.
    back_to
        The one that it shall be of.
    unit
        Of the program that uses it: it is stopped before anything is undone.

    Returns the dump that was read back, or ``""``.

    Raises ``CommandExecutionError`` where it could not be.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_schema.retreat metis_admin 0.3.1 0.3.0 metis-admin.service
    """
    __salt__["metis_host.alone"]("metis_schema.retreat", kwargs.get("__pub_jid"))
    known = seen(database)
    if known is None:
        return ""
    unfinished = known["restoring"] or next(iter(known["begun"].values()), "")
    if not unfinished and known["release"] != release:
        return ""
    __salt__["metis_unit.act"]("stop", [unit])
    if unfinished:
        _whole(database)
        return unfinished
    if known["dump"] and known["dump"] in known["changes"].values():
        restore(database, known["dump"])
        return known["dump"]
    _ask(_release(database, back_to, known["dump"], []))
    return ""
