"""
Download of a release's artifacts: checked over every byte, whole or not at all.
"""

import hashlib
import logging
import os
import random
import tempfile
import time
from pathlib import Path

import requests
import salt.exceptions
import salt.utils.hashutils

__virtualname__ = "metis_artifact"

log = logging.getLogger(__name__)

ROUNDS = 4
CONNECT_TIMEOUT = 10
# Of one read, not of the whole download: a large file may take long, a silent server may not.
READ_TIMEOUT = 30
CHUNK = 1 << 20
UNPACK_TIMEOUT = 300


def checksum(path: str) -> str | None:
    """
    The sha256 of a file, in hex, or ``None`` where there is no such file.

    path
        An absolute path.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.checksum /opt/metis/carrier/current/carrier
    """
    if not os.path.isfile(path):
        return None
    return salt.utils.hashutils.get_hash(path, "sha256")


def _download(source: str, part: Path, sha256: str) -> str | None:
    """Fetch one source into ``part``; return what went wrong, or ``None``."""
    digest = hashlib.sha256()
    timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
    try:
        with requests.get(source, stream=True, timeout=timeout) as answer:
            answer.raise_for_status()
            with open(part, "wb") as file:
                for chunk in answer.iter_content(CHUNK):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
    except requests.RequestException as err:
        return f"{source}: {err}"
    if digest.hexdigest() != sha256:
        return f"{source}: has sha256 {digest.hexdigest()}, not {sha256}"
    return None


def fetch(path: str, sources: list[str], sha256: str, mode: str = "0644") -> None:
    """
    Download an artifact, from the first source that gives the right bytes.

    Every source is tried in turn, up to four rounds, with random pauses between the rounds that
    grow (up to 1, 2, 4 s). ``path`` appears only when every byte is there and right.

    path
        Where it shall stand; its directory must exist.
    sources
        URLs, in the order of preference.
    sha256
        Of the whole file, in hex.
    mode
        Of the file, in octal.

    Raises ``CommandExecutionError`` with what each source answered, when none gave the right bytes,
    and at once where the file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.fetch /tmp/consul.zip '[https://...]' 2b2f...
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        os.close(handle)
        part = Path(name)
        try:
            errors = _rounds(sources, part, sha256)
            if errors is None:
                part.chmod(int(mode, 8))
                os.replace(part, target)
                return
        finally:
            part.unlink(missing_ok=True)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"{target} cannot be written: {err.strerror}"
        ) from err
    raise salt.exceptions.CommandExecutionError(
        f"{target.name} could not be downloaded in {ROUNDS} rounds: " + "; ".join(errors)
    )


def _rounds(sources: list[str], part: Path, sha256: str) -> list[str] | None:
    """Ask one source after the other; return the last round's errors, or ``None``."""
    errors: list[str] = []
    for number in range(ROUNDS):
        if number:
            time.sleep(random.uniform(0.1, 2 ** (number - 1)))
        errors = []
        for source in sources:
            error = _download(source, part, sha256)
            if error is None:
                return None
            log.info("metis_artifact: %s", error)
            errors.append(error)
    return errors


def _mark(archive: str) -> Path:
    return Path(archive).with_name(f".{Path(archive).name}.unpacked")


def unpacked(archive: str, unpacks: str) -> str | None:
    """
    The checksum of the archive that was unpacked to its end, or ``None`` where none was.

    archive
        Its absolute path.
    unpacks
        The absolute path of a file that comes out of it.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.unpacked /opt/.../consul.zip /opt/.../consul
    """
    mark = _mark(archive)
    if not mark.is_file() or not os.path.isfile(unpacks):
        return None
    return mark.read_text("ascii").strip()


def unpack(archive: str, into: str, sha256: str, unpacks: str) -> None:
    """
    Unpack an archive over what an older one left, and mark it when it is done.

    archive
        Its absolute path; a ``.zip``, or anything that ``tar`` reads.
    into
        The absolute path of a directory.
    sha256
        Of the archive; the mark says it.
    unpacks
        The absolute path of a file that comes out of it. It is removed first: a program that runs
        cannot be written over, and goes on with what it has.

    Raises ``CommandExecutionError`` where it cannot be unpacked, or that file does not come out.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.unpack /opt/.../consul.zip /opt/.../0.3.0 2b2f... /opt/.../consul
    """
    _mark(archive).unlink(missing_ok=True)
    Path(unpacks).unlink(missing_ok=True)
    os.makedirs(into, mode=0o755, exist_ok=True)
    if archive.endswith(".zip"):
        try:
            __salt__["archive.unzip"](archive, into, extract_perms=True)
        except salt.exceptions.CommandExecutionError as err:
            raise salt.exceptions.CommandExecutionError(
                f"{archive} cannot be unpacked: {err}"
            ) from err
    else:
        done = __salt__["cmd.run_all"](
            ["tar", "--extract", "--no-same-owner", "--file", archive, "--directory", into],
            python_shell=False,
            timeout=UNPACK_TIMEOUT,
            ignore_retcode=True,
        )
        if done["retcode"]:
            raise salt.exceptions.CommandExecutionError(
                f"{archive} cannot be unpacked: {done['stderr']}"
            )
    if not os.path.isfile(unpacks):
        raise salt.exceptions.CommandExecutionError(f"{archive} does not hold {unpacks}")
    _mark(archive).write_text(f"{sha256}\n", "ascii")
