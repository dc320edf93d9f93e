"""
The master's store: every artifact of the releases in use, whole and right.

Below the master's setting ``metis_store``:

- ``artifacts/<release>/<file>``: what hosts get, over HTTP and from Salt's file server. Nothing
  else is served.
- ``pins.yaml``: the checksums that ``metis_pins`` keeps.
- ``index.json``: what was found right, with size and times, so that nobody hashes it every time.
- ``parts/``: downloads that were cut off. ``quarantine/``: what is to be looked at before it is
  pinned.

Runs on the master.
"""

import contextlib
import contextvars
import fcntl
import glob
import json
import os
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_store"

Data = dict[str, Any]
Say = Callable[[str], None]

ROOT = "/var/lib/metis-store"
# Downloads at once.
WORKERS = 4
# Seconds for another run that fills the store.
LOCK_TIMEOUT = 3600


def root() -> str:
    """
    The store's folder.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.root
    """
    return str(__opts__.get("metis_store") or ROOT)


def path(stored: str) -> str:
    """
    Where an artifact is, or is to be.

    stored
        Its path in the store, as ``metis_release.stored`` gives it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.path 0.3.0/carrier
    """
    return str(Path(root(), "artifacts", stored))


def quarantine(stored: str) -> str:
    """
    Where a file is while nobody has pinned its checksum.

    stored
        Its path in the store.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.quarantine 0.3.0/carrier
    """
    return str(Path(root(), "quarantine", stored))


def listen(stores: list[dict[str, Any]]) -> list[str]:
    """
    Where the web server of the store listens, as nginx wants it.

    stores
        Of each organization, ``address`` and ``port`` where its hosts look.

    An address that is none of the master's own, as before a router that translates it, says nothing
    of where to listen: then it is every address.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.listen '[{address: null, port: 8014}]'
    """
    found = {
        (store["address"] if _is_own(store["address"]) else "*", store["port"]) for store in stores
    }
    # nginx takes no address beside all of them.
    return [f"{a}:{port}" for a, port in sorted(found) if a == "*" or ("*", port) not in found]


def may_serve() -> bool:
    """
    Whether this process can set up a web server: with Salt's official packages, salt-run is the
    user ``salt``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.may_serve
    """
    return os.geteuid() == 0


def _is_own(address: str | None) -> bool:
    if not address or not re.fullmatch(r"[0-9.]+", address):
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def _folders() -> None:
    top = Path(root())
    for folder, mode in (
        (top, 0o755),
        (top / "artifacts", 0o755),
        (top / "parts", 0o700),
        (top / "quarantine", 0o700),
    ):
        folder.mkdir(mode=mode, parents=folder == top, exist_ok=True)
        # Whatever the umask of the operator is.
        folder.chmod(mode)


def make_folder(file: str) -> None:
    """
    Make what lies between the store and a file of it.

    file
        An absolute path in the store.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.make_folder /var/lib/metis-store/artifacts/0.3.0/carrier
    """
    top = Path(root())
    _folders()
    between = [p for p in Path(file).parents if top in p.parents and not p.exists()]
    for folder in reversed(between):
        folder.mkdir(mode=0o755, exist_ok=True)
        folder.chmod(0o755)


