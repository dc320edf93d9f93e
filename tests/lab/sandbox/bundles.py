"""The programs that are one self-contained file each, as a Go program would be."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab.sandbox.piece import (
    EPOCH,
    HERE,
    PROGRAMS,
    PYTHON,
    REQUIREMENTS,
    SECOND_VERSION,
    VERSION,
    Piece,
    run,
)

_LOCK = REQUIREMENTS / "sandbox.txt"
_ENTRY = """\
from {name}.main import main
from onefile import run

run(main, {version!r})
"""


def _make_tools(folder: Path, needs: Sequence[Path]) -> None:
    run("make a virtual environment", [PYTHON, "-m", "venv", folder])
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    run("install PyInstaller", [*pip, "--require-hashes", "--only-binary", ":all:", "-r", _LOCK])


TOOLS = Piece("tools", (_LOCK,), _make_tools)


def _bundle(name: str, version: str = VERSION) -> Piece:
    def make(folder: Path, needs: Sequence[Path]) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            work, tools = Path(scratch), needs[0]
            entry = work / f"{name}_entry.py"
            entry.write_text(_ENTRY.format(name=name, version=version))
            packer = [tools / "bin/python", "-m", "PyInstaller", "--onefile", "--name", name]
            paths = ["--workpath", work / "work", "--specpath", work, "--distpath", folder]
            fixed = {"SOURCE_DATE_EPOCH": str(EPOCH), "PYTHONHASHSEED": "1"}
            # A configuration folder of its own, as two packers may run at once.
            fixed["PYINSTALLER_CONFIG_DIR"] = str(work / "config")
            run(f"pack {name}", [*packer, *paths, "--paths", PROGRAMS, entry], fixed)

    sources = (HERE / "bundles.py", PROGRAMS / "onefile.py", PROGRAMS / name)
    # Else the piece is called as its program.
    piece = name if version == VERSION else f"{name}-{version}"
    return Piece(piece, sources, make, needs=(TOOLS,))


CARRIER = _bundle("carrier")
SECOND_CARRIER = _bundle("carrier", SECOND_VERSION)
DATACENTER = _bundle("datacenter")
