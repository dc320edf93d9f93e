"""
The releases that a host has, and those that it needs no more.
"""

import os
import re
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_releases"


def _used(programs: Path, links: list[str]) -> set[str]:
    """The releases that links point to, or that processes run in."""
    inside = re.compile(re.escape(f"{programs}/releases/") + "([^/]+)")
    found = set()
    for link in [
        *links,
        *(f"{process}/{end}" for process in Path("/proc").glob("[0-9]*") for end in ("cwd", "exe")),
    ]:
        try:
            used = inside.match(os.readlink(link))
        except OSError:
            # A process that ended meanwhile, or a link that is not there yet.
            continue
        if used:
            found.add(used[1])
    return found


def prune(test: bool = False, seen: dict[str, Any] | None = None) -> list[str]:
    """
    Remove old releases from this host, beyond the number that its organization keeps. Never one
    that is deployed, that a link points to, or that a process runs.

    test
        Remove nothing.
    seen
        The host's view; asked of the master where not given.

    Returns the directories that were removed, or would be.

    Raises ``CommandExecutionError`` where this host has no view, or one cannot be removed.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_releases.prune test=True
    """
    seen = seen or __salt__["pillar.items"](unmask=True).get("metis")
    if not seen:
        raise salt.exceptions.CommandExecutionError("this host is of no valid organization file")
    gone = []
    for program in sorted({role["programs"] for role in seen["roles"].values()}):
        folder = Path(program, "releases")
        own = [role for role in seen["roles"].values() if role["programs"] == program]
        instances = [instance for role in own for instance in role["instances"]]
        needed = {instance["release"] for instance in instances}
        needed |= _used(Path(program), [instance["link"] for instance in instances])
        # Of the others, what can be gone back to stays before what is only young.
        before = {name for role in own for name in role["kept"]}
        there = [path for path in folder.glob("*") if path.name not in needed]
        there.sort(key=lambda path: (path.name in before, path.stat().st_mtime), reverse=True)
        gone += [str(path) for path in there[max(0, seen["releases_kept"] - len(needed)) :]]
    if not test:
        for path in gone:
            __salt__["file.remove"](path)
    return gone