def write(file: str, text: str) -> None:
    """
    Write a small file of the store, readable by all: the whole of it, or nothing.

    file
        Its absolute path; the directory must exist.
    text
        What shall stand in it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.write /var/lib/metis-store/pins.yaml '{}'
    """
    handle, draft = tempfile.mkstemp(dir=Path(file).parent, prefix=f".{Path(file).name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as opened:
            opened.write(text)
            os.fchmod(opened.fileno(), 0o644)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise


@contextlib.contextmanager
def alone(say: Say | None = None) -> Iterator[None]:
    """
    Be the only one who changes the store.

    say
        Called with a text when another run has to be waited for.

    Raises ``CommandExecutionError`` where that one does not end in time, or the store cannot be
    made.
    """
    try:
        _folders()
        lock = os.open(Path(root(), "parts"), os.O_RDONLY)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"the store {root()} cannot be made or used: {err.strerror}. It must belong to the "
            f"user of salt-run, as by: install -d -o salt -g salt -m 0755 {root()}; metis_store "
            "in master.d/metis.conf says where it is"
        ) from err
    try:
        end, told = time.monotonic() + LOCK_TIMEOUT, False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if say and not told:
                    say("another run fills the store: waiting for it")
                    told = True
            if time.monotonic() > end:
                raise salt.exceptions.CommandExecutionError(
                    f"another run has filled the store for {LOCK_TIMEOUT} s and more"
                )
            time.sleep(0.2)
        yield
    finally:
        os.close(lock)


# What is known


def _index() -> Data:
    try:
        found = json.loads(Path(root(), "index.json").read_text("utf-8"))
    except (OSError, ValueError):
        # It only saves time.
        return {}
    return found if isinstance(found, dict) else {}


def _mark(file: Path) -> list[int]:
    """What changes when somebody writes to a file."""
    seen = file.stat()
    return [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns]


def record(changed: dict[str, str | None]) -> None:
    """
    Keep what was found right, so that it need not be hashed again.

    changed
        Path in the store to the checksum that was found; ``None`` forgets what was known.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.record '{0.3.0/carrier: null}'
    """
    index = _index()
    for stored, sha256 in changed.items():
        index.pop(stored, None)
        if sha256:
            index[stored] = {"sha256": sha256, "mark": _mark(Path(path(stored)))}
    write(str(Path(root(), "index.json")), json.dumps(index, indent=1, sort_keys=True))


def look(artifacts: dict[str, Data], whole: bool = False, remember: bool = True) -> dict[str, str]:
    """
    Which artifacts are in the store, and right.

    artifacts
        As ``metis_release.needed`` returns them.
    whole
        Whether every byte is looked at, also of what was right the last time.
    remember
        Whether what was found right need not be looked at the next time.

    Returns name to ``right``, ``missing``, ``wrong`` or ``unknown`` (there is no checksum).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.look '{...}' whole=True
    """
    index = _index()
    found = {}
    seen: dict[str, str | None] = {}
    for name, artifact in artifacts.items():
        stored, wanted = artifact["stored"], artifact.get("sha256")
        file = Path(path(stored))
        if not wanted:
            found[name] = "unknown"
        elif not file.is_file():
            found[name] = "missing"
        else:
            known = index.get(stored, {})
            sha256: str | None = known.get("sha256")
            if whole or not sha256 or known.get("mark") != _mark(file):
                sha256 = __salt__["metis_artifact.checksum"](str(file))
                seen[stored] = sha256
            found[name] = "right" if sha256 == wanted else "wrong"
    if seen and remember:
        # Not writing it is only slower, as for someone who may read and not write.
        with contextlib.suppress(OSError, salt.exceptions.CommandExecutionError):
            record(seen)
    return found


def sizes(artifacts: dict[str, Data]) -> dict[str, int]:
    """
    How large artifacts are that are in the store.

    artifacts
        As ``metis_release.needed`` returns them.

    Returns path in the store to bytes.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.sizes '{...}'
    """
    found = {}
    for artifact in artifacts.values():
        with contextlib.suppress(FileNotFoundError):
            found[artifact["stored"]] = Path(path(artifact["stored"])).stat().st_size
    return found


def put(files: dict[str, tuple[Path, str]]) -> list[str]:
    """
    Put files into the store that are known to be right.

    files
        Path in the store to a file on the same file system, which is moved, and its checksum.

    Returns what was there already.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.put '{}'
    """
    there = []
    for stored, (file, sha256) in files.items():
        target = path(stored)
        if __salt__["metis_artifact.checksum"](target) == sha256:
            there.append(stored)
        else:
            make_folder(target)
            file.chmod(0o644)
            os.replace(file, target)
    record({stored: sha256 for stored, (_, sha256) in files.items()})
    return sorted(there)


