"""
Download of a release's artifacts: checked over every byte, whole or not at all.

A download that is cut off goes on where it was (HTTP Range), from whatever source answers: only the
checksum of the whole file decides. requests checks the certificates of servers, and takes a proxy
from the environment (``HTTPS_PROXY``, ``NO_PROXY``).
"""

import contextvars
import hashlib
import logging
import os
import random
import re
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import salt.exceptions
import salt.utils.hashutils
import urllib3

__virtualname__ = "metis_artifact"

log = logging.getLogger(__name__)

# Rounds over all sources in a row without progress.
ROUNDS = 4
CONNECT_TIMEOUT = 10
# Of one read, not of the whole download: a large file may take long, a silent server may not.
READ_TIMEOUT = 30
# A server that trickles is as bad as a silent one: bytes that have to come in so many seconds.
SLOWEST = (64 << 10, 60)
# Bytes that make a cut download worth another round.
WORTH = 1 << 20
CHUNK = 1 << 20
# Downloads of a host at once.
WORKERS = 4

# Called with the bytes that are there, and the bytes that there will be, where that is known.
Progress = Callable[[int, int | None], None]


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


class _SourceError(Exception):
    """A source did not give the right bytes; what it did is the text."""


def _download(
    session: requests.Session, source: str, part: Path, sha256: str | None, progress: Progress
) -> str:
    """
    Fetch what ``part`` lacks from one source; return the checksum of the whole.

    On a failure that another try can mend, ``part`` keeps what is there; what is wrong, it loses.
    """
    if source.startswith("salt://"):
        _copy_from_salt(source, part)
    else:
        try:
            _stream(session, source, part, progress)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as err:
            raise _SourceError(f"{source}: {_told(err)}") from err
    found = _hash(part)
    if sha256 is not None and found != sha256:
        _drop(part)
        raise _SourceError(f"{source}: has sha256 {found}, not {sha256}")
    return found


