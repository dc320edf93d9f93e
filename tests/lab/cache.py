"""What is built once and kept: entries named by a hash of their recipe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab import mounts
from tests.lab.errors import LabError
from tests.lab.progress import Progress

ROOT = Path("/var/cache/metis-lab")
LOGS = ROOT / "logs"
_STAMP = ".complete"


def recipe(*parts: str | bytes) -> str:
    """A short hash of everything that an entry is made from."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()[:16]


@contextmanager
def locked(path: Path, busy: str | None = None) -> Iterator[None]:
    """Hold a lock file.

    Args:
        path: the lock file; made when missing.
        busy: what to say when another process holds it; None waits for it instead.

    Raises:
        LabError: another process holds it and `busy` was given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
        except BlockingIOError as error:
            holder = os.read(descriptor, 100).decode().strip() or "unknown"
            raise LabError(f"{busy} (process {holder}); try again when it has ended") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def entry(
    kind: str, key: str, build: Callable[[Path, Path], None], progress: Progress, root: Path = ROOT
) -> Path:
    """The folder of a cache entry, built first when it is not there.

    It is built at its final place, as virtual environments hold their own path, and counts
    only with a stamp that is written last: a build that was interrupted is thrown away.

    Args:
        kind: what it is, also its folder's name.
        key: the hash of its recipe.
        build: fills the folder; is given the folder and a log file.
        progress: where to say what is built.
        root: the cache.

    Returns:
        The folder, complete.

    Raises:
        LabError: the build failed.
    """
    folder = root / kind / key
    stamp = folder / _STAMP
    if stamp.exists():
        return folder
    with locked(root / "locks" / f"{kind}.lock"):
        if stamp.exists():
            return folder
        discard(folder)
        folder.mkdir(parents=True)
        log = root / "logs" / f"{kind}.log"
        log.parent.mkdir(exist_ok=True)
        log.write_text("", encoding="utf-8")
        with progress.step(kind.replace("-", " ")):
            build(folder, log)
        stamp.touch()
    return folder


def discard(folder: Path) -> None:
    """Remove a folder, and first whatever a killed build left mounted below it."""
    mounts.unmount_below(folder)
    if folder.exists():
        shutil.rmtree(folder)
