"""
Encryption for an operator's key, with GnuPG: streamed, so that nothing is written in clear.

gpg never asks for a passphrase itself: its pinentry outlives it, and waits for ever. Where there is
a terminal, it is asked for here.

Runs on the master.
"""

import contextlib
import getpass
import io
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import salt.exceptions

__virtualname__ = "metis_gpg"

_TIMEOUT = 60
_KEY = re.compile(r"(0x)?[0-9A-Fa-f]{16}([0-9A-Fa-f]{24})?")
# What gpg says, in an operator's words; the first of these counts. `DECRYPTION_INFO` comes once the
# key has opened the file.
_LACKS = {
    "[GNUPG:] DECRYPTION_INFO": "it is damaged",
    "[GNUPG:] NODATA": "it is no file that GnuPG encrypted",
    "[GNUPG:] INV_RECP": "the key cannot be encrypted for: it has ended, was revoked, or is not in "
    "{home}",
    "No secret key": "the private key is not in the keyring {home}",
    "No pinentry": "a private key in the keyring {home} has a passphrase, and nobody to give it",
}
# gpg has one word for these, and for a key that is not there.
_NOT_GIVEN = (
    "the passphrase of the key was not given, or the file is damaged at its beginning; where "
    "nobody can be asked, unlock the key in gpg-agent first"
)
_WRONG = "the passphrase is wrong, or the file is damaged at its beginning"


def _environment() -> dict[str, str]:
    """With what it says in English, and no terminal."""
    return {k: v for k, v in os.environ.items() if k != "GPG_TTY"} | {"LC_ALL": "C"}


def _command(home: str, *words: str) -> list[str]:
    program = shutil.which("gpg")
    if not program:
        raise salt.exceptions.CommandExecutionError("the master has no gpg: apt-get install gnupg")
    alone = ("--quiet", "--no-tty", "--batch", "--pinentry-mode", "error")
    return [program, "--homedir", home, *alone, *words]


def keyring(given: Any) -> str:
    """
    The folder of a keyring.

    given
        The one that the operator names; GnuPG's usual one where that is nothing.

    Raises ``CommandExecutionError`` where there is none.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_gpg.keyring /root/.gnupg
    """
    home = str(given or os.environ.get("GNUPGHOME") or Path.home() / ".gnupg")
    if given and not os.path.isdir(home):
        raise salt.exceptions.CommandExecutionError(f"keyring: there is no folder {home}")
    return home


def receiver(recipient: Any, home: str) -> list[str]:
    """
    What tells gpg for whom to encrypt, once it was seen to work.

    recipient
        The absolute path of a file with a public key, or a key's id or fingerprint, 16 or 40 hex
        digits. A name is not enough: a keyring may have several of it.
    home
        The folder of the keyring where an id is looked up.

    Raises ``CommandExecutionError`` where it is none of these, or nothing can be encrypted for it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_gpg.receiver /root/operator.asc /root/.gnupg
    """
    text = str(recipient)
    if text.startswith("/"):
        if not os.access(text, os.R_OK) or not os.path.isfile(text):
            raise salt.exceptions.CommandExecutionError(
                f"recipient: {text} is no file that the user of salt-run can read"
            )
        found = ["--recipient-file", text]
    elif _KEY.fullmatch(text):
        found = ["--recipient", text]
    else:
        raise salt.exceptions.CommandExecutionError(
            f"recipient is {text!r}: give the absolute path of a file with a public key, or the "
            "fingerprint of a key (gpg --fingerprint) in the keyring"
        )
    with _scratch(home) as (folder, there), tempfile.TemporaryFile() as nothing:
        try:
            done = subprocess.run(
                _command(there, *_ENCRYPT, *found),
                stdin=nothing,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT,
                check=False,
                cwd=folder,
                env=_environment(),
            )
        except (OSError, subprocess.TimeoutExpired) as err:
            raise salt.exceptions.CommandExecutionError(f"gpg cannot be used: {err}") from err
    if done.returncode:
        raise salt.exceptions.CommandExecutionError(f"recipient {text}: {_why(done.stderr, home)}")
    return found


