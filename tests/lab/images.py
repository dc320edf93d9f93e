"""Everything that is built before a host can boot, as much as possible at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab import base, cache, machine, packages, venv
from tests.lab.errors import LabError
from tests.lab.progress import Progress
from tests.lab.sandbox import build as sandbox
from tests.lab.sandbox.piece import BuildError


@dataclass(frozen=True)
class Images:
    """Where the built things are."""

    base: Path
    packages: Path
    salt: Path
    sandbox: Path


def prepare(progress: Progress, besides: Callable[[Progress], object] | None = None) -> Images:
    """Everything that hosts are made of, built where it is not in the cache.

    Args:
        progress: where to say what is built.
        besides: builds something else at the same time.

    Raises:
        LabError: something could not be built; what could is in the cache.
    """
    machine.require()
    machine.install(machine.TOOLS, progress)
    with ThreadPoolExecutor() as pool:
        salt = pool.submit(venv.salt, progress)
        release = pool.submit(_sandbox, progress)
        other = pool.submit(besides, progress) if besides else None
        image = base.image(progress)
        layer = packages.layer(image, progress)
        if other:
            other.result()
        return Images(image, layer, salt.result(), release.result())


def _sandbox(progress: Progress) -> Path:
    """The sandbox release, built when it is not in the cache."""

    def build(folder: Path, log: Path) -> None:
        machine.install(sandbox.APT_PACKAGES, progress)
        try:
            sandbox.build(folder / "release", progress=progress.say)
        except BuildError as error:
            raise LabError(str(error)) from error

    return cache.entry("sandbox-release", sandbox.recipe_hash()[:16], build, progress) / "release"
