"""
What a host has that nobody can make again: what consul knows, carrier's identity, admin's database.
How it leaves the host for a backup, and comes back from one.

Both ways it is sealed for its receiver (``metis_sealed``). To the master it goes in the returns of
jobs, in pieces, as Salt takes no files from hosts by default; from the master it comes by Salt's
file server.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_backup_host"

CONSUL, IDENTITY, DATABASE = "consul.snapshot", "p2p.key", "database.sql.gz"
# Characters of sealed pieces in one return: Salt's bus cuts off what is above a million.
_RETURN = 900_000
_DUMP_TIMEOUT = 3600
_MARIADB = "/var/lib/mysql"
_CHUNK = 1 << 20


def _view() -> dict[str, Any]:
    """
    This host's view, as the master has it now. It has passwords, so it is not for the command line.
    """
    found = __salt__["pillar.items"](unmask=True).get("metis")
    if not found:
        raise salt.exceptions.CommandExecutionError(
            f"{__opts__['id']} is a host of no valid organization file"
        )
    return found


def _database(view: dict[str, Any]) -> str:
    admin = view["roles"]["admin"]
    return admin["releases"][admin["instances"][0]["release"]]["facts"]["database"]


def _identity(view: dict[str, Any]) -> str:
    return view["roles"]["carrier"]["instances"][0]["p2p_key"]


def parts(instances: list[dict[str, Any]], agent: str) -> dict[str, list[str]]:
    """
    Which host has which part.

    instances
        Of a topology.
    agent
        The host of the consul server that all programs ask, which has what all servers know.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_host.parts '[{role: carrier, host: demo1}]' demo1
    """
    found: dict[str, list[str]] = {}
    of = {"consul": CONSUL, "carrier": IDENTITY, "admin": DATABASE}
    for instance in instances:
        part = of.get(instance["role"])
        if part and (part != CONSUL or instance["host"] == agent):
            found.setdefault(instance["host"], []).append(part)
    return found


def look() -> dict[str, str]:
    """
    What this host has now of what a backup brings back.

    Returns part to ``""``, or for carrier's identity to its checksum, which says whether it is the
    same; a part that is not there is left out.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_backup_host.look
    """
    view = _view()
    roles = view["roles"]
    found = {}
    if "consul" in roles and os.path.exists(f"{roles['consul']['data']}/raft"):
        found[CONSUL] = ""
    if "carrier" in roles and os.path.exists(_identity(view)):
        found[IDENTITY] = __salt__["metis_artifact.checksum"](_identity(view))
    if "admin" in roles and os.path.exists(f"{_MARIADB}/{_database(view)}"):
        found[DATABASE] = ""
    return found


# Giving


def _spool() -> Path:
    return Path(__opts__["cachedir"], "metis", "backup")


def _consul_chunks(view: dict[str, Any]) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory(prefix="metis-", dir=__opts__["cachedir"]) as folder:
        file = f"{folder}/snapshot"
        __salt__["metis_consul.save_snapshot"](view["agent"], file)
        with open(file, "rb") as opened:
            while chunk := opened.read(_CHUNK):
                yield chunk


def _identity_chunks(view: dict[str, Any]) -> Iterator[bytes]:
    yield Path(_identity(view)).read_bytes()


def _database_chunks(view: dict[str, Any]) -> Iterator[bytes]:
    dump = __salt__["metis_schema.dump_command"](_database(view))
    packed = zlib.compressobj(wbits=31)
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            ["timeout", str(_DUMP_TIMEOUT), *dump], stdout=subprocess.PIPE, stderr=errors
        ) as running:
            assert running.stdout is not None
            while chunk := running.stdout.read(_CHUNK):
                yield packed.compress(chunk)
        if running.returncode:
            errors.seek(0)
            said = errors.read().decode("utf-8", "replace").strip()
            raise salt.exceptions.CommandExecutionError(
                f"dumping {_database(view)} failed: {said or f'exit code {running.returncode}'}"
            )
    yield packed.flush()


def _version(part: str, view: dict[str, Any]) -> str | None:
    if part == CONSUL:
        return __salt__["metis_consul.version"](view["agent"])
    if part == DATABASE:
        return __salt__["metis_mysql.ask"](["--execute", "SELECT VERSION()"]).strip()
    return None


_CHUNKS = {CONSUL: _consul_chunks, IDENTITY: _identity_chunks, DATABASE: _database_chunks}


class _Counted:
    """Chunks that pass by, with their size and checksum when they have."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.size = 0
        self._chunks = chunks
        self._digest = hashlib.sha256()

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self.size += len(chunk)
            self._digest.update(chunk)
            yield chunk

    def sha256(self) -> str:
        return self._digest.hexdigest()


