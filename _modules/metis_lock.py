"""
One verb at a time for an organization: a lock on the master that the kernel lets go of when its
process ends, however it ends.

One file an organization, ``<pki_dir>/metis/locks/<org>``, which says whose it is; of a run that
came to its end nothing is left in it.

Runs on the master.
"""

import fcntl
import json
import os
import time
from pathlib import Path
from typing import Any

__virtualname__ = "metis_lock"

Holder = dict[str, Any]

# Who only looks has a lock for a moment.
_LOOKS, _PAUSE = 3, 0.05


def _file(org: str) -> Path:
    folder: Path = __salt__["metis_secrets.folder"]("locks")
    return folder / org


def _read(file: int) -> Holder | None:
    try:
        found: Holder = json.loads(os.pread(file, 4096, 0))
    except ValueError:
        # Nothing, or half of it: the process was killed while it wrote.
        return None
    return found


def _is_in_place(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _opened(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    owner = path.parent.stat()
    os.fchown(file, owner.st_uid, owner.st_gid)
    return file


def _lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def take(org: str, holder: Holder) -> dict[str, Any]:
    """
    Take an organization's lock, and keep it until this process ends or ``release``.

    org
        The organization.
    holder
        ``run``, ``verb``, ``user``, ``pid`` and ``begun`` (seconds of the epoch).

    Returns ``{"file": ..., "held": ..., "before": ...}``: the open file, or ``None`` where another
    process has it; the holder then; and the holder before who ended without ``release``.
    """
    path = _file(org)
    file = _opened(path)
    looks = 0
    # It may be removed by `forget` between the two.
    while not (locked := _lock(file)) or not _is_in_place(file, path):
        looks += not locked
        if looks == _LOOKS:
            held = _read(file) or {}
            os.close(file)
            return {"file": None, "held": held, "before": None}
        os.close(file)
        time.sleep(_PAUSE)
        file = _opened(path)
    before = _read(file)
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(holder).encode(), 0)
    return {"file": file, "held": None, "before": before}


def is_ours(org: str, file: int) -> bool:
    """
    Whether a lock that was taken is still the organization's, and nobody has made it be forgotten.

    org
        The organization.
    file
        As ``take`` returned it.
    """
    return _is_in_place(file, _file(org))


def release(file: int) -> None:
    """
    Let go of a lock, as a run that came to its end.

    file
        As ``take`` returned it.
    """
    os.ftruncate(file, 0)
    os.close(file)


def holder(org: str) -> Holder | None:
    """
    Who has an organization's lock; ``None`` where nobody has.

    org
        The organization.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_lock.holder acme
    """
    try:
        # It is looked at also where nothing can be written.
        file = os.open(_file(org), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _lock(file) else _read(file) or {}
    finally:
        os.close(file)


def forget(org: str) -> None:
    """
    Let the next verb take an organization's lock although a process has it; that process ends at
    its next phase.

    org
        The organization.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_lock.forget acme
    """
    _file(org).unlink(missing_ok=True)
