"""Virtual environments from the lock files."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from tests.lab import cache, machine, mounts
from tests.lab.processes import run
from tests.lab.progress import Progress
from tests.lab.systems import System

REPOSITORY = Path(__file__).resolve().parents[2]


_SITE = "lib/python3.11/site-packages"


def salt(progress: Progress) -> Path:
    """The environment of Salt, which the hosts run, built when it is not in the cache.

    Args:
        progress: where to say what is built.

    Returns:
        Its folder.

    Raises:
        LabError: it could not be built.
    """
    return _environment("salt", None, progress)


def tests(progress: Progress) -> Path:
    """The environment of the tests and linters, built when it is not in the cache.

    It sees Salt's environment and has only what that lacks: Salt is built from source, which
    takes longer than all the rest.

    Args:
        progress: where to say what is built.

    Returns:
        Its folder.

    Raises:
        LabError: it could not be built.
    """
    return _environment("test", salt(progress), progress)


def salt_inside(system: System, image: Path, salt: Path, progress: Progress) -> Path:
    """The environment of Salt for another Debian than the machine's, built when it is not in the
    cache.

    Args:
        system: the Debian.
        image: a root file system of it, in which it is built.
        salt: the machine's own environment of Salt, whose pip knows the package index.
        progress: where to say what is built.

    Returns:
        Its folder, which hosts have as /opt/salt.

    Raises:
        LabError: it could not be built.
    """
    lock = REPOSITORY / "requirements/salt.txt"

    def build(folder: Path, log: Path) -> None:
        upper, point = folder / "upper", folder / "point"
        mounts.overlay([image], upper, folder / "work", point)
        try:
            _build_inside(system, point, lock, salt, log)
        finally:
            mounts.unmount_below(point)
        shutil.move(upper / "opt/salt", folder / "salt")
        for used in (upper, folder / "work", point):
            cache.discard(used)

    key = cache.recipe(lock.read_bytes(), Path(__file__).read_bytes(), str(image))
    return cache.entry(f"salt-environment-{system.codename}", key, build, progress) / "salt"


def _build_inside(system: System, root: Path, lock: Path, salt: Path, log: Path) -> None:
    # What is Debian's own is signed by a key that the root file system has.
    lines = [
        f"deb {line.rpartition('] ')[2].removeprefix('deb ')}"
        for line in machine.mirror_lines(system.codename)
    ]
    (root / "etc/apt/sources.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for file in ("etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt"):
        shutil.copyfile(Path("/") / file, root / file)
    shutil.copyfile(lock, root / "root/lock.txt")
    apt = ["chroot", str(root), "apt-get", "-q", "-y", "-o", "Acquire::Retries=3"]
    tools = ["gcc", "libc6-dev", "python3-dev", "python3-venv"]
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    run([*apt, "update"], f"apt-get update in {system.name}", timeout=300, log=log, env=quiet)
    what = f"installing Python in {system.name} (is the Debian mirror of /etc/apt reachable?)"
    install = [*apt, "install", "--no-install-recommends", *tools]
    run(install, what, timeout=900, log=log, env=quiet)
    pip = ["chroot", str(root), "/opt/salt/bin/python3", "-m", "pip", "install"]
    make = ["chroot", str(root), "python3", "-m", "venv", "/opt/salt"]
    run(make, f"python3 -m venv in {system.name}", timeout=120, log=log)
    run(
        [*pip, "--no-input", "--quiet", "--require-hashes", "--requirement", "/root/lock.txt"],
        f"pip install of {lock.name} in {system.name} (is the package index reachable?)",
        timeout=900,
        log=log,
        env=_index(salt),
    )


def _index(salt: Path) -> dict[str, str]:
    """What pip's own configuration says of the package index, as variables."""
    pip = [str(salt / "bin/python3"), "-m", "pip", "config", "list"]
    found = {}
    for line in run(pip, "pip config list", timeout=60).splitlines():
        name, _, value = line.partition("=")
        option = name.rpartition(".")[2]
        if option in ("index-url", "extra-index-url", "proxy", "trusted-host"):
            found[f"PIP_{option.upper().replace('-', '_')}"] = "".join(shlex.split(value))
    return found


def _environment(name: str, under: Path | None, progress: Progress) -> Path:
    lock = REPOSITORY / "requirements" / f"{name}.txt"
    version = run([machine.PYTHON, "-VV"], "asking Python for its version", timeout=30)

    def build(folder: Path, log: Path) -> None:
        run([machine.PYTHON, "-m", "venv", str(folder)], "python3 -m venv", timeout=120, log=log)
        if under:
            (folder / _SITE / "under.pth").write_text(f"{under / _SITE}\n", encoding="utf-8")
        pip = [str(folder / "bin/python3"), "-m", "pip", "install", "--no-input", "--quiet"]
        run(
            [*pip, "--require-hashes", "--requirement", str(lock)],
            f"pip install of requirements/{name}.txt (is the package index reachable?)",
            timeout=900,
            log=log,
        )

    key = cache.recipe(lock.read_bytes(), version, str(under))
    return cache.entry(f"{name}-environment", key, build, progress)