_ENCRYPT = (
    *("--yes", "--status-fd", "2", "--trust-model", "always"),
    *("--compress-algo", "none", "--cipher-algo", "AES256", "--encrypt"),
)


@contextlib.contextmanager
def _scratch(home: str) -> Iterator[tuple[str, str]]:
    """A folder of one's own, and the keyring: an empty one in it where the operator has none."""
    with tempfile.TemporaryDirectory(prefix="metis-gpg-") as folder:
        yield folder, home if os.path.isdir(home) else folder


def _why(said: str, home: str) -> str:
    """What gpg says, in a sentence."""
    for word, reason in _LACKS.items():
        if word in said:
            return reason.format(home=home)
    lines = [line for line in said.splitlines() if line.startswith("gpg: ")]
    return lines[-1].removeprefix("gpg: ") if lines else "gpg failed"


@contextlib.contextmanager
def _running(command: list[str], **streams: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A gpg that ends with what it is for."""
    with subprocess.Popen(command, env=_environment(), **streams) as gpg:
        try:
            yield gpg
            _end(gpg)
        except BaseException:
            gpg.kill()
            if gpg.stdin:
                # What is still to be written has no reader, and would hide what happened.
                with contextlib.suppress(BrokenPipeError):
                    gpg.stdin.close()
            raise


def _end(gpg: subprocess.Popen[bytes]) -> None:
    try:
        gpg.wait(_TIMEOUT)
    except subprocess.TimeoutExpired as err:
        raise salt.exceptions.CommandExecutionError(
            f"gpg did not end within {_TIMEOUT} s, and was killed: look at gpg-agent"
        ) from err


def _said(errors: IO[bytes]) -> str:
    errors.seek(0)
    return errors.read().decode("utf-8", "replace")


@contextlib.contextmanager
def encrypting(words: list[str], home: str, into: int) -> Iterator[IO[bytes]]:
    """
    Encrypt what is written.

    words
        As ``receiver`` returns them.
    home
        The folder of the keyring.
    into
        The descriptor of a file, which gets the ciphertext. It is whole when this ends without an
        error.

    Raises ``CommandExecutionError`` where gpg fails.
    """
    with _scratch(home) as (folder, there), tempfile.TemporaryFile() as errors:
        command = _command(there, *_ENCRYPT, *words)
        broken = False
        streams = {"stdin": subprocess.PIPE, "stdout": into, "stderr": errors, "cwd": folder}
        with _running(command, **streams) as gpg:
            stdin = gpg.stdin
            assert stdin is not None
            try:
                yield stdin
                stdin.close()
            except BrokenPipeError:
                # It says itself why.
                broken = True
        if gpg.returncode or broken:
            raise salt.exceptions.CommandExecutionError(
                f"encrypting failed: {_why(_said(errors), home)}"
            )


@contextlib.contextmanager
def decrypting(file: str, home: str) -> Iterator[IO[bytes]]:
    """
    Read what was encrypted. A passphrase that gpg-agent does not know is asked for, where there is
    a terminal.

    file
        The absolute path.
    home
        The folder of the keyring that has the private key.

    Nothing that was read may be used before this ends without an error: only then is the whole of
    it known to be undamaged.

    Raises ``CommandExecutionError`` where it cannot be read or decrypted to its end.
    """
    with contextlib.ExitStack() as stack:
        try:
            source = stack.enter_context(open(file, "rb", buffering=0))
        except OSError as err:
            raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err
        gpg, errors = stack.enter_context(_decryption(source, home))
        locked = _NOT_GIVEN if _is_locked(gpg, errors, home) else ""
        if locked and sys.stdin and sys.stdin.isatty():
            again = _decryption(source, home, _passphrase(file))
            gpg, errors = stack.enter_context(again)
            locked = _WRONG if _is_locked(gpg, errors, home) else ""
        if locked:
            raise salt.exceptions.CommandExecutionError(f"{file}: {locked}")
        stdout = _stdout(gpg)
        yield stdout
        # What follows the last that was wanted counts for its being undamaged.
        while stdout.read(1 << 20):
            pass
        _end(gpg)
        if gpg.returncode:
            raise salt.exceptions.CommandExecutionError(f"{file}: {_why(_said(errors), home)}")


@contextlib.contextmanager
def _decryption(
    source: IO[bytes], home: str, passphrase: bytes | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], IO[bytes]]]:
    """A gpg that decrypts, and the file of what it says."""
    source.seek(0)
    words: list[str] = []
    passed: list[int] = []
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(tempfile.TemporaryFile())
        if passphrase is not None:
            given, giving = os.pipe()
            stack.callback(os.close, given)
            with open(giving, "wb") as opened:
                opened.write(passphrase + b"\n")
            words, passed = ["--pinentry-mode", "loopback", "--passphrase-fd", str(given)], [given]
        command = _command(home, *words, "--status-fd", "2", "--decrypt")
        streams = {"stdin": source, "stdout": subprocess.PIPE, "stderr": errors}
        gpg = stack.enter_context(_running(command, **streams, pass_fds=passed))
        yield gpg, errors


def _stdout(gpg: subprocess.Popen[bytes]) -> io.BufferedReader:
    assert isinstance(gpg.stdout, io.BufferedReader)
    return gpg.stdout


def _is_locked(gpg: subprocess.Popen[bytes], errors: IO[bytes], home: str) -> bool:
    """Whether gpg gave nothing, although the keyring has a private key that the file is for."""
    if not select.select([_stdout(gpg)], [], [], _TIMEOUT)[0]:
        raise salt.exceptions.CommandExecutionError(
            f"gpg gave nothing for {_TIMEOUT} s, and was killed: look at gpg-agent"
        )
    if _stdout(gpg).peek(1):
        return False
    _end(gpg)
    said = _said(errors)
    keys = re.findall(r"^\[GNUPG:\] ENC_TO ([0-9A-F]{16})", said, re.MULTILINE)
    if not gpg.returncode or "[GNUPG:] DECRYPTION_INFO" in said or not keys:
        return False
    # It fails where one of them is not there.
    listed = _done(home, "--with-colons", "--list-secret-keys", *keys).stdout.decode()
    fields = [line.split(":") for line in listed.splitlines()]
    # Of a key with a `#` the private half is elsewhere.
    return any(f[0] in ("sec", "ssb") and f[4] in keys and f[14] != "#" for f in fields)


def _passphrase(file: str) -> bytes:
    try:
        return getpass.getpass(f"Passphrase of the key that opens {file}: ").encode()
    except EOFError as err:
        raise salt.exceptions.CommandExecutionError(f"{file}: {_NOT_GIVEN}") from err


def secret_keys(messages: list[str], home: str) -> bytes:
    """
    The private keys that messages are encrypted for, as far as a keyring has them, armored.

    messages
        Armored.
    home
        The folder of the keyring; its keys have no passphrase.

    Raises ``CommandExecutionError`` where gpg fails.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_gpg.secret_keys '[]' /etc/salt/gpgkeys
    """
    keys: set[str] = set()
    for message in messages:
        listed = _run(home, "--list-only", "--list-packets", given=message.encode())
        keys |= set(re.findall(r"^:pubkey enc packet:.* keyid ([0-9A-F]+)", listed.decode(), re.M))
    if not keys:
        return b""
    return _run(home, "--armor", "--export-secret-keys", *sorted(keys))


def take_keys(keys: bytes, home: str) -> None:
    """
    Put keys into a keyring, which is made where there is none.

    keys
        Armored.
    home
        The folder of the keyring.

    Raises ``CommandExecutionError`` where gpg fails.
    """
    Path(home).mkdir(mode=0o700, parents=True, exist_ok=True)
    _run(home, "--import", given=keys)


def _run(home: str, *words: str, given: bytes = b"") -> bytes:
    done = _done(home, *words, given=given)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        raise salt.exceptions.CommandExecutionError(f"the keyring {home}: {_why(said, home)}")
    return done.stdout


def _done(home: str, *words: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            _command(home, *words),
            input=given,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            env=_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise salt.exceptions.CommandExecutionError(f"gpg cannot be used: {err}") from err
