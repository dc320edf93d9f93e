"""
Secrets that the operator did not give: made once on the master, and kept there.

One file an organization, ``<pki_dir>/metis/<org>.yaml``, mode 0600: among Salt's keys, where the
master's user may write whoever that is, and backed up with them.
"""

import copy
import fcntl
import os
import secrets
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.exceptions
import salt.utils.yaml

__virtualname__ = "metis_secrets"


def folder(below: str = "") -> Path:
    """
    The folder among Salt's keys for what is kept; made where it is not there.

    below
        A folder in it, for what is kept in the same way and is no secret.
    """
    pki = Path(__opts__["pki_dir"])
    # salt-run is root, the master may be the user `salt`: both must read what one wrote.
    owner = pki.stat()
    for directory in (pki / "metis", pki / "metis" / below):
        directory.mkdir(mode=0o700, exist_ok=True)
        if directory.stat().st_uid != owner.st_uid:
            os.chown(directory, owner.st_uid, owner.st_gid)
    return directory


def read(org: str, below: str = "") -> dict[str, Any]:
    """
    What is kept of an organization, as it is; nothing where nothing is kept.

    org
        The organization.
    below
        As for ``edit``.

    Raises ``CommandExecutionError`` where that cannot be read, or is not what was written.
    """
    # Replaced at once when it changes, so reading needs no lock.
    path = Path(__opts__["pki_dir"], "metis", below, f"{org}.yaml")
    try:
        known = salt.utils.yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as err:
        why = __salt__["metis_access.cause"](err)
        raise salt.exceptions.CommandExecutionError(f"{path} cannot be read: {why}") from err
    except (salt.utils.yaml.YAMLError, ValueError):
        # What stands there may be a password, and YAML's error shows it.
        known = None
    if not isinstance(known, dict):
        raise salt.exceptions.CommandExecutionError(f"{path} is damaged")
    return known


def edit(org: str, change: Callable[[dict[str, Any]], Any], below: str = "") -> Any:
    """
    Read what is kept of an organization, alter it, and keep what was altered; one at a time.

    org
        The organization.
    change
        Is given all that is kept, alters it where it has to, and returns what the caller wants.
    below
        A folder beside the secrets, for what is kept in the same way and is none.

    Returns what ``change`` returns.
    """
    directory = folder(below)
    path = directory / f"{org}.yaml"
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = read(org, below)
        before = copy.deepcopy(known)
        found = change(known)
        if known != before:
            owner = directory.stat()
            with tempfile.NamedTemporaryFile("w", dir=directory, delete=False) as new:
                new.write(salt.utils.yaml.safe_dump(known, default_flow_style=False))
                os.fchown(new.fileno(), owner.st_uid, owner.st_gid)
                new.flush()
                os.fsync(new.fileno())
            os.replace(new.name, path)
    finally:
        os.close(lock)
    return found


def forget(org: str, below: str = "") -> None:
    """
    Forget all that is kept of an organization.

    org
        The organization.
    below
        As for ``edit``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_secrets.forget acme
    """
    directory = folder(below)
    path = directory / f"{org}.yaml"
    lock = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path.unlink(missing_ok=True)
    finally:
        os.close(lock)


def kept(org: str, names: list[str]) -> dict[str, str]:
    """
    The secrets of an organization; those that do not exist yet are made.

    org
        The organization.
    names
        Which secrets.

    Returns name to secret: 32 characters of letters, digits, ``-`` and ``_``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_secrets.kept acme '[mysql_password]'
    """

    def change(known: dict[str, Any]) -> dict[str, str]:
        return {name: known.setdefault(name, secrets.token_urlsafe(24)) for name in names}

    return edit(org, change)
