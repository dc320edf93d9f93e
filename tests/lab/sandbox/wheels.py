"""The fighter's private wheels, and a wheelhouse with everything that they depend on."""

import base64
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.lab.sandbox.archives import write_tar, write_zip
from tests.lab.sandbox.bundles import TOOLS
from tests.lab.sandbox.piece import HERE, PROGRAMS, REQUIREMENTS, Piece, run

WHEELHOUSE = "fighter_wheelhouse.tar"
VERSIONS = {"metis_dcv": "0.9.1", "channel_sdk": "2.0.0", "latticex_rosetta": "1.0.0"}
# Of the second release, as far as they differ.
SECOND_VERSIONS = {"metis_dcv": "0.9.2"}
_PACKAGES = {"metis_dcv": "metis"}
_DEPENDENCIES = {"metis_dcv": ("grpcio", "grpcio-health-checking", "PyYAML", "requests")}
_SOURCES = PROGRAMS / "fighter"
_LOCK = REQUIREMENTS / "fighter.txt"


def wheel_file(name: str, version: str) -> str:
    """Name a private wheel's file.

    Args:
        name: of the distribution.
        version: of it.

    Returns:
        The file name.
    """
    return f"{name}-{version}-py3-none-any.whl"


def _members(name: str, version: str) -> Iterator[tuple[str, bytes]]:
    package = _SOURCES / _PACKAGES.get(name, name)
    for source in sorted(package.rglob("*.py")):
        yield str(source.relative_to(_SOURCES)), source.read_bytes()
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += "".join(f"Requires-Dist: {needed}\n" for needed in _DEPENDENCIES.get(name, ()))
    yield f"{info}/METADATA", metadata.encode()
    wheel = "Wheel-Version: 1.0\nGenerator: sandbox\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    yield f"{info}/WHEEL", wheel.encode()


def _record(members: dict[str, bytes], name: str) -> str:
    lines = []
    for path, content in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{path},sha256={digest},{len(content)}")
    return "\n".join([*lines, f"{name},,"]) + "\n"


def _make_wheels(folder: Path, versions: dict[str, str]) -> None:
    for name, version in versions.items():
        members = dict(_members(name, version))
        record = f"{name}-{version}.dist-info/RECORD"
        members[record] = _record(members, record).encode()
        write_zip(folder / wheel_file(name, version), members)


def _make_wheelhouse(folder: Path, needs: Sequence[Path]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        # The system's Python has no pip on a fresh machine.
        python = needs[0] / "bin/python"
        pip = [python, "-m", "pip", "--disable-pip-version-check", "download", "-q", "--no-deps"]
        which = ["--require-hashes", "--only-binary", ":all:", "-r", _LOCK, "-d", scratch]
        run("download the fighter's dependencies", [*pip, *which])
        # Debian 13 has another Python: of what is compiled, there are two.
        run("download them for Python 3.13", [*pip, *which, "--python-version", "3.13"])
        wheels = [(file.name, file.read_bytes()) for file in sorted(Path(scratch).iterdir())]
    write_tar(folder / WHEELHOUSE, [("requirements.txt", _LOCK.read_bytes()), *wheels])


_WHEEL_SOURCES = (HERE / "wheels.py", HERE / "archives.py", _SOURCES)
FIGHTER = Piece("fighter", _WHEEL_SOURCES, lambda folder, _: _make_wheels(folder, VERSIONS))
SECOND_FIGHTER = Piece(
    "fighter-second", _WHEEL_SOURCES, lambda folder, _: _make_wheels(folder, SECOND_VERSIONS)
)
FIGHTER_WHEELHOUSE = Piece(
    "wheelhouse",
    (HERE / "wheels.py", HERE / "archives.py", _LOCK),
    _make_wheelhouse,
    needs=(TOOLS,),
)
