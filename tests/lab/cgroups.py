"""Control groups: one for each host, so that everything a host started is found again."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.lab.errors import LabError
from tests.lab.processes import wait_for_end

_TOP = "metis-lab"


def hierarchies(mount: Path = Path("/sys/fs/cgroup")) -> list[Path]:
    """The cgroup trees that systemd lives in: one, or two where version 1 is mounted as well."""
    if (mount / "cgroup.procs").exists():
        return [mount]
    return [tree for tree in (mount / "systemd", mount / "unified") if tree.exists()]


def make(lab: str, host: str) -> list[Path]:
    """Make a host's group in every tree.

    Returns:
        The files that a process writes its id to, to belong to it.
    """
    folders = [tree / _TOP / lab / host for tree in hierarchies()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return [folder / "cgroup.procs" for folder in folders]


def processes(lab: str, host: str = "") -> list[int]:
    """The processes of a host, or of all hosts of a lab, in the order of the tree."""
    found: dict[int, None] = {}
    for tree in hierarchies():
        for file in sorted((tree / _TOP / lab / host).rglob("cgroup.procs")):
            found.update((int(line), None) for line in file.read_text().split())
    return [pid for pid in found if pid > 0]


def kill(lab: str, host: str = "") -> None:
    """End everything that runs in a host, or in all hosts of a lab, at once, and wait for it.

    Raises:
        LabError: something did not end.
    """
    for _ in range(3):
        # A process may be born while the list is read; the second look finds it.
        pids = processes(lab, host)
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        stuck = [pid for pid in pids if not wait_for_end(pid, timeout=20)]
        if stuck:
            raise LabError(f"processes of lab {lab} do not end: {' '.join(map(str, stuck))}")
        if not pids:
            return


def remove(lab: str) -> None:
    """Remove the empty groups of a lab."""
    for tree in hierarchies():
        top = tree / _TOP
        folders = [path for path in (top / lab).rglob("*") if path.is_dir()]
        for folder in [*sorted(folders, reverse=True), top / lab]:
            if folder.exists():
                folder.rmdir()
        if top.exists() and not any(path.is_dir() for path in top.iterdir()):
            top.rmdir()