def give(parts: dict[str, list[str]], key: str) -> dict[str, dict[str, Any]]:
    """
    Seal parts for the master. What does not fit into the answer is kept, as ciphertext, until it
    has been asked for with ``piece``, and ``forget`` has been called.

    parts
        Host to its parts; one job serves all hosts.
    key
        The public key of the one who gets them, PEM.

    Returns part to ``{"size", "sha256", "version", "pieces", "sealed"}``: of what it is in clear,
    and how many sealed pieces there are, of which ``sealed`` has the first.

    Raises ``CommandExecutionError`` where a part is not to be had, and returns none then.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_backup_host.give '{demo1: [p2p.key]}' '-----BEGIN PUBLIC KEY-----...'
    """
    forget()
    view = _view()
    found: dict[str, dict[str, Any]] = {}
    room = _RETURN
    try:
        for part in parts[__opts__["id"]]:
            chunks = _Counted(_CHUNKS[part](view))
            folder = _spool() / part
            folder.mkdir(mode=0o700, parents=True)
            pieces = 0
            sealed: list[str] = []
            for line in __salt__["metis_sealed.lines"](key, iter(chunks)):
                if pieces == len(sealed) and len(line) <= room:
                    room -= len(line)
                    sealed.append(line)
                else:
                    room = 0
                    (folder / str(pieces)).write_text(line, "ascii")
                pieces += 1
            found[part] = {
                "size": chunks.size,
                "sha256": chunks.sha256(),
                "version": _version(part, view),
                "pieces": pieces,
                "sealed": sealed,
            }
    except OSError as err:
        forget()
        raise salt.exceptions.CommandExecutionError(f"{err.filename}: {err.strerror}") from err
    except salt.exceptions.CommandExecutionError:
        forget()
        raise
    if all(part["pieces"] == len(part["sealed"]) for part in found.values()):
        forget()
    return found


def piece(part: str, number: int) -> str:
    """
    A sealed piece of what ``give`` kept.

    part
        As ``give`` was asked for.
    number
        Which, from 0.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_backup_host.piece database.sql.gz 1
    """
    file = _spool() / part / str(int(number))
    try:
        return file.read_text("ascii")
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err


def forget() -> bool:
    """
    Remove what ``give`` kept.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_backup_host.forget
    """
    shutil.rmtree(_spool(), ignore_errors=True)
    if _spool().exists():
        raise salt.exceptions.CommandExecutionError(f"{_spool()} cannot be removed")
    return True


# Taking


def take(part: str, stored: str, sha256: str, **kwargs: Any) -> bool:
    """
    Make a part of this host what a backup says. What it was is lost. Nothing else works on this
    host meanwhile, should the run be cut off that told it.

    part
        Which.
    stored
        Where it is in the master's store, sealed for this host.
    sha256
        What its checksum is in clear.

    Raises ``CommandExecutionError`` where another run is at work on this host, it cannot be fetched
    or opened, is not what it should be, or cannot be put in its place.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_backup_host.take p2p.key _restore/demo/p2p.key 9f86d0...
    """
    __salt__["metis_host.alone"]("metis_backup_host.take", kwargs.get("__pub_jid"))
    view = _view()
    fetched = __salt__["cp.cache_file"](f"salt://{stored}?saltenv=metis_store")
    if not fetched:
        raise salt.exceptions.CommandExecutionError(
            f"the master does not serve {stored}: look whether file_roots has metis_store, as in "
            "master.d/metis.conf"
        )
    try:
        with tempfile.TemporaryDirectory(prefix="metis-", dir=__opts__["cachedir"]) as folder:
            file = f"{folder}/{part}"
            _open(fetched, file, sha256)
            # What is put back is the organization's, as what a deploy makes.
            __salt__["metis_ownership.mark"](view)
            _TAKE[part](view, file, sha256)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{err.filename}: {err.strerror}") from err
    finally:
        Path(fetched).unlink(missing_ok=True)
    return True


def _open(sealed: str, file: str, sha256: str) -> None:
    key = __salt__["metis_sealed.private"](f"{__opts__['pki_dir']}/minion.pem")
    digest = hashlib.sha256()
    handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(sealed, encoding="ascii") as lines, open(handle, "wb") as clear:
        for chunk in __salt__["metis_sealed.opened"](key, lines):
            digest.update(chunk)
            clear.write(chunk)
    if digest.hexdigest() != sha256:
        raise salt.exceptions.CommandExecutionError(
            f"what came has sha256 {digest.hexdigest()}, not {sha256}"
        )


def _stop(unit: str) -> None:
    if __salt__["metis_unit.facts"]([unit])[unit]["state"] not in ("absent", "inactive", "failed"):
        __salt__["metis_unit.act"]("stop", [unit])


def _take_consul(view: dict[str, Any], file: str, sha256: str) -> None:
    __salt__["metis_consul.load_snapshot"](view["agent"], file)
    # Where programs are may have changed since.
    for key, value in view["roles"]["consul"]["instances"][0]["keys"].items():
        __salt__["metis_consul.set_key"](view["agent"], key, value)


def _take_identity(view: dict[str, Any], file: str, sha256: str) -> None:
    path = _identity(view)
    if __salt__["metis_artifact.checksum"](path) != sha256:
        _stop("metis-carrier.service")
        __salt__["metis_p2p_key.put_back"](path, view["roles"]["carrier"]["user"], file)


def _take_database(view: dict[str, Any], file: str, sha256: str) -> None:
    # Of the same name in every run: one that is cut off is seen in the database, and whoever looks
    # next reads the file back first (metis_schema).
    dump = Path(view["roles"]["admin"]["data"], "backups", f"restored-{sha256[:12]}.sql.gz")
    dump.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(file, _private(f"{dump}.part"))
    os.replace(f"{dump}.part", dump)
    _stop("metis-admin.service")
    mariadb = __salt__["metis_unit.facts"](["mariadb.service"])["mariadb.service"]
    if mariadb["masked"]:
        __salt__["metis_unit.act"]("unmask", ["mariadb.service"])
    if mariadb["state"] != "active":
        __salt__["metis_unit.act"]("start", ["mariadb.service"])
    __salt__["metis_schema.restore"](_database(view), str(dump))
    __salt__["metis_mysql.settle"]()
    dump.unlink()


def _private(file: str) -> str:
    """A new, empty file for root alone."""
    Path(file).unlink(missing_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    return file


_TAKE = {CONSUL: _take_consul, IDENTITY: _take_identity, DATABASE: _take_database}
