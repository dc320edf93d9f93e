"""Archives: unpacked to their end, and looked at afterwards."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError
from salt.modules import archive as archive_module

from _modules import metis_archive, metis_artifact

SHA256 = "ab" * 32


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    def run_all(argv: list[str], **_: Any) -> dict[str, Any]:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
        return {"retcode": done.returncode, "stdout": done.stdout, "stderr": done.stderr}

    functions = {
        "archive.unzip": archive_module.unzip,
        "cmd.run_all": run_all,
        "metis_artifact.checksum": metis_artifact.checksum,
    }
    own = {"__salt__": functions}
    return {archive_module: own, metis_archive: own, metis_artifact: {}}


def _zip(folder: Path, **files: bytes) -> str:
    with zipfile.ZipFile(folder / "consul.zip", "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o100755 << 16
            archive.writestr(info, content)
    return str(folder / "consul.zip")


def _unpacked(archive: str) -> str | None:
    found = metis_archive.seen(archive)
    assert found["damaged"] == []
    sha256: str | None = found["sha256"]
    return sha256


def test_a_zip_is_unpacked_with_its_rights(tmp_path: Path) -> None:
    archive, program = _zip(tmp_path, consul=b"one"), tmp_path / "consul"
    assert _unpacked(archive) is None
    metis_archive.unpack(archive, str(tmp_path), SHA256, str(program))
    assert program.read_bytes() == b"one"
    assert stat.S_IMODE(program.stat().st_mode) == 0o755
    assert _unpacked(archive) == SHA256
    # Nothing but the archive, what it holds, and the list of that.
    names = {".consul.zip.unpacked", "consul", "consul.zip"}
    assert {path.name for path in tmp_path.iterdir()} == names


def _foreign(info: tarfile.TarInfo) -> tarfile.TarInfo:
    info.uid = info.gid = 12345
    return info


@pytest.fixture
def site(tmp_path: Path) -> tuple[str, str, str, str]:
    """A site's archive with a link, as the arguments of `unpack`."""
    (tmp_path / "index.html").write_text("page")
    (tmp_path / "link").symlink_to("network/index.html")
    with tarfile.open(tmp_path / "admin.tar", "w") as archive:
        archive.add(tmp_path / "index.html", "network/index.html", filter=_foreign)
        archive.add(tmp_path / "index.html", "network/app.js", filter=_foreign)
        archive.add(tmp_path / "link", "start", filter=_foreign)
    page = tmp_path / "into/network/index.html"
    return str(tmp_path / "admin.tar"), str(tmp_path / "into"), SHA256, str(page)


def test_a_tar_is_unpacked_into_its_directory_as_root_s(site: tuple[str, str, str, str]) -> None:
    metis_archive.unpack(*site)
    page = Path(site[3])
    assert page.read_text() == "page"
    assert page.stat().st_uid == os.geteuid()
    assert os.readlink(f"{site[1]}/start") == "network/index.html"
    assert _unpacked(site[0]) == SHA256


