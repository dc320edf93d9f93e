"""Encryption for an operator's key, by the real gpg."""

from __future__ import annotations

from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_gpg
from tests.unit.keyring import Keyring


def _encrypted(receiver: list[str], home: str, data: bytes, file: Path) -> None:
    with file.open("wb") as opened, metis_gpg.encrypting(receiver, home, opened.fileno()) as clear:
        clear.write(data)


def _decrypted(file: Path, home: str) -> bytes:
    with metis_gpg.decrypting(str(file), home) as clear:
        return clear.read()


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_a_key_in_the_keyring_is_named_by_its_fingerprint(
    operator: Keyring, tmp_path: Path, size: int
) -> None:
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    _encrypted(receiver, operator.home, b"secret" * size, tmp_path / "file")
    assert b"secret" not in (tmp_path / "file").read_bytes()
    assert _decrypted(tmp_path / "file", operator.home) == b"secret" * size


def test_a_key_may_be_a_file_and_needs_no_keyring(operator: Keyring, tmp_path: Path) -> None:
    (tmp_path / "operator.asc").write_bytes(operator.public())
    home = str(tmp_path / "none")
    receiver = metis_gpg.receiver(str(tmp_path / "operator.asc"), home)
    _encrypted(receiver, home, b"secret", tmp_path / "file")
    assert not (tmp_path / "none").exists()
    assert _decrypted(tmp_path / "file", operator.home) == b"secret"


@pytest.mark.parametrize(
    ("recipient", "why"),
    [
        (None, "recipient is 'None': give the absolute path"),
        ("operator", "give the absolute path of a file with a public key, or the fingerprint"),
        ("0" * 40, "the key cannot be encrypted for"),
        ("/nowhere/key.asc", "/nowhere/key.asc is no file that"),
    ],
)
def test_who_cannot_be_encrypted_for_is_known_beforehand(
    operator: Keyring, recipient: str | None, why: str
) -> None:
    with pytest.raises(CommandExecutionError, match=why):
        metis_gpg.receiver(recipient, operator.home)


def test_a_file_without_a_key_is_no_recipient(operator: Keyring, tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_text("nothing")
    with pytest.raises(CommandExecutionError, match=r"recipient /.*key.asc: "):
        metis_gpg.receiver(str(tmp_path / "key.asc"), operator.home)


def test_without_the_private_key_nothing_is_read(
    operator: Keyring, empty_keyring: str, tmp_path: Path
) -> None:
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    _encrypted(receiver, operator.home, b"secret", tmp_path / "file")
    with pytest.raises(CommandExecutionError, match="the private key is not in the keyring"):
        _decrypted(tmp_path / "file", empty_keyring)


def test_a_passphrase_that_nobody_can_give_is_told(empty_keyring: str, tmp_path: Path) -> None:
    locked = Keyring(empty_keyring, "locked", passphrase="a word")
    receiver = metis_gpg.receiver(locked.fingerprint, locked.home)
    _encrypted(receiver, locked.home, b"secret", tmp_path / "file")
    with pytest.raises(CommandExecutionError, match="the passphrase of the key was not given"):
        _decrypted(tmp_path / "file", locked.home)
    locked.end()


def test_what_is_damaged_is_an_error_at_the_latest_at_its_end(
    operator: Keyring, tmp_path: Path
) -> None:
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    _encrypted(receiver, operator.home, b"secret" * 100_000, tmp_path / "file")
    whole = (tmp_path / "file").read_bytes()
    for spoiled in (whole[:-20], whole[:-30] + b"x" + whole[-29:], b"nothing at all"):
        (tmp_path / "file").write_bytes(spoiled)
        with pytest.raises(CommandExecutionError, match=r"damaged|no file that GnuPG"):
            _decrypted(tmp_path / "file", operator.home)


def test_a_file_that_is_not_there_is_named(operator: Keyring, tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="file: No such file"):
        _decrypted(tmp_path / "file", operator.home)


def test_a_full_disk_is_no_backup(operator: Keyring) -> None:
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    with pytest.raises(CommandExecutionError, match="encrypting failed"):
        _encrypted(receiver, operator.home, b"secret" * 500_000, Path("/dev/full"))


def test_a_master_without_gpg_says_so(operator: Keyring, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CommandExecutionError, match="apt-get install gnupg"):
        metis_gpg.receiver(operator.fingerprint, operator.home)


def test_a_keyring_is_the_one_given_or_the_usual_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert metis_gpg.keyring(str(tmp_path)) == str(tmp_path)
    monkeypatch.delenv("GNUPGHOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert metis_gpg.keyring(None) == str(tmp_path / ".gnupg")
    with pytest.raises(CommandExecutionError, match="keyring: there is no folder /nowhere"):
        metis_gpg.keyring("/nowhere")


def test_the_keys_of_messages_go_into_another_keyring(
    operator: Keyring, empty_keyring: str
) -> None:
    words = ("--armor", "--trust-model", "always", "--encrypt", "--recipient", "operator")
    message = operator.run(*words, given=b"a password")
    keys = metis_gpg.secret_keys([message.decode()], operator.home)
    metis_gpg.take_keys(keys, empty_keyring)
    assert metis_gpg.secret_keys([message.decode()], empty_keyring) == keys
    assert metis_gpg.secret_keys([], operator.home) == b""
