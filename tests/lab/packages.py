"""The hosts' only source of Debian packages: a folder with what the roles install."""

from __future__ import annotations

from pathlib import Path

from tests.lab import cache, machine, mounts
from tests.lab.processes import run
from tests.lab.progress import Progress

# What pkg.installed may ask for in a host, each with everything it depends on.
PACKAGES = (
    "gnupg",
    "mariadb-client",
    "mariadb-server",
    "nginx-light",
    "openjdk-17-jre-headless",
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


def layer(base: Path, progress: Progress) -> Path:
    """A layer over the base image with the package repository and apt's lists of it.

    Args:
        base: the base image.
        progress: where to say what is built.

    Raises:
        LabError: it could not be built.
    """
    # What is already in the base image is left out, so another base means another repository.
    key = cache.recipe(Path(__file__).read_bytes(), str(base))

    def build(folder: Path, log: Path) -> None:
        top = folder / "layer"
        repository = top / _FOLDER
        repository.mkdir(parents=True)
        _download(base, folder / "apt", repository, log)
        index = run(
            ["sh", "-c", 'cd "$1" && apt-ftparchive packages .', "sh", str(repository)],
            "apt-ftparchive",
            timeout=300,
        )
        (repository / "Packages").write_text(index, encoding="utf-8")
        (top / "etc/apt").mkdir(parents=True)
        (top / "etc/apt/sources.list").write_text(_SOURCE, encoding="utf-8")
        _read_lists(base, top, folder, log)

    return cache.entry("package-repository", key, build, progress) / "layer"


def _download(base: Path, state: Path, repository: Path, log: Path) -> None:
    archives = state / "cache/archives"
    for folder in (state / "state/lists/partial", archives / "partial", state / "none"):
        folder.mkdir(parents=True)
    sources = state / "sources.list"
    sources.write_text("\n".join(machine.mirror_lines()) + "\n", encoding="utf-8")
    options = {
        "Acquire::Retries": "3",
        "APT::Sandbox::User": "root",
        "Dir::Cache": str(state / "cache"),
        "Dir::Etc::sourcelist": str(sources),
        "Dir::Etc::sourceparts": str(state / "none"),
        "Dir::State": str(state / "state"),
        "Dir::State::status": str(base / "var/lib/dpkg/status"),
    }
    apt = ["apt-get", "-q", "-y"]
    for name, value in options.items():
        apt += ["-o", f"{name}={value}"]
    run([*apt, "update"], "apt-get update for the hosts' packages", timeout=300, log=log)
    run(
        [*apt, "install", "--no-install-recommends", "--download-only", *PACKAGES],
        "downloading the hosts' packages (is the Debian mirror of /etc/apt reachable?)",
        timeout=900,
        log=log,
    )
    for package in archives.glob("*.deb"):
        package.rename(repository / package.name)
    cache.discard(state)


def _read_lists(base: Path, top: Path, folder: Path, log: Path) -> None:
    """Have the hosts' own apt read the repository once, so that no host has to."""
    upper, work, point = folder / "upper", folder / "work", folder / "point"
    mounts.overlay([top, base], upper, work, point)
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
