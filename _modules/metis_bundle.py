"""
A release in one file: for a master without a network.

A tar whose first member is ``manifest.json``: the checksum and the size of every other one. These
are ``release.json`` (what the release file says), ``pins.json``, and the artifacts as they are in
the store. Taking one in, every byte is checked before anything is used.

Runs on the master.
"""

import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.exceptions
import salt.utils.yaml

__virtualname__ = "metis_bundle"

Data = dict[str, Any]
Say = Callable[[str], None]

_FORMAT = 1
_CHUNK = 1 << 20
# Of what is no artifact, in bytes.
_LARGEST_TEXT = 4 << 20
_TEXTS = ("release.json", "pins.json")
_PART = "[A-Za-z0-9_][A-Za-z0-9._+-]*"


def write(release: Data, to: str, say: Say) -> dict[str, Any]:
    """
    Write what the store has of a release to a file.

    release
        The release file's content, with pins.
    to
        The file; it must not exist.
    say
        Called with a line for the operator.

    Returns ``{"size": ..., "artifacts": [...], "missing": [...]}``: bytes, and the names of the
    artifacts that are in it and of those that the store does not have.

    Raises ``CommandExecutionError`` where something in the store is wrong, or ``to`` cannot be
    written; there is no file then.

    CLI Example:

    .. code-block:: bash

        salt-run metis.bundle release=0.3.0 to=/root/metis-0.3.0.tar
    """
    target = Path(to)
    if target.exists():
        raise salt.exceptions.CommandExecutionError(f"{to} is there already: name another file")
    artifacts = __salt__["metis_release.all_of"](release)
    found = __salt__["metis_store.look"](artifacts, whole=True)
    wrong = sorted(name for name, how in found.items() if how == "wrong")
    if wrong:
        raise salt.exceptions.CommandExecutionError(
            f"in the store, {', '.join(wrong)} is not what the release says: run metis.prepare"
        )
    held = {name: artifacts[name] for name, how in found.items() if how == "right"}
    if not held:
        raise salt.exceptions.CommandExecutionError(
            f"the store has nothing of release {release['release']}: run metis.prepare"
        )
    pins = __salt__["metis_pins.of"](release["release"])
    texts = {"release.json": release, "pins.json": {k: v for k, v in pins.items() if k in held}}
    try:
        _pack(target, release["release"], texts, held, say)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"{to} cannot be written: {err.strerror}"
        ) from err
    missing = sorted(set(artifacts) - set(held))
    return {"size": target.stat().st_size, "artifacts": sorted(held), "missing": missing}


def _pack(target: Path, name: str, texts: Data, held: Data, say: Say) -> None:
    blobs = {key: json.dumps(text, indent=1).encode() for key, text in texts.items()}
    files: Data = {
        key: {"sha256": hashlib.sha256(blob).hexdigest(), "size": len(blob)}
        for key, blob in blobs.items()
    }
    paths = {}
    for artifact in held.values():
        path = Path(__salt__["metis_store.path"](artifact["stored"]))
        paths[f"artifacts/{artifact['stored']}"] = path
        known = {"sha256": artifact["sha256"], "size": path.stat().st_size}
        files[f"artifacts/{artifact['stored']}"] = known
    manifest = {"format": _FORMAT, "release": name, "files": files}
    handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            with tarfile.open(fileobj=opened, mode="w", format=tarfile.PAX_FORMAT) as tar:
                _add(tar, "manifest.json", json.dumps(manifest, indent=1).encode())
                for key, blob in blobs.items():
                    _add(tar, key, blob)
                for key, path in paths.items():
                    say(f"  {key.removeprefix('artifacts/')}")
                    with path.open("rb") as file:
                        tar.addfile(_member(key, files[key]["size"]), file)
            opened.flush()
            os.fsync(opened.fileno())
            os.fchmod(opened.fileno(), 0o644)
        # Unlike a renaming, this never takes the place of what was written meanwhile.
        os.link(draft, target)
    finally:
        os.unlink(draft)


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


def _add(tar: tarfile.TarFile, name: str, blob: bytes) -> None:
    tar.addfile(_member(name, len(blob)), io.BytesIO(blob))


# Taking one in


def read(path: str, say: Say) -> dict[str, Any]:
    """
    Take a bundle into the store.

    The release file is written where this master has none of that name; where it has one, that one
    says which checksums are right.

    path
        The file.
    say
        Called with a line for the operator.

    Returns ``{"release", "artifacts", "there", "pinned", "file"}``: what the release is called,
    what was taken in, what was in the store already, the artifacts whose checksum only the bundle
    knew, and the release file that was written, or ``None``.

    Raises ``CommandExecutionError`` where the bundle is damaged, or is not what this master knows
    of the release; nothing of it is in use then.

    CLI Example:

    .. code-block:: bash

        salt-run metis.unbundle /root/metis-0.3.0.tar
    """
    try:
        with tarfile.open(path, "r:") as tar, __salt__["metis_store.alone"](say):
            scratch = Path(__salt__["metis_store.root"](), "parts")
            with tempfile.TemporaryDirectory(prefix="unbundle.", dir=scratch) as folder:
                return _take(tar, Path(folder), say)
    except tarfile.TarError as err:
        raise salt.exceptions.CommandExecutionError(f"{path} is no bundle: {err}") from err
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{path}: {err.strerror or err}") from err


