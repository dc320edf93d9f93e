"""
Whether the organization has an identity in the network, as admin's database says it.

`metis.stop` stops MariaDB too, and then nobody can ask it. So it is noted before, and the note
counts for as long as no file of MariaDB's changes: then MariaDB has not run since.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_identity"

# Beside the mark of the organization (``metis_ownership``), with which it goes.
NOTE = "/var/lib/metis-ownership/identity.json"
SERVICE = "mariadb.service"


def _ask(database: str) -> list[str]:
    """The names of identities that are in the network: 1 is joined, 0 not yet, 99 left."""
    if database not in __salt__["metis_mysql.folders"]():
        return []
    asked = "SELECT identity_id FROM local_org WHERE status = 1"
    found: str = __salt__["metis_mysql.ask"](["--database", database, "--execute", asked])
    return found.split()


def _fingerprint() -> str:
    """Which files MariaDB has, and when it wrote them: it writes some whenever it runs."""
    digest = hashlib.sha256()
    with os.scandir(__salt__["metis_mysql.folder"]()) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            seen = entry.stat(follow_symlinks=False)
            digest.update(f"{entry.name} {seen.st_size} {seen.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _keep(note: dict[str, Any]) -> None:
    folder = Path(NOTE).parent
    folder.mkdir(mode=0o700, exist_ok=True)
    part = Path(f"{NOTE}.new")
    part.write_text(json.dumps(note), "utf-8")
    os.replace(part, NOTE)


def _read() -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(Path(NOTE).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found


def _runs() -> bool:
    state: str = __salt__["metis_unit.facts"]([SERVICE])[SERVICE]["state"]
    return state == "active"


def note(database: str) -> str:
    """
    Note the identity, where MariaDB runs. What was noted before is forgotten.

    database
        Of admin.

    Returns why it is not known, or ``""``.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_identity.note metis_admin
    """
    if not _runs():
        return ""
    try:
        Path(NOTE).unlink(missing_ok=True)
        _keep({"database": database, "joined": _ask(database)})
    except OSError as err:
        return f"{NOTE}: {err.strerror}"
    except salt.exceptions.CommandExecutionError as err:
        return str(err)
    return ""


def seal() -> None:
    """
    Have what was noted count for as long as MariaDB does not run: it has just been stopped.

    Raises ``CommandExecutionError`` where that cannot be written.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_identity.seal
    """
    found = _read()
    if found:
        try:
            _keep(found | {"seal": _fingerprint()})
        except OSError as err:
            raise salt.exceptions.CommandExecutionError(f"{NOTE}: {err.strerror}") from err


def known(database: str) -> dict[str, Any]:
    """
    The identity of the organization, as far as it is known now.

    database
        Of admin.

    Returns ``{"joined": [...], "unknown": ...}``: identities in the network, and why it is not
    known which, or ``""``.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_identity.known metis_admin
    """
    try:
        if _runs() or database not in __salt__["metis_mysql.folders"]():
            return {"joined": _ask(database), "unknown": ""}
        found = _read()
        if found.get("database") == database and found.get("seal") == _fingerprint():
            return {"joined": found["joined"], "unknown": ""}
    except (OSError, salt.exceptions.CommandExecutionError) as err:
        return {"joined": [], "unknown": str(err)}
    why = (
        "MariaDB is stopped, and metis.stop did not note it before: run metis.start and metis.stop"
    )
    return {"joined": [], "unknown": why}
