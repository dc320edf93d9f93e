"""
The file of a backup: a tar that is encrypted for an operator's key.

Its first member is ``manifest.json``: what the backup is of, and the size and the checksum of every
other member. It is written and read as a stream, and never rests in clear.

Runs on the master.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import salt.exceptions

__virtualname__ = "metis_backup_file"

Data = dict[str, Any]
Take = Callable[[str, Iterator[bytes]], None]

_FORMAT = 1
_CHUNK = 1 << 20
_LARGEST_MANIFEST = 4 << 20
_MANIFEST = "manifest.json"


def target_fault(to: Any) -> str:
    """
    What keeps a file from being written, or ``""``.

    to
        Its path, as the operator gave it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_file.target_fault /root/demo.backup
    """
    path = Path(str(to))
    if not to or not path.is_absolute():
        return f"to is {to!r}: give the absolute path of a file on the master"
    if os.path.lexists(path):
        return f"to: {path} is there already, and is left as it is: name another file"
    if not path.parent.is_dir():
        return f"to: there is no folder {path.parent}"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return f"to: the user of salt-run cannot write into {path.parent}"
    return ""


class _Source(io.RawIOBase):
    """Chunks as a file that tarfile reads, which remembers what passed."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = b""
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        while len(self._rest) < size:
            chunk = next(self._chunks, None)
            if chunk is None:
                break
            self.digest.update(chunk)
            self._rest += chunk
        found, self._rest = self._rest[:size], self._rest[size:]
        return found

    def is_spent(self) -> bool:
        return not self._rest and not any(self._chunks)


def write(
    to: str,
    receiver: list[str],
    keyring: str,
    manifest: Data,
    sources: Mapping[str, Iterable[bytes]],
) -> int:
    """
    Write a backup: the whole of it, or nothing. Mode 0600.

    to
        The file; it must not exist.
    receiver
        For whom, as ``metis_gpg.receiver`` returns it.
    keyring
        The folder of the keyring.
    manifest
        What it is of; its ``files`` has the size and the checksum of every member.
    sources
        Member to its content.

    Returns its size in bytes.

    Raises ``CommandExecutionError`` where it cannot be written, or a member is not what the
    manifest says.
    """
    target = Path(to)
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with (
                os.fdopen(handle, "wb") as opened,
                __salt__["metis_gpg.encrypting"](receiver, keyring, opened.fileno()) as clear,
            ):
                _pack(clear, manifest | {"format": _FORMAT}, sources)
            with open(draft, "rb") as whole:
                os.fsync(whole.fileno())
            _name(draft, target)
        finally:
            Path(draft).unlink(missing_ok=True)
        return target.stat().st_size
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"{to} cannot be written: {err.strerror or err}"
        ) from err


def _name(draft: str, target: Path) -> None:
    """Give a file its name, and never take the place of what was written meanwhile."""
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:
        # As vfat and some network drives, which know no hard links.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.replace(draft, target)
        except BaseException:
            target.unlink()
            raise