def _take(tar: tarfile.TarFile, folder: Path, say: Say) -> dict[str, Any]:
    manifest = _manifest(tar)
    name, files = manifest["release"], manifest["files"]
    texts: Data = {}
    taken: dict[str, Path] = {}
    seen: set[str] = set()
    for number, member in enumerate(tar):
        if number == 0:
            continue
        if not member.isreg() or member.name not in files or member.name in seen:
            raise _damaged(f"holds {member.name!r}, which is not in its manifest once, as a file")
        seen.add(member.name)
        known = files[member.name]
        if member.size != known["size"]:
            raise _damaged(f"{member.name} has {member.size} bytes, not {known['size']}")
        target = folder / str(number)
        _unpack(tar, member, target, known["sha256"])
        if member.name in _TEXTS:
            texts[member.name] = _json(target.read_bytes())
        else:
            say(f"  {member.name.removeprefix('artifacts/')}: every byte is right")
            taken[member.name.removeprefix("artifacts/")] = target
    lacking = set(files) - {*texts, *(f"artifacts/{stored}" for stored in taken)}
    if lacking:
        raise _damaged(f"lacks {', '.join(sorted(lacking))}")
    return _accept(name, texts, files, taken)


def _damaged(why: str) -> Exception:
    return salt.exceptions.CommandExecutionError(f"the bundle {why}; nothing of it was used")


def _json(blob: bytes) -> Any:
    try:
        return json.loads(blob)
    except ValueError as err:
        raise _damaged(f"holds what is no JSON: {err}") from err


def _manifest(tar: tarfile.TarFile) -> Data:
    first = tar.next()
    if first is None or first.name != "manifest.json" or not first.isreg():
        raise _damaged("does not begin with manifest.json")
    if first.size > _LARGEST_TEXT:
        raise _damaged("has a manifest that is too large")
    opened = tar.extractfile(first)
    found = _json(opened.read() if opened else b"")
    if not isinstance(found, dict) or found.get("format") != _FORMAT:
        raise _damaged(f"is of another format than {_FORMAT}")
    name, files = found.get("release"), found.get("files")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise _damaged("names no release")
    if not isinstance(files, dict) or not set(_TEXTS) <= set(files):
        raise _damaged("has no list of files")
    stored = re.compile(rf"artifacts/{re.escape(name)}/((no_)?avx2/)?{_PART}")
    for key, known in files.items():
        if key not in _TEXTS and not stored.fullmatch(key):
            raise _damaged(f"names a file {key!r}, which has no place in the store")
        if (
            not isinstance(known, dict)
            or not re.fullmatch("[0-9a-f]{64}", str(known.get("sha256")))
            or not isinstance(known.get("size"), int)
            or (key in _TEXTS and known["size"] > _LARGEST_TEXT)
        ):
            raise _damaged(f"says nothing good of {key}")
    return found


def _unpack(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path, sha256: str) -> None:
    digest = hashlib.sha256()
    source = tar.extractfile(member)
    if source is None:
        raise _damaged(f"holds {member.name!r}, which is no file")
    with source, target.open("xb") as file:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != sha256:
        raise _damaged(f"{member.name} has sha256 {digest.hexdigest()}, not {sha256}")


def _accept(name: str, texts: Data, files: Data, taken: dict[str, Path]) -> dict[str, Any]:
    """Use what was found whole, if it is also what this master takes for right."""
    own = __salt__["metis_orgs.release"](name)
    release = texts["release.json"] if own is None else own
    faults = __salt__["metis_releasefile.faults"](name, release)
    if faults:
        place = "its release file" if own is None else f"releases/{name}.yaml on this master"
        raise _damaged(f"cannot be used, as {place} is wrong: {'; '.join(faults)}")
    known = __salt__["metis_release.all_of"](release)
    by_path = {artifact["stored"]: (key, artifact) for key, artifact in known.items()}
    pins = {}
    wrong = []
    for stored in taken:
        told = files[f"artifacts/{stored}"]["sha256"]
        key, artifact = by_path.get(stored, (stored, None))
        if artifact is None:
            wrong.append(f"{stored} is no artifact of the release")
        elif artifact["sha256"] is None:
            # Pinned where the bundle was made.
            pins[key] = (artifact["file"], told)
        elif artifact["sha256"] != told:
            wrong.append(f"{stored} has sha256 {told}; here it is {artifact['sha256']}")
    if wrong:
        raise _damaged(f"is another than this master knows: {'; '.join(wrong)}")
    there = __salt__["metis_store.put"]({s: (p, _sha(files, s)) for s, p in taken.items()})
    for key, (file, sha256) in pins.items():
        __salt__["metis_pins.put"](name, key, file, sha256, "a bundle")
    written = None if own is not None else _release_file(name, release)
    new = sorted(set(taken) - set(there))
    return {
        "release": name,
        "artifacts": new,
        "there": there,
        "pinned": sorted(pins),
        "file": written,
    }


def _sha(files: Data, stored: str) -> str:
    found: str = files[f"artifacts/{stored}"]["sha256"]
    return found


def _release_file(name: str, release: Data) -> str:
    roots = __opts__["pillar_roots"].get(__opts__.get("pillarenv") or "base", [])
    folder = Path(roots[-1], "releases")
    folder.mkdir(exist_ok=True)
    file = folder / f"{name}.yaml"
    # Without Jinja: what came from elsewhere shall run nothing here.
    text = salt.utils.yaml.safe_dump(release, default_flow_style=False, sort_keys=False)
    __salt__["metis_store.write"](str(file), f"#!yaml\n# From a bundle.\n{text}")
    return str(file)
