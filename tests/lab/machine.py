"""What the machine must be and have before a lab can stand on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from pathlib import Path

from tests.lab import cache
from tests.lab.errors import LabError
from tests.lab.processes import run
from tests.lab.progress import Progress

CODENAME = "bookworm"
# Debian's own runs the lab and makes every virtual environment: hosts have the very same one.
PYTHON = "/usr/bin/python3"
PREFIX = "/usr"
TOOLS = (
    "apt-utils",
    "gcc",
    "gnupg",
    "iproute2",
    "mmdebstrap",
    "openssh-client",
    "openssl",
    "python3-dev",
    "python3-venv",
    "python3-yaml",
    "systemd-container",
)


def require() -> None:
    """Check what cannot be installed.

    Raises:
        LabError: not root, not Debian 12 on x86-64, or a kernel without overlays or cgroups.
    """
    if os.geteuid() != 0:
        raise LabError("the lab boots real hosts and must be run as root: sudo ./lab ...")
    release = platform.freedesktop_os_release()
    if (release.get("ID"), release.get("VERSION_CODENAME")) != ("debian", CODENAME):
        name = release.get("PRETTY_NAME", "another system")
        raise LabError(f"the lab needs Debian 12 ({CODENAME}); this machine runs {name}")
    if platform.machine() != "x86_64":
        raise LabError(f"the lab needs x86-64; this machine is {platform.machine()}")
    if "\toverlay" not in Path("/proc/filesystems").read_text(encoding="utf-8"):
        raise LabError("the kernel offers no overlay file system: modprobe overlay")
    if (
        not Path("/sys/fs/cgroup/cgroup.procs").exists()
        and not Path("/sys/fs/cgroup/systemd/cgroup.procs").exists()
    ):
        raise LabError(
            "no cgroups at /sys/fs/cgroup: mount -t cgroup2 cgroup2 /sys/fs/cgroup, "
            "or give this container access to them"
        )


def missing(packages: Iterable[str]) -> list[str]:
    """Which of the Debian packages are not installed."""
    wanted = sorted(set(packages))
    known = run(
        ["dpkg-query", "--show", "--showformat", "${binary:Package} ${db:Status-Status}\n"],
        "listing the installed packages",
        timeout=60,
    )
    installed = {
        line.split(" ")[0].split(":")[0]
        for line in known.splitlines()
        if line.endswith(" installed")
    }
    return [package for package in wanted if package not in installed]


def install(packages: Iterable[str], progress: Progress) -> None:
    """Install Debian packages that are missing.

    Raises:
        LabError: apt failed.
    """
    absent = missing(packages)
    if not absent:
        return
    cache.LOGS.mkdir(parents=True, exist_ok=True)
    log = cache.LOGS / "apt.log"
    apt = ["apt-get", "-q", "-y", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    with (
        cache.locked(cache.ROOT / "locks" / "apt.lock"),
        progress.step(f"installing {' '.join(absent)}"),
    ):
        log.write_text("", encoding="utf-8")
        run([*apt, "update"], "apt-get update", timeout=300, log=log, env=quiet)
        run(
            [*apt, "install", "--no-install-recommends", *absent],
            "apt-get install (is the Debian mirror of /etc/apt reachable?)",
            timeout=900,
            log=log,
            env=quiet,
        )


def mirror_lines(codename: str) -> list[str]:
    """The lines of sources.list for Debian's own suites, from the machine's configuration.

    Args:
        codename: of which Debian; every one stands on the mirrors of the machine's own.

    Raises:
        LabError: apt knows none.
    """
    listing = run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT) $(SIGNED_BY)",
            "Created-By: Packages",
        ],
        "reading apt's sources",
        timeout=60,
    )
    return mirrors_of(listing, codename)


def mirrors_of(listing: str, codename: str) -> list[str]:
    """Lines of sources.list from apt's index targets.

    Args:
        listing: lines of address, suite, component and key file.
        codename: of which Debian.

    Raises:
        LabError: none of them is Debian's main suite.
    """
    lines = []
    for target in listing.splitlines():
        address, suite, component, *signed = target.split(" ")
        own, dash, part = suite.partition("-")
        if own != CODENAME or part not in ("", "updates", "security") or component != "main":
            continue
        # apt leaves the word as it is where a source names no key.
        key = signed[0] if signed and signed[0].startswith("/") else ""
        option = f"[signed-by={key}] " if key else ""
        line = f"deb {option}{address} {codename}{dash}{part} {component}"
        if line not in lines:
            lines.append(line)
    if not any(f" {codename} " in line for line in lines):
        raise LabError(f"apt has no source for Debian {CODENAME}: see /etc/apt/sources.list")
    return lines
