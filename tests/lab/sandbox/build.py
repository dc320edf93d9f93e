"""Build the sandbox release: its artifacts, its release file, and the data center's program.

The finished folder has::

    sandbox.yaml     the release file; its sources name a server that serves this very folder
    sandbox/         the artifacts
    bin/datacenter   stands in for the network's data center; not a part of the release

``python -m tests.lab.sandbox.build OUT`` builds it from a shell.
"""

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from tests.lab.sandbox import admin, consul, wheels
from tests.lab.sandbox.bundles import CARRIER, DATACENTER, TOOLS
from tests.lab.sandbox.piece import HERE, VERSION, BuildError, Piece, copy_into

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
NAME = "sandbox"
# The slow ones first, so that they overlap; a piece comes after those that it needs.
_PIECES = (
    TOOLS,
    consul.CONSUL,
    wheels.FIGHTER_WHEELHOUSE,
    admin.ADMIN_JAR,
    CARRIER,
    DATACENTER,
    wheels.FIGHTER,
    admin.ADMIN_SITE,
)
_WORKERS = 3
_FIGHTERS = ("data", "compute")


def _artifacts() -> dict[str, tuple[Piece, dict[str, Any]]]:
    private = {
        name: (
            wheels.FIGHTER,
            {
                "version": version,
                "kind": "wheel",
                "roles": list(_FIGHTERS),
                "file": wheels.wheel_file(name),
            },
        )
        for name, version in wheels.VERSIONS.items()
    }

    def of_admin(kind: str, file: str) -> dict[str, Any]:
        return {"version": VERSION, "kind": kind, "roles": ["admin"], "file": file}

    return {
        "consul": (
            consul.CONSUL,
            {
                "version": consul.VERSION,
                "kind": "zip",
                "roles": ["consul"],
                "file": consul.FILE,
                "unpacks": "consul",
            },
        ),
        "carrier": (
            CARRIER,
            {"version": VERSION, "kind": "binary", "roles": ["carrier"], "file": "carrier"},
        ),
        "admin_jar": (admin.ADMIN_JAR, of_admin("jar", admin.JAR)),
        "admin_web": (
            admin.ADMIN_SITE,
            of_admin("tar", admin.WEB) | {"unpacks": "network/index.html"},
        ),
        "admin_sql": (admin.ADMIN_SITE, of_admin("sql", admin.SQL)),
        **private,
        "fighter_wheelhouse": (
            wheels.FIGHTER_WHEELHOUSE,
            {
                "version": VERSION,
                "kind": "wheelhouse",
                "roles": list(_FIGHTERS),
                "file": wheels.WHEELHOUSE,
                "unpacks": "wheelhouse/requirements.txt",
            },
        ),
    }


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
    store = folder / NAME
    store.mkdir()
    artifacts = {}
    for name, (piece, facts) in _artifacts().items():
        file = piece.folder(cache) / facts["file"]
        copy_into(store, file, mode=0o755 if facts["kind"] == "binary" else 0o644)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        source = f"{base_url}/{NAME}/{file.name}"
        artifacts[name] = {**facts, "sha256": digest, "sources": [source]}
    (folder / "bin").mkdir()
    copy_into(folder / "bin", DATACENTER.folder(cache) / "datacenter", mode=0o755)
    release = {
        "release": NAME,
        "kv": {
            "datacenter": "metis/dataCenter_ip_port",
            "glacier2": "metis/via_ip_port",
            "icegrid": None,
        },
        "fighter": {
            "python": "/usr/bin/python3",
            "data": "metis.data_svc.main",
            "compute": "metis.compute_svc.main",
        },
        "admin": {"database": "metis_admin", "context_path": "/metis-admin"},
        "artifacts": artifacts,
    }
    text = yaml.safe_dump(release, sort_keys=False)
    (folder / f"{NAME}.yaml").write_text(text, encoding="utf-8")


def build(
    output: Path,
    base_url: str = BASE_URL,
    cache: Path = CACHE,
    progress: Callable[[str], None] = print,
) -> Path:
    """Build the release; pieces whose inputs did not change come from the cache.

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