# Emptying it


def _came(release: Path) -> float:
    """When the last file of a release came into the store."""
    return max(path.stat().st_mtime for path in [release, *release.rglob("*")])


def prune(needed: list[str], kept: int, new: str, test: bool = False) -> list[str]:
    """
    Remove releases from the store that nobody needs, beyond a number that is kept. What came into
    it after a release, as for the next upgrade, is not old and stays.

    needed
        Releases that stay in any case.
    kept
        How many stay, with these.
    new
        The release that the others are older than.
    test
        Remove nothing.

    Returns the releases that were removed, or would be.

    Raises ``CommandExecutionError`` where one cannot be removed.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.prune '[0.4.0, 0.3.0]' 2 0.4.0 test=True
    """
    artifacts = Path(path(""))
    # What is no release, as `_restore`, is somebody else's.
    found = artifacts.glob("[A-Za-z0-9]*")
    there = {release.name: _came(release) for release in found if release.is_dir()}
    begin = there.get(new, time.time())
    old = [name for name, came in there.items() if name not in needed and came < begin]
    old.sort(key=lambda name: there[name], reverse=True)
    # One that is needed and not there, as in a dry run, will be.
    gone = sorted(old[max(0, kept - len(set(needed))) :])
    if test or not gone:
        return gone
    with alone():
        try:
            for name in gone:
                # Whoever looks next knows first that it is gone.
                record(dict.fromkeys([key for key in _index() if key.startswith(f"{name}/")]))
                shutil.rmtree(artifacts / name)
                for part in Path(root(), "parts").glob(f"{glob.escape(name)}+*"):
                    part.unlink()
        except OSError as err:
            raise salt.exceptions.CommandExecutionError(
                f"{err.filename} cannot be removed from the store: {err.strerror}"
            ) from err
    return gone


# Filling it


def fill(
    release: Data, roles: list[str], say: Say | None = None, test: bool = False
) -> dict[str, Any]:
    """
    Have every artifact that some roles need in the store.

    release
        The release file's content, with pins.
    roles
        The roles.
    say
        Called with a line for the operator, from several threads.
    test
        Whether to change nothing.

    Returns ``{"changes": {...}, "problems": [...]}``: path in the store to what was fetched, or
    would be; and a text for each artifact that is not there at the end.

    Raises ``CommandExecutionError`` where the store cannot be used.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_store.fill '{...}' '[carrier]' test=True
    """
    artifacts = __salt__["metis_release.needed"](release, roles)
    found = look(artifacts, remember=not test)
    wanted = [name for name, how in found.items() if how != "right"]
    if not wanted:
        return {"changes": {}, "problems": []}
    filling = _Filling(release["release"], say or _nobody)
    if test:
        return filling.told({name: artifacts[name] for name in wanted}, found)
    with alone(say):
        # Another run may have fetched it meanwhile.
        found = look(artifacts)
        return filling.done({name: artifacts[name] for name in wanted if found[name] != "right"})


def _nobody(text: str) -> None:
    """Be told what happens."""