def _pack(clear: IO[bytes], manifest: Data, sources: Mapping[str, Iterable[bytes]]) -> None:
    with tarfile.open(fileobj=clear, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        text = json.dumps(manifest, indent=1).encode()
        tar.addfile(_member(_MANIFEST, len(text)), io.BytesIO(text))
        for name, chunks in sources.items():
            known, source = manifest["files"][name], _Source(chunks)
            try:
                tar.addfile(_member(name, known["size"]), source)
            except BrokenPipeError:
                raise
            except OSError as err:
                # tarfile's word for a source that ends too soon.
                raise _changed(name) from err
            if not source.is_spent() or source.digest.hexdigest() != known["sha256"]:
                raise _changed(name)


def _changed(name: str) -> Exception:
    return salt.exceptions.CommandExecutionError(
        f"{name} did not come as it was announced: give the same command again"
    )


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


# Reading


def walk(path: str, keyring: str, take: Take | None = None) -> dict[str, Any]:
    """
    Look at every byte of a backup.

    path
        The file.
    keyring
        The folder of the keyring that has the private key.
    take
        Called with the name and the content of every member, in chunks. Nothing of it may be used
        before this has returned without problems.

    Returns ``{"manifest": ..., "problems": [...]}``: what the backup is of, or ``None`` where that
    is not known, and everything that is wrong.

    Raises ``CommandExecutionError`` where the file cannot be read or decrypted.
    """
    found: dict[str, Any] = {"manifest": None, "problems": []}
    with __salt__["metis_gpg.decrypting"](path, keyring) as clear:
        try:
            with tarfile.open(fileobj=clear, mode="r|") as tar:
                found["manifest"] = _manifest(tar)
                found["problems"] = _members(tar, found["manifest"], take)
        except (tarfile.TarError, EOFError, ValueError) as err:
            # gpg says it better, where it finds something itself.
            found["problems"].append(f"it is cut off, or no backup of this project: {err}")
    return found


def manifest(path: str, keyring: str) -> dict[str, Any]:
    """
    What a backup is of. Every byte of it is looked at.

    path
        The file.
    keyring
        The folder of the keyring that has the private key.

    Raises ``CommandExecutionError`` with all that is wrong with it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_file.manifest /root/demo.backup /root/.gnupg
    """
    found = walk(path, keyring)
    if found["problems"]:
        raise damaged(path, found["problems"])
    known: dict[str, Any] = found["manifest"]
    return known


def damaged(path: str, problems: list[str]) -> Exception:
    """
    An error that says all that is wrong with a backup.

    path
        The file.
    problems
        As ``walk`` returns them.
    """
    lines = "\n".join(f"  {problem}" for problem in problems)
    return salt.exceptions.CommandExecutionError(
        f"{path} is damaged, nothing of it is used:\n{lines}"
    )


def _manifest(tar: tarfile.TarFile) -> Data:
    first = tar.next()
    if first is None or first.name != _MANIFEST or not first.isreg():
        raise ValueError(f"it does not begin with {_MANIFEST}")
    if first.size > _LARGEST_MANIFEST:
        raise ValueError("its manifest is too large")
    opened = tar.extractfile(first)
    known = json.loads(opened.read() if opened else b"")
    if not isinstance(known, dict) or known.get("format") != _FORMAT:
        raise ValueError(f"it is of another format than {_FORMAT}")
    files = known.get("files")
    if not isinstance(files, dict) or not re.fullmatch("[a-z0-9_-]+", str(known.get("org"))):
        raise ValueError("its manifest says nothing of an organization and its files")
    for name, entry in files.items():
        whole = isinstance(entry, dict) and {"size", "sha256", "from", "path"} <= entry.keys()
        if not whole or name.startswith("/") or ".." in name.split("/"):
            raise ValueError(f"its manifest says nothing good of {name}")
    return known


def _chunks(stream: Any) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _members(tar: tarfile.TarFile, manifest: Data, take: Take | None) -> list[str]:
    problems = []
    seen: set[str] = set()
    for member in tar:
        if member.name == _MANIFEST and not seen:
            continue
        known = manifest["files"].get(member.name)
        opened = tar.extractfile(member) if member.isreg() else None
        if known is None or opened is None or member.name in seen:
            problems.append(f"{member.name} is not in its manifest once, as a file")
            continue
        seen.add(member.name)
        source = _Source(_chunks(opened))
        chunks = _chunks(source)
        if take:
            take(member.name, chunks)
        for _ in chunks:
            pass
        if member.size != known["size"]:
            problems.append(f"{member.name} has {member.size} bytes, not {known['size']}")
        elif source.digest.hexdigest() != known["sha256"]:
            problems.append(
                f"{member.name} has sha256 {source.digest.hexdigest()}, not {known['sha256']}"
            )
    missing = sorted(set(manifest["files"]) - seen)
    return problems + [f"{name} is missing" for name in missing]
