"""
What of a backup waits in the master's store for its host: sealed for that host alone, as the store
is served to all of them.

Runs on the master.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import salt.exceptions

__virtualname__ = "metis_backup_stage"


def stored(org: str, part: str = "") -> str:
    """
    Where a part is in the store.

    org
        The organization.
    part
        As ``metis_backup_host.parts`` calls it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_stage.stored acme p2p.key
    """
    # No release is called so: their names begin with a letter or a digit.
    return f"_restore/{org}/{part}"


def put(org: str, part: str, host: str, chunks: Iterator[bytes]) -> None:
    """
    Seal a part for a host.

    org
        The organization.
    part
        Which.
    host
        Its minion id; its key is accepted.
    chunks
        The content.

    Raises ``CommandExecutionError`` where the host's key is not known, or nothing can be written.
    """
    path = __salt__["metis_store.path"](stored(org, part))
    try:
        public = Path(__opts__["pki_dir"], "minions", host).read_text("ascii")
        __salt__["metis_store.make_folder"](path)
        with open(path, "w", encoding="ascii") as sealed:
            for line in __salt__["metis_sealed.lines"](public, chunks):
                sealed.write(f"{line}\n")
            os.fchmod(sealed.fileno(), 0o644)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{err.filename}: {err.strerror}") from err


def clear(org: str) -> None:
    """
    Remove what waits for the hosts of an organization.

    org
        The organization.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_stage.clear acme
    """
    folder = Path(__salt__["metis_store.path"](stored(org)))
    shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():
        raise salt.exceptions.CommandExecutionError(f"{folder} cannot be removed")
    # Unless another organization has something there.
    with contextlib.suppress(OSError):
        folder.parent.rmdir()
