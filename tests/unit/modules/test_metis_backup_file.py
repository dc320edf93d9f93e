"""The file of a backup: whole or not there, and read only where every byte of it is right."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_backup_file, metis_gpg
from tests.unit.keyring import Keyring

CONTENT = {"master/org.sls": b"metis: {}\n", "hosts/database.sql.gz": os.urandom(3_000_000)}


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    functions = {
        "metis_gpg.encrypting": metis_gpg.encrypting,
        "metis_gpg.decrypting": metis_gpg.decrypting,
    }
    return {metis_backup_file: {"__salt__": functions}}


def _manifest(content: dict[str, bytes] = CONTENT) -> dict[str, Any]:
    files = {
        name: {
            "size": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "from": "h1",
            "path": "",
        }
        for name, data in content.items()
    }
    return {"org": "acme", "made": "2026-11-25T14:00:00Z", "files": files}


def _write(
    to: Path,
    operator: Keyring,
    sources: dict[str, Iterable[bytes]] | None = None,
    manifest: dict[str, Any] | None = None,
) -> int:
    given = sources or {name: [data[:1000], data[1000:]] for name, data in CONTENT.items()}
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    args = (str(to), receiver, operator.home, manifest or _manifest(), given)
    return metis_backup_file.write(*args)


def _encrypt(to: Path, operator: Keyring, clear: bytes) -> Path:
    """A file as only someone else would make it."""
    words = ("--trust-model", "always", "--encrypt", "--recipient", operator.fingerprint)
    to.write_bytes(operator.run(*words, given=clear))
    return to


def _tar(members: list[tuple[str, bytes]]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return made.getvalue()


def test_what_was_written_is_read(tmp_path: Path, operator: Keyring) -> None:
    to = tmp_path / "acme.backup"
    assert _write(to, operator) == to.stat().st_size
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    taken = {}

    def take(name: str, chunks: Iterator[bytes]) -> None:
        taken[name] = b"".join(chunks)

    found = metis_backup_file.walk(str(to), operator.home, take)
    assert found["problems"] == []
    assert taken == CONTENT
    assert metis_backup_file.manifest(str(to), operator.home) == found["manifest"]
    assert found["manifest"]["files"] == _manifest()["files"]
    assert b"metis: {}" not in to.read_bytes()
    assert os.listdir(tmp_path) == ["acme.backup"]


def test_a_member_need_not_be_taken_to_its_end(tmp_path: Path, operator: Keyring) -> None:
    to = tmp_path / "acme.backup"
    _write(to, operator)
    found = metis_backup_file.walk(str(to), operator.home, lambda name, chunks: None)
    assert found["problems"] == []


def test_what_is_there_is_left_as_it_is(tmp_path: Path, operator: Keyring) -> None:
    to = tmp_path / "acme.backup"
    to.write_text("precious")
    assert "is there already" in metis_backup_file.target_fault(str(to))
    with pytest.raises(CommandExecutionError, match="cannot be written: File exists"):
        _write(to, operator)
    assert to.read_text() == "precious"
    assert os.listdir(tmp_path) == ["acme.backup"]


def test_a_file_system_without_hard_links_has_it_whole_too(
    tmp_path: Path, operator: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: Any) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    to = tmp_path / "acme.backup"
    _write(to, operator)
    assert stat.S_IMODE(to.stat().st_mode) == 0o600
    assert metis_backup_file.walk(str(to), operator.home)["problems"] == []
    whole = to.read_bytes()
    with pytest.raises(CommandExecutionError, match="cannot be written: File exists"):
        _write(to, operator)
    assert to.read_bytes() == whole
    monkeypatch.setattr(os, "replace", refused)
    with pytest.raises(CommandExecutionError, match="not permitted"):
        _write(tmp_path / "other.backup", operator)
    assert os.listdir(tmp_path) == ["acme.backup"]


@pytest.mark.parametrize(
    ("to", "why"),
    [
        (None, "give the absolute path"),
        ("acme.backup", "give the absolute path"),
        ("/nowhere/acme.backup", "there is no folder /nowhere"),
    ],
)
def test_a_place_that_is_none_is_known_beforehand(to: str | None, why: str) -> None:
    assert why in metis_backup_file.target_fault(to)


def test_a_good_place_has_no_fault(tmp_path: Path) -> None:
    assert metis_backup_file.target_fault(str(tmp_path / "acme.backup")) == ""


def _breaks_off() -> Iterator[bytes]:
    yield b"x" * 10
    raise CommandExecutionError("h1 does not answer")


@pytest.mark.parametrize(
    ("chunks", "why"),
    [
        ([b"metis: {}"], "master/org.sls did not come as it was announced"),
        ([b"metis: {}\n", b"more"], "master/org.sls did not come as it was announced"),
        ([b"metis: []\n"], "master/org.sls did not come as it was announced"),
        (_breaks_off(), "h1 does not answer"),
    ],
)
def test_a_host_that_breaks_off_leaves_no_file(
    tmp_path: Path, operator: Keyring, chunks: Iterable[bytes], why: str
) -> None:
    with pytest.raises(CommandExecutionError, match=why):
        _write(tmp_path / "acme.backup", operator, {"master/org.sls": chunks})
    assert os.listdir(tmp_path) == []


def test_every_fault_is_told_at_once(tmp_path: Path, operator: Keyring) -> None:
    manifest = _manifest({"a": b"right", "b": b"other", "c": b"longer", "d": b"gone"})
    manifest["format"] = 1
    members = [("manifest.json", json.dumps(manifest).encode()), ("a", b"right")]
    members += [("b", b"wrong"), ("c", b"long"), ("e", b"extra"), ("a", b"right")]
    file = _encrypt(tmp_path / "file", operator, _tar(members))
    with pytest.raises(CommandExecutionError) as raised:
        metis_backup_file.manifest(str(file), operator.home)
    told = str(raised.value).splitlines()
    assert told[0] == f"{file} is damaged, nothing of it is used:"
    assert [line.split()[0] for line in told[1:]] == ["b", "c", "e", "a", "d"]
    assert told[2] == "  c has 4 bytes, not 6"
    assert told[3] == "  e is not in its manifest once, as a file"
    assert told[5] == "  d is missing"


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"format": 2}, "it is of another format than 1"),
        ([], "it is of another format than 1"),
        ({"format": 1, "org": "../x", "files": {}}, "says nothing of an organization"),
        ({"format": 1, "org": "acme"}, "says nothing of an organization"),
        ({"format": 1, "org": "acme", "files": {"/etc/passwd": {}}}, "says nothing good of /etc"),
        ({"format": 1, "org": "acme", "files": {"a": {"size": 1}}}, "says nothing good of a"),
    ],
)
def test_a_manifest_of_another_kind_is_no_backup(
    tmp_path: Path, operator: Keyring, manifest: Any, why: str
) -> None:
    clear = _tar([("manifest.json", json.dumps(manifest).encode())])
    file = _encrypt(tmp_path / "file", operator, clear)
    with pytest.raises(CommandExecutionError, match=why):
        metis_backup_file.manifest(str(file), operator.home)


@pytest.mark.parametrize("clear", [b"", b"no tar", _tar([("x", b"")]), _tar([])])
def test_what_is_encrypted_and_no_backup_is_none(
    tmp_path: Path, operator: Keyring, clear: bytes
) -> None:
    file = _encrypt(tmp_path / "file", operator, clear)
    with pytest.raises(CommandExecutionError, match="cut off, or no backup of this project"):
        metis_backup_file.manifest(str(file), operator.home)


def test_a_file_that_is_cut_off_is_damaged(tmp_path: Path, operator: Keyring) -> None:
    to = tmp_path / "acme.backup"
    _write(to, operator)
    to.write_bytes(to.read_bytes()[:-100_000])
    with pytest.raises(CommandExecutionError, match="damaged"):
        metis_backup_file.manifest(str(to), operator.home)
