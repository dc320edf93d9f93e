"""Build the sandbox releases: their artifacts and release files, and the data center's program.

The finished folder has::

    sandbox.yaml     a release file; its sources name a server that serves this very folder
    sandbox/         its artifacts
    sandbox2...      the second release in the same way, and its broken forms (releases.py)
    bin/datacenter   stands in for the network's data center; not a part of a release

``python -m tests.lab.sandbox.build OUT`` builds it from a shell.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.lab.sandbox import admin, consul, wheels
from tests.lab.sandbox.bundles import CARRIER, DATACENTER, SECOND_CARRIER, TOOLS
from tests.lab.sandbox.piece import HERE, BuildError, Piece, copy_into
from tests.lab.sandbox.releases import RELEASES

CACHE = Path("/var/cache/metis-lab/sandbox-pieces")
BASE_URL = "http://10.77.0.10:8000"
APT_PACKAGES = (
    "binutils",
    "libjakarta-annotation-api-java",
    "libmariadb-java",
    "libpython3.11",
    "libtomcat10-embed-java",
    "libyaml-snake-java",
    "openjdk-17-jdk-headless",
    "python3-venv",
)
# The slow ones first, so that they overlap; a piece comes after those that it needs.
_PIECES = (
    TOOLS,
    consul.CONSUL,
    wheels.FIGHTER_WHEELHOUSE,
    admin.ADMIN_JAR,
    CARRIER,
    SECOND_CARRIER,
    DATACENTER,
    wheels.FIGHTER,
    wheels.SECOND_FIGHTER,
    admin.ADMIN_SITE,
    admin.SECOND_ADMIN_SCHEMA,
    admin.SECOND_ADMIN_JAR,
)
_WORKERS = 3


def recipe_hash() -> str:
    """Hash everything in the repository that decides what `build` makes.

    Returns:
        The hash, in hexadecimal.
    """
    collected = hashlib.sha256()
    for source in sorted(HERE.glob("*.py")):
        collected.update(source.read_bytes())
    for piece in _PIECES:
        collected.update(piece.digest().encode())
    return collected.hexdigest()


def _build_pieces(cache: Path, progress: Callable[[str], None]) -> None:
    futures: dict[Piece, Future[Path]] = {}

    def one(piece: Piece) -> Path:
        for needed in piece.needs:
            futures[needed].result()
        if not piece.folder(cache).exists():
            progress(f"sandbox release: building {piece.name}")
        return piece.build(cache)

    with ThreadPoolExecutor(_WORKERS) as pool:
        for piece in _PIECES:
            futures[piece] = pool.submit(one, piece)
        for future in futures.values():
            future.result()


def _assemble(folder: Path, cache: Path, base_url: str) -> None:
    # What two releases have alike is served once.
    sources: dict[str, str] = {}
    for release in RELEASES:
        (folder / release.name).mkdir()
        artifacts = {}
        for name, artifact in release.artifacts.items():
            served, right = artifact.content(cache)
            file, digest = artifact.facts["file"], hashlib.sha256(served).hexdigest()
            if digest not in sources:
                target = folder / release.name / file
                target.write_bytes(served)
                target.chmod(0o755 if artifact.facts["kind"] == "binary" else 0o644)
                sources[digest] = f"{base_url}/{release.name}/{file}"
            known = {"sha256": hashlib.sha256(right).hexdigest(), "sources": [sources[digest]]}
            artifacts[name] = artifact.facts | known
        text = yaml.safe_dump(release.text(artifacts), sort_keys=False)
        (folder / f"{release.name}.yaml").write_text(text, encoding="utf-8")
    (folder / "bin").mkdir()
    copy_into(folder / "bin", DATACENTER.folder(cache) / "datacenter", mode=0o755)


def build(
    output: Path,
    base_url: str = BASE_URL,
    cache: Path = CACHE,
    progress: Callable[[str], None] = print,
) -> Path:
    """Build the releases; pieces whose inputs did not change come from the cache.

    Args:
        output: the folder to make; what stands there is replaced at once and only by a whole one.
        base_url: of the server that will serve the folder.
        cache: where finished pieces are kept.
        progress: is told, in one line each, what takes time; from several threads.

    Returns:
        The folder.

    Raises:
        BuildError: a step failed; nothing was changed at ``output``.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    _build_pieces(cache, progress)
    with tempfile.TemporaryDirectory(prefix=f".{output.name}-", dir=output.parent) as scratch:
        made, old = Path(scratch) / "made", Path(scratch) / "old"
        made.mkdir()
        _assemble(made, cache, base_url)
        if output.exists():
            output.rename(old)
        made.rename(output)
    return output


def main() -> int:
    """Build from a shell.

    Returns:
        The exit status: 1 if a step failed.
    """
    parser = argparse.ArgumentParser(description="Build the sandbox release.")
    parser.add_argument("output", type=Path, help="the folder to make or to replace")
    try:
        print(build(parser.parse_args().output.absolute()))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
