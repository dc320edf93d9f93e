"""A piece of the release: built from its inputs, kept by their hash, never built twice."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
REQUIREMENTS = HERE.parents[2] / "requirements"
VERSION = "0.3.0"
SECOND_VERSION = "0.3.1"
# Every archive carries this moment, so that the same input gives the same bytes.
EPOCH = 1640995200
PYTHON = "/usr/bin/python3"
_STEP_TIMEOUT = 900
_TAIL = 25


class BuildError(Exception):
    """A piece could not be built; the text says which step failed, how, and what to do."""


def run(what: str, command: Sequence[object], environment: Mapping[str, str] | None = None) -> str:
    """Run one step of a build.

    Args:
        what: names the step in an error.
        command: the program and its arguments, made text by `str`.
        environment: variables to set besides the inherited ones.

    Returns:
        Its standard output.

    Raises:
        BuildError: it failed or took too long; with the last lines of its output.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_STEP_TIMEOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise BuildError(
            f"{what}: {command[0]} is missing; install the packages in APT_PACKAGES with apt-get"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"{what}: no end after {_STEP_TIMEOUT} s: {command[0]}") from error
    if done.returncode:
        tail = "\n  ".join((done.stdout + done.stderr).splitlines()[-_TAIL:])
        raise BuildError(f"{what}: {command[0]} exited {done.returncode}:\n  {tail}")
    return done.stdout


def _files(path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    return sorted(
        found for found in path.rglob("*") if found.is_file() and "__pycache__" not in found.parts
    )


@dataclass(frozen=True)
class Piece:
    """What one step makes, in a folder of its own.

    Attributes:
        name: of the piece, and of its folder in the cache.
        inputs: files and folders that decide the result.
        make: fills the empty folder that it is given; the second argument has the finished folders
            of `needs`, in their order.
        needs: pieces that have to be there before.
    """

    name: str
    inputs: tuple[Path, ...]
    make: Callable[[Path, Sequence[Path]], None]
    needs: tuple["Piece", ...] = ()

    def digest(self) -> str:
        """Hash everything that decides the result.

        Returns:
            The hash, in hexadecimal.
        """
        collected = hashlib.sha256(self.name.encode())
        for needed in self.needs:
            collected.update(needed.digest().encode())
        for path in self.inputs:
            for file in _files(path):
                collected.update(f"\0{file.relative_to(path.parent)}\0".encode())
                collected.update(hashlib.sha256(file.read_bytes()).digest())
        return collected.hexdigest()

    def folder(self, cache: Path) -> Path:
        """Say where the piece is kept.

        Args:
            cache: the folder of all pieces.

        Returns:
            The piece's folder, whether or not it has been built.
        """
        return cache / f"{self.name}-{self.digest()[:16]}"

    def build(self, cache: Path) -> Path:
        """Build the piece, unless it is in the cache.

        Args:
            cache: the folder of all pieces.

        Returns:
            The piece's folder.

        Raises:
            BuildError: a step failed. Nothing half-made stays under the piece's name.
        """
        target = self.folder(cache)
        if target.exists():
            return target
        cache.mkdir(parents=True, exist_ok=True)
        needed = [piece.folder(cache) for piece in self.needs]
        with tempfile.TemporaryDirectory(prefix=f".{self.name}-", dir=cache) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            self.make(made, needed)
            try:
                made.rename(target)
            except OSError:
                if not target.exists():  # else another build was faster, with the same result
                    raise
        return target


def copy_into(folder: Path, source: Path, mode: int = 0o644) -> None:
    """Copy a file, with a mode that does not depend on who built.

    Args:
        folder: where to.
        source: the file.
        mode: its permissions.
    """
    target = folder / source.name
    shutil.copyfile(source, target)
    target.chmod(mode)
