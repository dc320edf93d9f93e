"""
Encryption for an operator's key, with GnuPG: streamed, so that nothing is written in clear.

Runs on the master.
"""

import contextlib
import os
import re
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
# What gpg says, in an operator's words.
_LACKS = {
    "[GNUPG:] PINENTRY_LAUNCHED": "the passphrase of the key was not given; where nobody can "
    "be asked, unlock the key in gpg-agent first",
    "No secret key": "the private key is not in the keyring {home}",
    "[GNUPG:] INV_RECP": "the key cannot be encrypted for: it has ended, was revoked, or is not in "
    "{home}",
    "[GNUPG:] NODATA": "it is no file that GnuPG encrypted",
    "[GNUPG:] BADMDC": "it is damaged",
    "[GNUPG:] DECRYPTION_FAILED": "it is damaged",
}


def _environment() -> dict[str, str]:
    """With what it says in English, and with the terminal where it may ask for a passphrase."""
    terminal = {"GPG_TTY": os.ttyname(0)} if sys.stdin and sys.stdin.isatty() else {}
    return {**os.environ, "LC_ALL": "C", **terminal}


def _command(home: str, *words: str) -> list[str]:
    program = shutil.which("gpg")
    if not program:
        raise salt.exceptions.CommandExecutionError("the master has no gpg: apt-get install gnupg")
    return [program, "--homedir", home, "--quiet", "--no-tty", *words]


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
    *("--batch", "--yes", "--status-fd", "2", "--trust-model", "always"),
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
        with subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=into,
            stderr=errors,
            cwd=folder,
            env=_environment(),
        ) as gpg:
            stdin = gpg.stdin
            assert stdin is not None
            broken = False
            try:
                yield stdin
                stdin.close()
            except BrokenPipeError:
                # It says itself why.
                broken = True
            except BaseException:
                gpg.kill()
                raise
            gpg.wait(_TIMEOUT)
        if gpg.returncode or broken:
            errors.seek(0)
            raise salt.exceptions.CommandExecutionError(
                f"encrypting failed: {_why(errors.read().decode('utf-8', 'replace'), home)}"
            )


@contextlib.contextmanager
def decrypting(file: str, home: str) -> Iterator[IO[bytes]]:
    """
    Read what was encrypted. A passphrase is asked for by gpg itself, where there is a terminal.

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
            source = stack.enter_context(open(file, "rb"))
        except OSError as err:
            raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err
        errors = stack.enter_context(tempfile.TemporaryFile())
        gpg = stack.enter_context(
            subprocess.Popen(
                _command(home, "--status-fd", "2", "--decrypt"),
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(),
            )
        )
        stdout = gpg.stdout
        assert stdout is not None
        try:
            yield stdout
            # What follows the last that was wanted counts for its being undamaged.
            while stdout.read(1 << 20):
                pass
        except BaseException:
            gpg.kill()
            raise
        gpg.wait(_TIMEOUT)
        if gpg.returncode:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace")
            raise salt.exceptions.CommandExecutionError(f"{file}: {_why(said, home)}")


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
    try:
        done = subprocess.run(
            _command(home, "--batch", *words),
            input=given,
            capture_output=True,
            timeout=_TIMEOUT,
            check=False,
            env=_environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise salt.exceptions.CommandExecutionError(f"gpg cannot be used: {err}") from err
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        raise salt.exceptions.CommandExecutionError(f"the keyring {home}: {_why(said, home)}")
    return done.stdout