class _Filling:
    """One run of `fill`."""

    def __init__(self, release: str, say: Say) -> None:
        self._release = release
        self._say = say
        self._lock = threading.Lock()
        self._follow: Callable[[str], Any]

    def told(self, artifacts: dict[str, Data], found: dict[str, str]) -> Data:
        """What a real run would do, as far as that can be known without asking anybody."""
        changes = {}
        problems = []
        for name, artifact in artifacts.items():
            if artifact["sha256"] is None and not artifact.get("checksums"):
                problems.append(self._unpinned(name))
            elif not artifact["sources"] and not Path(quarantine(artifact["stored"])).exists():
                problems.append(self._sourceless(name, artifact))
            else:
                old = "of other bytes" if found[name] == "wrong" else None
                new = artifact["sha256"] or "as its publisher tells"
                changes[artifact["stored"]] = {"old": old, "new": new}
        return {"changes": changes, "problems": problems}

    def done(self, artifacts: dict[str, Data]) -> Data:
        """Do it; all failures together."""
        changes: Data = {}
        problems: list[str] = []
        begun = time.monotonic()
        shown = __salt__["metis_progress.shown"](self._say)
        with shown as follow, ThreadPoolExecutor(WORKERS) as pool:
            self._follow = follow
            # Salt knows by the context whose __salt__ it is; a thread has none of its own.
            running = {
                name: pool.submit(contextvars.copy_context().run, self._one, name, artifact)
                for name, artifact in artifacts.items()
            }
        for name, future in running.items():
            stored = artifacts[name]["stored"]
            try:
                changes[stored] = future.result()
            except salt.exceptions.CommandExecutionError as err:
                problems.append(str(err))
            except OSError as err:
                problems.append(f"{stored} cannot be written: {err.strerror}")
        if changes:
            size = sum(Path(path(stored)).stat().st_size for stored in changes)
            took = time.monotonic() - begun
            told = __salt__["metis_progress.size"](size)
            self._say(f"fetched {len(changes)} artifacts, {told} in {took:.1f} s")
        return {"changes": changes, "problems": problems}

    def _unpinned(self, name: str) -> str:
        return (
            f"{name} has no checksum in release {self._release}: look at it and pin it with "
            f"salt-run metis.pin release={self._release} artifact={name}"
        )

    def _sourceless(self, name: str, artifact: Data) -> str:
        return (
            f"{name} has no source in release {self._release}: put the file at "
            f"{quarantine(artifact['stored'])}"
        )

    def _one(self, name: str, artifact: Data) -> Data:
        stored, sha256 = artifact["stored"], artifact["sha256"]
        if sha256 is None and not artifact.get("checksums"):
            raise salt.exceptions.CommandExecutionError(self._unpinned(name))
        if sha256 is None:
            sha256 = self._ask_publisher(name, artifact)
        target = Path(path(stored))
        old = __salt__["metis_artifact.checksum"](str(target))
        if old != sha256:
            make_folder(str(target))
            if not self._from_quarantine(stored, sha256):
                if not artifact["sources"]:
                    raise salt.exceptions.CommandExecutionError(self._sourceless(name, artifact))
                self._download(name, artifact, sha256, target)
        with self._lock:
            record({stored: sha256})
        return {"old": old, "new": sha256}

    def _ask_publisher(self, name: str, artifact: Data) -> str:
        try:
            sha256, source = __salt__["metis_pins.published"](artifact)
        except salt.exceptions.CommandExecutionError as err:
            raise salt.exceptions.CommandExecutionError(
                f"the checksum of {name} is not to be had: {err}"
            ) from err
        with self._lock:
            # From now on it cannot be another one.
            __salt__["metis_pins.put"](self._release, name, artifact["file"], sha256, source)
        self._say(f"{name}: {source} tells sha256 {sha256}, which is pinned now")
        return sha256

    def _from_quarantine(self, stored: str, sha256: str) -> bool:
        waiting = Path(quarantine(stored))
        if __salt__["metis_artifact.checksum"](str(waiting)) != sha256:
            return False
        waiting.chmod(0o644)
        os.replace(waiting, path(stored))
        self._say(f"{stored}: taken from quarantine")
        return True

    def _download(self, name: str, artifact: Data, sha256: str, target: Path) -> None:
        told = self._follow(name)
        # What a wrong checksum in the release file left is of another file.
        part = Path(root(), "parts", f"{artifact['stored'].replace('/', '+')}.{sha256[:12]}")
        try:
            __salt__["metis_artifact.fetch"](
                str(target), artifact["sources"], sha256, part=str(part), progress=told
            )
        finally:
            told.gone()
        told.ended(target.stat().st_size)
