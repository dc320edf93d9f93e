"""carrier's identity: made once, for carrier alone to read."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from salt.exceptions import CommandExecutionError

from _modules import metis_p2p_key


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "p2p.key"


def test_a_key_is_64_hex_digits_and_no_newline(path: Path) -> None:
    metis_p2p_key.generate(str(path), "nobody")
    assert re.fullmatch(rb"[0-9a-f]{64}", path.read_bytes())


def test_a_key_is_a_number_of_the_curve(path: Path) -> None:
    metis_p2p_key.generate(str(path), "nobody")
    ec.derive_private_key(int(path.read_text(), 16), ec.SECP256K1())


def test_a_small_number_has_its_zeros(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = ec.derive_private_key(7, ec.SECP256K1())
    monkeypatch.setattr(metis_p2p_key.ec, "generate_private_key", lambda curve: small)
    metis_p2p_key.generate(str(path), "nobody")
    assert path.read_text() == "7".zfill(64)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_only_its_user_reads_it(path: Path, mask: int) -> None:
    old = os.umask(mask)
    try:
        metis_p2p_key.generate(str(path), "nobody")
    finally:
        os.umask(old)
    found = path.stat()
    assert stat.S_IMODE(found.st_mode) == 0o600
    assert (found.st_uid, found.st_gid) == (65534, 65534)
    assert found.st_nlink == 1


def test_a_key_is_never_replaced(path: Path) -> None:
    path.write_text("the identity")
    with pytest.raises(FileExistsError):
        metis_p2p_key.generate(str(path), "nobody")
    assert path.read_text() == "the identity"
    assert list(path.parent.iterdir()) == [path]


def test_two_keys_are_two(path: Path) -> None:
    other = path.with_name("other.key")
    for one in (path, other):
        metis_p2p_key.generate(str(one), "nobody")
    assert path.read_text() != other.read_text()


def test_a_run_that_was_cut_off_is_done_again(path: Path) -> None:
    # What it left may be readable for others, and half.
    left = path.with_name("p2p.key.new")
    left.write_text("0123")
    left.chmod(0o644)
    metis_p2p_key.generate(str(path), "nobody")
    assert len(path.read_text()) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_without_the_user_nothing_is_left_behind(path: Path) -> None:
    with pytest.raises(KeyError):
        metis_p2p_key.generate(str(path), "metis-no-such-user")
    assert list(path.parent.iterdir()) == []


def test_a_key_from_a_backup_takes_the_place_of_another(path: Path, tmp_path: Path) -> None:
    metis_p2p_key.generate(str(path), "nobody")
    (tmp_path / "kept").write_text("0a" * 32)
    metis_p2p_key.put_back(str(path), "nobody", str(tmp_path / "kept"))
    assert path.read_text() == "0a" * 32
    found = path.stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 65534)


def test_a_host_without_the_user_yet_has_the_key_for_root(tmp_path: Path) -> None:
    path = tmp_path / "etc/carrier/p2p.key"
    (tmp_path / "kept").write_text("0a" * 32)
    metis_p2p_key.put_back(str(path), "metis-nobody", str(tmp_path / "kept"))
    assert (path.read_text(), path.stat().st_uid) == ("0a" * 32, 0)


@pytest.mark.parametrize("content", ["", "0A" * 32, "0a" * 31, "0a" * 32 + "\n", "\xff" * 64])
def test_what_is_no_key_takes_no_place(path: Path, tmp_path: Path, content: str) -> None:
    metis_p2p_key.generate(str(path), "nobody")
    before = path.read_text()
    (tmp_path / "kept").write_text(content, "latin-1")
    with pytest.raises(CommandExecutionError, match="holds no key of carrier's"):
        metis_p2p_key.put_back(str(path), "nobody", str(tmp_path / "kept"))
    assert path.read_text() == before


def test_a_key_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="/nowhere: No such file"):
        metis_p2p_key.put_back(str(path), "nobody", "/nowhere")
