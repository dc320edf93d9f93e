"""Encryption for an operator's key, by the real gpg."""

from __future__ import annotations

import getpass
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import Mock, create_autospec

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


def test_the_public_key_alone_opens_nothing(
    operator: Keyring, empty_keyring: str, tmp_path: Path
) -> None:
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    _encrypted(receiver, operator.home, b"secret", tmp_path / "file")
    metis_gpg.take_keys(operator.public(), empty_keyring)
    with pytest.raises(CommandExecutionError, match="the private key is not in the keyring"):
        _decrypted(tmp_path / "file", empty_keyring)


class Locked(Keyring):
    """A keyring whose key has a passphrase, a file for it, and an agent that asks by a pinentry."""

    def __init__(self, home: str, folder: Path) -> None:
        pinentry, self.asked = folder / "pinentry", folder / "asked"
        pinentry.write_text(f"#!/bin/sh\ntouch {self.asked}\n")
        pinentry.chmod(0o700)
        (Path(home) / "gpg-agent.conf").write_text(f"pinentry-program {pinentry}\n")
        super().__init__(home, "locked", passphrase="a word")
        self.file = folder / "file"
        _encrypted(metis_gpg.receiver(self.fingerprint, home), home, b"secret" * 9999, self.file)


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    """A keyring with a key that takes seconds to make."""
    with tempfile.TemporaryDirectory(prefix="metis-gpg-") as home:
        yield Locked(home, tmp_path_factory.mktemp("locked"))


@pytest.fixture
def locked(keyring: Locked) -> Iterator[Locked]:
    """A keyring whose agent knows no passphrase, and never comes to ask for one."""
    keyring.end()
    yield keyring
    assert not keyring.asked.exists()
    keyring.end()


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """What is typed at a terminal that asks for a passphrase."""
    typed = create_autospec(getpass.getpass, return_value="a word")
    monkeypatch.setattr(getpass, "getpass", typed)
    monkeypatch.setattr(sys, "stdin", Mock(isatty=lambda: True))
    return typed


def test_a_passphrase_that_nobody_can_give_is_told(
    locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a terminal leaves it that was there before.
    monkeypatch.setenv("GPG_TTY", "/dev/pts/0")
    with pytest.raises(CommandExecutionError, match="the passphrase of the key was not given"):
        _decrypted(locked.file, locked.home)


def test_a_passphrase_is_asked_for_at_a_terminal_once(locked: Locked, typed: Mock) -> None:
    for _ in range(2):
        assert _decrypted(locked.file, locked.home) == b"secret" * 9999
    # gpg-agent knows it then.
    typed.assert_called_once_with(f"Passphrase of the key that opens {locked.file}: ")


def test_a_wrong_passphrase_and_none_are_told(locked: Locked, typed: Mock) -> None:
    typed.return_value = "another"
    with pytest.raises(CommandExecutionError, match="file: the passphrase is wrong"):
        _decrypted(locked.file, locked.home)
    typed.side_effect = EOFError
    with pytest.raises(CommandExecutionError, match=r"file: the passphrase .* was not given"):
        _decrypted(locked.file, locked.home)


def test_nobody_is_asked_for_a_key_that_is_not_there(
    operator: Keyring, locked: Locked, typed: Mock
) -> None:
    with pytest.raises(CommandExecutionError, match="the private key is not in the keyring"):
        _decrypted(locked.file, operator.home)
    typed.assert_not_called()


def test_damage_is_told_and_not_a_passphrase_that_was_right(
    locked: Locked, typed: Mock, tmp_path: Path
) -> None:
    (tmp_path / "cut").write_bytes(locked.file.read_bytes()[:-5000])
    with pytest.raises(CommandExecutionError, match="cut: it is damaged"):
        _decrypted(tmp_path / "cut", locked.home)
    typed.assert_called_once()


def test_a_passphrase_of_a_key_for_the_pillar_is_not_asked_for(locked: Locked) -> None:
    words = ("--armor", "--trust-model", "always", "--encrypt", "--recipient", "locked")
    message = locked.run(*words, given=b"a password").decode()
    with pytest.raises(CommandExecutionError, match="has a passphrase, and nobody to give it"):
        metis_gpg.secret_keys([message], locked.home)


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a gpg that does something, and does not end then."""

    def make(does: str) -> None:
        (tmp_path / "gpg").write_text(f"#!/bin/sh\n{does}\nexec sleep 600\n")
        (tmp_path / "gpg").chmod(0o700)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(metis_gpg, "_TIMEOUT", 0.5)

    return make


@pytest.mark.parametrize(
    ("does", "why"),
    [("", "gpg gave nothing for 0.5 s"), ("echo a; exec >&-", "gpg did not end within 0.5 s")],
)
def test_a_gpg_that_hangs_ends_with_an_error(
    hanging: Callable[[str], None], tmp_path: Path, does: str, why: str
) -> None:
    hanging(does)
    (tmp_path / "file").touch()
    with pytest.raises(CommandExecutionError, match=why):
        _decrypted(tmp_path / "file", str(tmp_path))


def test_a_gpg_that_does_not_end_writes_no_backup(
    hanging: Callable[[str], None], tmp_path: Path
) -> None:
    hanging("cat >/dev/null")
    with pytest.raises(CommandExecutionError, match="gpg did not end within"):
        _encrypted([], str(tmp_path), b"secret", tmp_path / "file")


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


def test_what_broke_off_is_not_hidden_by_gpg_that_ended(
    operator: Keyring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(process: subprocess.Popen[bytes]) -> None:
        process.send_signal(signal.SIGKILL)
        process.wait()

    def broken_off() -> None:
        with (
            (tmp_path / "file").open("wb") as opened,
            metis_gpg.encrypting(receiver, operator.home, opened.fileno()) as clear,
        ):
            clear.write(b"secret")
            raise CommandExecutionError("the host broke off")

    monkeypatch.setattr(subprocess.Popen, "kill", killed)
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    with pytest.raises(CommandExecutionError, match="the host broke off"):
        broken_off()


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
