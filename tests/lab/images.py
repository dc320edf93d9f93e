"""Everything that is built before a host can boot, as much as possible at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab import base, cache, machine, packages, systems, venv
from tests.lab.errors import LabError
from tests.lab.progress import Progress
from tests.lab.sandbox import build as sandbox
from tests.lab.sandbox.piece import BuildError
from tests.lab.systems import System


@dataclass(frozen=True)
class Images:
    """Where the built things are."""

    # Of each system, the layers of its hosts, the uppermost first.
    layers: dict[str, list[Path]]
    salt: Path
    sandbox: Path


def prepare(
    progress: Progress,
    wanted: Iterable[System] = (),
    besides: Callable[[Progress], object] | None = None,
) -> Images:
    """Everything that hosts are made of, built where it is not in the cache.

    Args:
        progress: where to say what is built.
        wanted: the systems of hosts, besides the master's.
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
        layers = {
            system.name: pool.submit(_layers, system, salt, progress)
            for system in {systems.DEFAULT, *wanted}
        }
        if other:
            other.result()
        built = {name: layer.result() for name, layer in layers.items()}
        return Images(built, salt.result(), release.result())


def _layers(system: System, salt: Future[Path], progress: Progress) -> list[Path]:
    image = base.image(system, progress)
    own = system.codename == machine.CODENAME
    environment = salt.result() if own else venv.salt_inside(system, image, salt.result(), progress)
    return [packages.layer(system, image, environment, progress), image]


def _sandbox(progress: Progress) -> Path:
    """The sandbox release, built when it is not in the cache."""

    def build(folder: Path, log: Path) -> None:
        machine.install(sandbox.APT_PACKAGES, progress)
        try:
            sandbox.build(folder / "release", progress=progress.say)
        except BuildError as error:
            raise LabError(str(error)) from error

    return cache.entry("sandbox-release", sandbox.recipe_hash()[:16], build, progress) / "release"