def _told(error: Exception) -> str:
    """What went wrong, in a line."""
    text = str(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return f"its certificate is not trusted: {text.rpartition('certificate verify failed')[2]}"
    if "Read timed out" in text:
        return f"said nothing for {READ_TIMEOUT} s"
    return text.partition("\n")[0]


def _drop(part: Path) -> None:
    os.truncate(part, 0)


def _hash(part: Path) -> str:
    with open(part, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _stream(session: requests.Session, source: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size
    # Compressed on the way, nobody could say where to go on.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    timeout = (CONNECT_TIMEOUT, READ_TIMEOUT)
    with session.get(source, stream=True, timeout=timeout, headers=headers) as answer:
        if have and answer.status_code == requests.codes.requested_range_not_satisfiable:
            # There is nothing behind what we have: it is the whole, or of another file.
            length = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
            if length and int(length[1]) == have:
                return
            _drop(part)
            raise _SourceError(f"{source}: has nothing behind byte {have}; begun anew")
        answer.raise_for_status()
        if have and answer.status_code == requests.codes.partial_content:
            given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            if not given or int(given[1]) != have:
                _drop(part)
                raise _SourceError(f"{source}: gives another part than the one it was asked for")
        elif answer.status_code == requests.codes.ok:
            # It does not know Range, and gives the whole.
            have = 0
        else:
            raise _SourceError(f"{source}: answers {answer.status_code}, which is no file")
        told = answer.headers.get("Content-Length", "")
        total = have + int(told) if told.isdigit() else None
        with open(part, "r+b") as file:
            file.truncate(have)
            file.seek(have)
            _receive(answer, file, source, have, total, progress)


def _receive(
    answer: requests.Response,
    file: Any,
    source: str,
    have: int,
    total: int | None,
    progress: Progress,
) -> None:
    least, seconds = SLOWEST
    since, then = time.monotonic(), have
    try:
        # What there is, and not as much as was asked for: that may never come.
        while chunk := answer.raw.read1(CHUNK, decode_content=True):
            file.write(chunk)
            have += len(chunk)
            progress(have, total)
            if have - then >= least:
                since, then = time.monotonic(), have
            elif time.monotonic() - since > seconds:
                raise _SourceError(f"{source}: gives less than {least} bytes in {seconds} s")
    finally:
        file.flush()
        os.fsync(file.fileno())


# A minion has one connection to the master's file server.
_SALT = threading.Lock()


def _copy_from_salt(source: str, part: Path) -> None:
    """From the master's file server, which the minion speaks to anyway."""
    # It knows no part of a file; a half from elsewhere is not given up for nothing.
    whole = part.with_name(f"{part.name}.whole")
    try:
        with _SALT:
            got = __salt__["cp.get_file"](source, str(whole))
        if not got:
            raise _SourceError(f"{source}: the master's file server does not have it")
        os.replace(whole, part)
    except salt.exceptions.SaltException as err:
        raise _SourceError(f"{source}: {err}") from err
    finally:
        whole.unlink(missing_ok=True)


def fetch(
    path: str,
    sources: list[str],
    sha256: str,
    mode: str = "0644",
    part: str | None = None,
    progress: Progress | None = None,
    proxy: bool = True,
) -> None:
    """
    Download an artifact, from the first source that gives the right bytes.

    Every source is tried in turn, round after round, with random pauses between the rounds that
    grow (up to 1, 2, 4 s); four rounds in a row that bring nothing end it. ``path`` appears only
    when every byte is there and right.

    path
        Where it shall stand; its directory must exist.
    sources
        Addresses in the order of preference: ``http://``, ``https://`` or ``salt://``.
    sha256
        Of the whole file, in hex.
    mode
        Of the file, in octal.
    part
        Where a download that was cut off is kept, to go on with at the next call; the same file
        system as ``path``. Without it nothing is kept.
    progress
        Called with the bytes that are there, and how many there will be or ``None``.
    proxy
        Whether a proxy that the environment names is used.

    Raises ``CommandExecutionError`` with what each source answered, when none gave the right bytes,
    and at once where the file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.fetch /tmp/consul.zip '[https://...]' 2b2f...
    """
    _fetch(Path(path), sources, sha256, mode, part, progress, proxy)


def fetch_all(store: dict[str, Any], wanted: dict[str, dict[str, str]]) -> dict[str, str]:
    """
    Download artifacts from the master's store, several at once. One that was cut off goes on where
    it was, also in the next run.

    store
        As of ``sources``.
    wanted
        The absolute path of each, whose directory must exist, to its ``stored``, ``sha256`` and
        ``mode``.

    Returns the path of each that is not there in the end to the reason.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.fetch_all '{address: null, port: 8014}' '{}'
    """

    def one(path: str, artifact: dict[str, str]) -> None:
        # What another file left is no part of this one.
        part = Path(path).with_name(f".{Path(path).name}.{artifact['sha256'][:12]}")
        found = sources(store, artifact["stored"])
        # The master is near; a proxy is for what is far.
        fetch(path, found, artifact["sha256"], artifact["mode"], str(part), proxy=False)

    with ThreadPoolExecutor(WORKERS) as pool:
        # Salt knows by the context whose __salt__ it is; a thread has none of its own.
        running = {
            path: pool.submit(contextvars.copy_context().run, one, path, artifact)
            for path, artifact in wanted.items()
        }
    failed = {}
    for path, future in running.items():
        try:
            future.result()
        except salt.exceptions.CommandExecutionError as err:
            failed[path] = str(err)
    return failed


def fetch_unchecked(
    path: str, sources: list[str], part: str | None = None, progress: Progress | None = None
) -> str:
    """
    Download what nobody knows the checksum of, to be looked at; never to be used as it is.

    path
        Where it shall stand, mode 0600; its directory must exist.
    sources
        Addresses in the order of preference.
    part
        As of ``fetch``.
    progress
        As of ``fetch``.

    Returns its sha256. Raises what ``fetch`` raises.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_artifact.fetch_unchecked /root/carrier '[https://...]'
    """
    return _fetch(Path(path), sources, None, "0600", part, progress, True)


def _fetch(
    target: Path,
    sources: list[str],
    sha256: str | None,
    mode: str,
    kept: str | None,
    progress: Progress | None,
    proxy: bool,
) -> str:
    try:
        if kept:
            part = Path(kept)
            part.touch(0o600)
        else:
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
            os.close(handle)
            part = Path(name)
        try:
            with requests.Session() as session:
                session.trust_env = proxy
                found = _rounds(session, sources, part, sha256, progress or _nobody)
            if isinstance(found, str):
                part.chmod(int(mode, 8))
                os.replace(part, target)
                return found
        finally:
            if not kept or (part.exists() and part.stat().st_size == 0):
                part.unlink(missing_ok=True)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"{target} cannot be written: {err.strerror}"
        ) from err
    raise salt.exceptions.CommandExecutionError(
        f"{target.name} could not be downloaded in {ROUNDS} rounds: "
        + ("; ".join(found) or "no source is known")
    )


def cpu() -> str:
    """
    Which builds this host's processor can run: ``avx2`` or ``no_avx2``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.cpu
    """
    return "avx2" if "avx2" in __grains__.get("cpu_flags", []) else "no_avx2"


def sources(store: dict[str, Any], stored: str) -> list[str]:
    """
    Where a host gets what is in the master's store: over HTTP, else from Salt's file server.

    store
        ``address``, or ``None`` where the minion reaches its master, and ``port``.
    stored
        The file's path in the store.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_artifact.sources '{address: null, port: 8014}' 0.3.0/carrier
    """
    address = store["address"] or __opts__.get("master_ip") or __opts__["master"]
    if ":" in address:
        address = f"[{address.strip('[]')}]"
    return [
        f"http://{address}:{store['port']}/{stored}",
        f"salt://{stored}?saltenv=metis_store",
    ]


def _nobody(have: int, total: int | None) -> None:
    """Be told of progress."""


def _rounds(
    session: requests.Session,
    sources: list[str],
    part: Path,
    sha256: str | None,
    progress: Progress,
) -> str | list[str]:
    """Ask one source after the other; return the checksum, or the last round's errors."""
    errors: list[str] = []
    failed = 0
    most = part.stat().st_size
    while failed < ROUNDS:
        if errors:
            time.sleep(random.uniform(0.1, 2 ** max(failed - 1, 0)))
        errors = []
        for source in sources:
            try:
                return _download(session, source, part, sha256, progress)
            except _SourceError as err:
                log.info("metis_artifact: %s", err)
                errors.append(str(err))
        size = part.stat().st_size
        # Who cuts every download gives all of it in the end.
        failed = 0 if size >= most + WORTH else failed + 1
        most = max(most, size)
    return errors
