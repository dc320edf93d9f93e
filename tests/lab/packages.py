"""The hosts' only source of Debian packages: a folder with what the roles install."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from tests.lab import base, cache, machine, mounts
from tests.lab.processes import run
from tests.lab.progress import Progress
from tests.lab.systems import System

# What pkg.installed may ask for in a host, each with everything it depends on.
PACKAGES = (
    "default-jre-headless",
    "gnupg",
    "mariadb-client",
    "mariadb-server",
    "nginx-light",
    "openssl",
    "python3-venv",
    "python3-zeroc-ice",
    "unzip",
    "xz-utils",
    "zeroc-glacier2",
    "zeroc-icegrid",
)
_FOLDER = "srv/packages"
_SOURCE = f"deb [trusted=yes] file:/{_FOLDER} ./\n"


_SALT = """\
Package: salt-minion
Version: {version}
Architecture: amd64
Depends: python3 (>= {python}), python3 (<< {python}.99)
Maintainer: the lab
Description: Salt's minion, as the lab runs it
"""
# Salt's own packages start their service too.
_SALT_STARTED = """\
#!/bin/sh
systemctl enable --now salt-minion.service
"""


def layer(system: System, image: Path, salt: Path, progress: Progress) -> Path:
    """A layer over the base image with the package repository and apt's lists of it.

    Args:
        system: what the base image is of.
        image: the base image.
        salt: Salt's environment, which a bare host gets as a package.
        progress: where to say what is built.

    Raises:
        LabError: it could not be built.
    """
    # What is already in the base image is left out, so another base means another repository.
    key = cache.recipe(Path(__file__).read_bytes(), str(image), str(salt))

    def build(folder: Path, log: Path) -> None:
        top = folder / "layer"
        repository = top / _FOLDER
        repository.mkdir(parents=True)
        wanted = [*PACKAGES, *base.PACKAGES] if system.bare else PACKAGES
        _download(system, image, wanted, folder / "apt", repository, log)
        if system.bare:
            _pack_salt(system, salt, folder / "salt", repository, log)
        index = run(
            ["sh", "-c", 'cd "$1" && apt-ftparchive packages .', "sh", str(repository)],
            "apt-ftparchive",
            timeout=300,
        )
        (repository / "Packages").write_text(index, encoding="utf-8")
        (top / "etc/apt").mkdir(parents=True)
        (top / "etc/apt/sources.list").write_text(_SOURCE, encoding="utf-8")
        _read_lists(image, top, folder, log)

    return cache.entry(f"package-repository-{system.name}", key, build, progress) / "layer"


def _pack_salt(system: System, salt: Path, top: Path, repository: Path, log: Path) -> None:
    """The package `salt-minion`, as Salt's own repository has one."""
    shutil.copytree(salt, top / "opt/salt", symlinks=True)
    base.install_salt(top)
    version = next(salt.glob("lib/python*/site-packages/salt-*.dist-info")).name
    control = top / "DEBIAN"
    control.mkdir()
    text = _SALT.format(version=version.split("-")[1][: -len(".dist")], python=system.python)
    (control / "control").write_text(text, encoding="utf-8")
    started = control / "postinst"
    started.write_text(_SALT_STARTED, encoding="utf-8")
    started.chmod(0o755)
    # Compressing it would take longer than all the rest, and hosts read it from this machine.
    run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(top), str(repository)],
        "dpkg-deb",
        timeout=300,
        log=log,
    )
    shutil.rmtree(top)


def _download(
    system: System,
    image: Path,
    wanted: Sequence[str],
    state: Path,
    repository: Path,
    log: Path,
) -> None:
    archives = state / "cache/archives"
    for folder in (state / "state/lists/partial", archives / "partial", state / "none"):
        folder.mkdir(parents=True)
    sources = state / "sources.list"
    lines = machine.mirror_lines(system.codename)
    sources.write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",
        "Dir::Cache": str(state / "cache"),
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": str(state / "none"),
        "Dir::State": str(state / "state"),
        "Dir::State::status": str(image / "var/lib/dpkg/status"),
    }
    apt = ["apt-get", "-q", "-y"]
    for name, value in options.items():
        apt += ["-o", f"{name}={value}"]
    run([*apt, "update"], "apt-get update for the hosts' packages", timeout=300, log=log)
    run(
        [*apt, "install", "--no-install-recommends", "--download-only", *wanted],
        "downloading the hosts' packages (is the Debian mirror of /etc/apt reachable?)",
        timeout=900,
        log=log,
    )
    for package in archives.glob("*.deb"):
        package.rename(repository / package.name)
    cache.discard(state)


def _read_lists(image: Path, top: Path, folder: Path, log: Path) -> None:
    """Have the hosts' own apt read the repository once, so that no host has to."""
    upper, work, point = folder / "upper", folder / "work", folder / "point"
    mounts.overlay([top, image], upper, work, point)
    try:
        run(
            ["chroot", str(point), "apt-get", "-q", "update"],
            "apt-get update in the base image",
            timeout=120,
            log=log,
        )
    finally:
        mounts.unmount_below(point)
    run(["cp", "-a", f"{upper}/var", str(top)], "keeping apt's lists", timeout=60, log=log)
    for used in (upper, work, point):
        cache.discard(used)
