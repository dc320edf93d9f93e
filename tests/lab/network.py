"""A lab's own network: a namespace with one bridge in it."""

from __future__ import annotations

import os
from pathlib import Path

from tests.lab import mounts
from tests.lab.nodes import GATEWAY, NETWORK
from tests.lab.processes import run

BRIDGE = "br0"
_NAMESPACES = Path("/run/netns")


def path(lab: str) -> Path:
    """The file that stands for the lab's network namespace."""
    return _NAMESPACES / f"metis-{lab}"


def enter(lab: str, *argv: str) -> list[str]:
    """A command that runs another one in the lab's network.

    `ip netns exec` would mount another /sys, in which systemd-nspawn finds no cgroups.
    """
    return ["nsenter", f"--net={path(lab)}", "--", *argv]


def make(lab: str) -> None:
    """Make the namespace and its bridge; what stands already stays."""
    namespace = path(lab)
    if not namespace.exists():
        run(["ip", "netns", "add", namespace.name], "making a network namespace", timeout=30)
    links = run(enter(lab, "ip", "-brief", "link", "show"), "listing interfaces", timeout=30)
    if any(line.split()[0] == BRIDGE for line in links.splitlines()):
        return
    prefix = NETWORK.prefixlen
    commands = (
        "link set lo up\n"
        f"link add {BRIDGE} type bridge\n"
        f"address add {GATEWAY}/{prefix} dev {BRIDGE}\n"
        f"link set {BRIDGE} up\n"
    )
    run(enter(lab, "ip", "-batch", "-"), "making the lab's bridge", timeout=30, stdin=commands)


def inside(lab: str) -> bool:
    """Whether this process runs in the lab's network."""
    return path(lab).exists() and os.path.samefile(path(lab), "/proc/self/ns/net")


def remove(lab: str) -> None:
    """Remove the namespace with everything in it, unless this process lives there."""
    if path(lab).exists() and not inside(lab):
        run(["ip", "netns", "delete", path(lab).name], "removing a network namespace", timeout=30)
    # `ip netns` mounts that folder for its first namespace and leaves it so after the last.
    if _NAMESPACES.exists() and not any(_NAMESPACES.iterdir()):
        mounts.unmount_below(_NAMESPACES)
        _NAMESPACES.rmdir()