def _write(file: Path) -> None:
    seen = file.stat()
    file.write_text("hole")
    os.utime(file, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def _replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize(
    "damage",
    [
        Path.unlink,
        _write,
        lambda file: file.chmod(0o600),
        lambda file: file.write_text("longer than it was"),
        _replace_by_a_folder,
    ],
    ids=["removed", "changed", "closed", "longer", "another thing"],
)
@pytest.mark.parametrize("name", ["network/app.js", "start"])
def test_what_was_damaged_is_noticed_and_mended(
    site: tuple[str, str, str, str], damage: Callable[[Path], Any], name: str
) -> None:
    metis_archive.unpack(*site)
    file, page = Path(site[1], name), Path(site[3])
    if file.is_symlink() and damage is not _replace_by_a_folder:
        file.unlink()
    else:
        damage(file)
    before = page.stat().st_ino
    assert metis_archive.seen(site[0]) == {"sha256": SHA256, "damaged": [str(file)]}
    metis_archive.unpack(*site)
    assert _unpacked(site[0]) == SHA256
    assert file.read_text() == "page"
    # What was right was left alone.
    assert page.stat().st_ino == before


def test_what_was_only_touched_is_right(site: tuple[str, str, str, str]) -> None:
    metis_archive.unpack(*site)
    os.utime(site[3])
    assert _unpacked(site[0]) == SHA256


def test_what_was_unpacked_by_half_is_unpacked_again(tmp_path: Path) -> None:
    archive, program = _zip(tmp_path, consul=b"whole"), tmp_path / "consul"
    # A program that runs cannot be written over.
    program.write_bytes(b"ha")
    running = program.open("rb")
    # As a run that was cut off leaves it.
    (tmp_path / ".consul.zip.unpacking").mkdir()
    (tmp_path / ".consul.zip.unpacking/other").write_bytes(b"ha")
    assert _unpacked(archive) is None
    metis_archive.unpack(archive, str(tmp_path), SHA256, str(program))
    assert program.read_bytes() == b"whole"
    assert not (tmp_path / "other").exists()
    with running:
        assert running.read() == b"ha"


def test_another_archive_replaces_what_the_first_one_left(tmp_path: Path) -> None:
    program = tmp_path / "consul"
    for content, sha256, more in (
        (b"one", "ab" * 32, {"LICENSE": b"terms"}),
        (b"two", "cd" * 32, {}),
        (b"one", "ab" * 32, {"LICENSE": b"terms"}),
    ):
        archive = _zip(tmp_path, consul=content, **more)
        assert _unpacked(archive) != sha256
        metis_archive.unpack(archive, str(tmp_path), sha256, str(program))
        assert program.read_bytes() == content
        assert (tmp_path / "LICENSE").exists() == bool(more)


@pytest.mark.parametrize("text", ["", f"{SHA256}\n", "[]", "{"])
def test_without_its_list_nothing_is_known_to_be_unpacked(tmp_path: Path, text: str) -> None:
    archive = _zip(tmp_path, consul=b"one")
    metis_archive.unpack(archive, str(tmp_path), SHA256, str(tmp_path / "consul"))
    (tmp_path / ".consul.zip.unpacked").write_text(text)
    assert metis_archive.seen(archive) == {"sha256": None, "damaged": []}


@pytest.mark.parametrize("name", ["broken.tar", "broken.zip", "broken.sh"])
def test_what_is_no_archive_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"not one")
    into = tmp_path / "into"
    with pytest.raises(CommandExecutionError, match=name):
        metis_archive.unpack(str(tmp_path / name), str(into), SHA256, str(into / "consul"))
    assert _unpacked(str(tmp_path / name)) is None
    assert not (tmp_path / f".{name}.unpacking").exists()


def test_an_archive_without_its_program_is_an_error(tmp_path: Path) -> None:
    archive = _zip(tmp_path, other=b"one")
    with pytest.raises(CommandExecutionError, match="does not hold"):
        metis_archive.unpack(archive, str(tmp_path), SHA256, str(tmp_path / "consul"))
    assert _unpacked(archive) is None


# An installer, asked as Miniconda's is


INSTALLER = """\
#!/bin/sh
# Installs what follows the last line of this script.
set -eu
while getopts bp: option; do
    case $option in b) quiet=1 ;; p) prefix=$OPTARG ;; *) exit 2 ;; esac
done
: "${quiet:?this would ask for the licence}"
if [ -e "$prefix" ]; then echo "ERROR: $prefix exists" >&2; exit 1; fi
mkdir -p "$prefix"
tail -n +14 "$0" | tar --extract --directory "$prefix"
echo "$prefix" > "$prefix/knows_its_place"
exit 0
#
"""


@pytest.fixture
def installer(tmp_path: Path) -> tuple[str, str, str, str]:
    """An installer of an interpreter, as the arguments of `unpack`."""
    (tmp_path / "python3.7").write_text("#!/bin/sh\necho 3.7\n")
    (tmp_path / "python3.7").chmod(0o755)
    with tarfile.open(tmp_path / "held.tar", "w") as archive:
        archive.add(tmp_path / "python3.7", "bin/python3.7")
    file = tmp_path / "Miniconda3.sh"
    file.write_bytes(INSTALLER.encode() + (tmp_path / "held.tar").read_bytes())
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    return str(file), str(tmp_path / "python"), sha256, str(tmp_path / "python/bin/python3.7")


def test_an_installer_is_run_at_the_final_place(installer: tuple[str, str, str, str]) -> None:
    metis_archive.unpack(*installer)
    _, into, sha256, program = installer
    assert subprocess.run([program], capture_output=True, text=True).stdout == "3.7\n"
    assert Path(into, "knows_its_place").read_text() == f"{into}\n"
    assert _unpacked(installer[0]) == sha256


def test_what_an_installer_left_by_half_is_installed_anew(
    installer: tuple[str, str, str, str],
) -> None:
    _, into, sha256, program = installer
    Path(into).mkdir()
    Path(into, "half").touch()
    metis_archive.unpack(*installer)
    assert not Path(into, "half").exists()
    Path(program).unlink()
    assert metis_archive.seen(installer[0])["damaged"] == [program]
    metis_archive.unpack(*installer)
    assert _unpacked(installer[0]) == sha256


def test_what_python_compiles_is_no_damage(installer: tuple[str, str, str, str]) -> None:
    metis_archive.unpack(*installer)
    cache = Path(installer[1], "lib/__pycache__")
    cache.mkdir(parents=True)
    (cache / "x.cpython-37.pyc").touch()
    assert _unpacked(installer[0]) == installer[2]
