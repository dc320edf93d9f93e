"""Virtual environments from the lock files."""

from __future__ import annotations

from pathlib import Path

from tests.lab import cache, machine
from tests.lab.processes import run
from tests.lab.progress import Progress

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
