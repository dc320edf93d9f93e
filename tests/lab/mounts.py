"""Mounts: making them, and removing all below a folder."""

from __future__ import annotations

from pathlib import Path

from tests.lab.processes import run

_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


def mounted_below(folder: Path, table: str | None = None) -> list[str]:
    """The mount points at or below `folder`, the innermost first.

    Args:
        folder: where to look.
        table: the text of a mount table; /proc/self/mounts when None.
    """
    text = Path("/proc/self/mounts").read_text(encoding="utf-8") if table is None else table
    found = []
    for line in text.splitlines():
        point = line.split(" ")[1]
        for escape, character in _ESCAPES.items():
            point = point.replace(escape, character)
        if point == str(folder) or point.startswith(f"{folder}/"):
            found.append(point)
    # The table is in the order of mounting: what was mounted last goes first.
    return found[::-1]


def unmount_below(folder: Path) -> None:
    """Unmount everything at or below `folder`."""
    for point in mounted_below(folder):
        run(["umount", point], f"unmounting {point}", timeout=30)


def overlay(lower: list[Path], upper: Path, work: Path, point: Path) -> None:
    """Mount an overlay.

    Args:
        lower: the read-only layers, the uppermost first.
        upper: what changes.
        work: an empty folder on the file system of `upper`.
        point: where it is mounted.
    """
    for folder in (upper, work, point):
        folder.mkdir(parents=True, exist_ok=True)
    layers = ":".join(str(layer) for layer in lower)
    options = f"lowerdir={layers},upperdir={upper},workdir={work}"
    run(
        ["mount", "-t", "overlay", "overlay", "-o", options, str(point)],
        f"mounting an overlay at {point}",
        timeout=30,
    )
