"""Taking a lab down, whatever state it is in."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

from tests.lab import cache, cgroups, network, record
from tests.lab.host import RUN, STATE, Host

_CONTAINERS = Path("/run/systemd/nspawn/propagate")


def exclusive(lab: str) -> AbstractContextManager[None]:
    """Hold the right to change a lab.

    Raises:
        LabError: another process is changing it.
    """
    return cache.locked(RUN / f"{lab}.lock", f"another command is working on lab {lab}")


def clear(lab: str) -> None:
    """Remove everything of a lab, also what an interrupted command left; it may be nothing.

    The caller holds the lab's lock.

    Raises:
        LabError: something of it cannot be removed.
    """
    known = record.load(lab)
    with ThreadPoolExecutor() as pool:
        list(pool.map(Host.kill, known.hosts if known else ()))
    # Where a command was interrupted, more may run than was written down.
    cgroups.kill(lab)
    cgroups.remove(lab)
    network.remove(lab)
    for top in (STATE, RUN):
        cache.discard(top / lab)
    for folder in _CONTAINERS.glob(f"{lab}-*"):
        folder.rmdir()
    if STATE.exists() and not any(STATE.iterdir()):
        shutil.rmtree(STATE)
