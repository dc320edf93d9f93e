"""
Checksums that no release file has: pinned by an operator who looked at the file, or told by a
publisher's file of checksums (as HashiCorp's ``SHA256SUMS``) and kept, so that they cannot change.

One file on the master, ``pins.yaml`` in the store: release to artifact to what is pinned.
"""

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
import salt.exceptions
import salt.utils.yaml

__virtualname__ = "metis_pins"

Data = dict[str, Any]

# Of a publisher's file of checksums, in bytes.
_LARGEST_SUMS = 1 << 20
_SUMS_TIMEOUT = (10, 30)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _file() -> Path:
    return Path(__salt__["metis_store.root"](), "pins.yaml")


def of(release: str) -> dict[str, Data]:
    """
    The checksums of a release that are pinned: artifact to ``sha256``, ``file`` and ``from``.

    release
        What it is called.

    Raises ``CommandExecutionError`` where the file of pins cannot be read.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_pins.of 0.3.0
    """
    return _all().get(release, {})


def _all() -> Data:
    file = _file()
    try:
        read = salt.utils.yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{file}: {err.strerror}") from err
    except (salt.utils.yaml.YAMLError, UnicodeDecodeError) as err:
        raise salt.exceptions.CommandExecutionError(f"{file} is no YAML: {err}") from err
    names_of: Any = read.values() if isinstance(read, dict) else [None]
    entries: list[Any] = [
        entry
        for names in names_of
        for entry in (names.values() if isinstance(names, dict) else [None])
    ]
    for entry in entries:
        wanted = isinstance(entry, dict) and {"sha256", "file"} <= entry.keys()
        if not wanted or not _SHA256.fullmatch(str(entry["sha256"])):
            raise salt.exceptions.CommandExecutionError(
                f"{file} is damaged: take it from a backup, or remove it and pin again"
            )
    return dict(read)


def put(release: str, name: str, file: str, sha256: str, source: str) -> None:
    """
    Pin the checksum of an artifact.

    release
        What the release is called.
    name
        The artifact.
    file
        Its file's name: of another file, the pin says nothing.
    sha256
        In hex.
    source
        Who says so, in words.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_pins.put 0.3.0 carrier carrier 2b2f... "an operator"
    """
    known = _all()
    day = time.strftime("%Y-%m-%d", time.gmtime())
    entry = {"sha256": sha256, "file": file, "from": source, "pinned": day}
    known.setdefault(release, {})[name] = entry
    __salt__["metis_store.make_folder"](str(_file()))
    text = salt.utils.yaml.safe_dump(known, default_flow_style=False)
    head = "# Written by salt-run metis.pin and metis.prepare.\n"
    __salt__["metis_store.write"](str(_file()), head + text)


def merged(release: Data) -> Data:
    """
    A release with the pinned checksums where the release file has none.

    release
        The release file's content.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_pins.merged '{...}'
    """
    artifacts = release.get("artifacts") if isinstance(release, dict) else None
    if not isinstance(artifacts, dict):
        return release
    known = of(str(release.get("release")))
    artifacts_now = {}
    for name, artifact in artifacts.items():
        own = known.get(name)
        lacks = isinstance(artifact, dict) and artifact.get("sha256", "") is None
        if own and lacks and own["file"] == artifact.get("file"):
            artifacts_now[name] = artifact | {"sha256": own["sha256"]}
        else:
            artifacts_now[name] = artifact
    return release | {"artifacts": artifacts_now}


def published(artifact: Data) -> tuple[str, str]:
    """
    The checksum that an artifact's publisher tells, and the address where.

    artifact
        Of the release file, with ``checksums``.

    Raises ``CommandExecutionError`` where no source tells one checksum for the artifact's file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_pins.published '{file: consul.zip, checksums: {sources: [...]}}'
    """
    errors = []
    for source in artifact["checksums"]["sources"]:
        try:
            text = _sums(source)
        except (requests.RequestException, salt.exceptions.CommandExecutionError) as err:
            errors.append(f"{source}: {err}")
            continue
        lines = (re.fullmatch(r"([0-9a-fA-F]{64}) [ *](\S+)", line) for line in text.splitlines())
        told = {line[1].lower() for line in lines if line and line[2] == artifact["file"]}
        if len(told) == 1:
            return told.pop(), source
        errors.append(f"{source}: has {len(told) or 'no'} checksums of {artifact['file']}")
    raise salt.exceptions.CommandExecutionError("; ".join(errors))


def _sums(source: str) -> str:
    with requests.get(source, stream=True, timeout=_SUMS_TIMEOUT) as answer:
        answer.raise_for_status()
        # On the way there, nobody may have put in another.
        if any(not each.url.startswith("https://") for each in (*answer.history, answer)):
            raise salt.exceptions.CommandExecutionError("leads to what is not https")
        data = b""
        for chunk in answer.iter_content(1 << 14):
            data += chunk
            if len(data) > _LARGEST_SUMS:
                raise salt.exceptions.CommandExecutionError("is too large for a file of checksums")
    return data.decode("utf-8", "replace")


# To be looked at

_KINDS = (
    (0, b"\x7fELF", "a Linux program (ELF)"),
    (0, b"PK\x03\x04", "a zip archive, as jars and wheels are too"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"\xfd7zXZ\x00", "an xz archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"#!", "a script"),
)


def _kind(file: Path) -> str:
    """What a file looks like, in words."""
    with file.open("rb") as opened:
        head = opened.read(512)
    for offset, magic, words in _KINDS:
        if head[offset : offset + len(magic)] == magic:
            return words
    if re.match(rb"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE):
        return "a web page: look whether it is a message instead of the file"
    if not head:
        return "empty"
    return "other data" if b"\x00" in head else "text"


def inspect(release: Data, name: str, say: Callable[[str], None]) -> Data:
    """
    Fetch an artifact whose checksum is not known into quarantine, where nothing uses it.

    A file that an operator put there is taken as it is.

    release
        The release file's content, with pins.
    name
        The artifact.
    say
        Called with a line for the operator.

    Returns ``{"file", "size", "sha256", "kind"}``: where it is, bytes, in hex, in words.

    Raises ``CommandExecutionError`` where there is no such artifact, its checksum is in the release
    file, or no source gives it.

    CLI Example:

    .. code-block:: bash

        salt-run metis.pin release=0.3.0 artifact=carrier
    """
    artifact = _unknown(release, name)
    waiting = Path(__salt__["metis_store.quarantine"](artifact["stored"]))
    try:
        with __salt__["metis_store.alone"](say):
            if not waiting.is_file():
                _obtain(artifact, name, waiting, say)
            return {
                "file": str(waiting),
                "size": waiting.stat().st_size,
                "sha256": __salt__["metis_artifact.checksum"](str(waiting)),
                "kind": _kind(waiting),
            }
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{waiting}: {err.strerror}") from err


def _obtain(artifact: Data, name: str, waiting: Path, say: Callable[[str], None]) -> None:
    if not artifact["sources"]:
        raise salt.exceptions.CommandExecutionError(
            f"the release names no source of {name}: put the file at {waiting}, and run this again"
        )
    __salt__["metis_store.make_folder"](str(waiting))
    part = waiting.with_name(f".{waiting.name}.part")
    with __salt__["metis_progress.shown"](say) as follow:
        __salt__["metis_artifact.fetch_unchecked"](
            str(waiting), artifact["sources"], part=str(part), progress=follow(name)
        )


def _unknown(release: Data, name: str) -> Data:
    """An artifact that may be pinned."""
    artifacts = __salt__["metis_release.all_of"](release)
    if name not in artifacts:
        known = ", ".join(sorted(artifacts))
        raise salt.exceptions.CommandExecutionError(
            f"release {release['release']} has no artifact {name}; it has {known}"
        )
    artifact: Data = artifacts[name]
    pinned = of(release["release"]).get(name, {})
    if artifact["sha256"] and artifact["sha256"] != pinned.get("sha256"):
        raise salt.exceptions.CommandExecutionError(
            f"the release file of {release['release']} says the checksum of {name} itself: "
            f"{artifact['sha256']}"
        )
    return artifact


def accept(release: Data, name: str, sha256: str, say: Callable[[str], None]) -> Data:
    """
    Pin the checksum of an artifact, as an operator says it.

    release
        The release file's content, with pins.
    name
        The artifact.
    sha256
        In hex.
    say
        Called with a line for the operator.

    Returns ``{"inspected": ..., "before": ...}``: whether that very file is in quarantine, and the
    checksum that was pinned until now, or ``None``.

    Raises ``CommandExecutionError`` where there is no such artifact, that is no checksum, or the
    file in quarantine has another one.

    CLI Example:

    .. code-block:: bash

        salt-run metis.pin release=0.3.0 artifact=carrier sha256=2b2f...
    """
    artifact = _unknown(release, name)
    wanted = sha256.strip().lower()
    if not _SHA256.fullmatch(wanted):
        raise salt.exceptions.CommandExecutionError(
            f"{sha256} is no sha256: it has 64 digits of 0 to 9 and a to f"
        )
    waiting = __salt__["metis_store.quarantine"](artifact["stored"])
    try:
        with __salt__["metis_store.alone"](say):
            found = __salt__["metis_artifact.checksum"](waiting)
            if found not in (None, wanted):
                raise salt.exceptions.CommandExecutionError(
                    f"{waiting} has sha256 {found}, not {wanted}: look at it again, or remove it"
                )
            before = of(release["release"]).get(name, {}).get("sha256")
            put(release["release"], name, artifact["file"], wanted, "an operator")
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"the pin cannot be written: {err.strerror}"
        ) from err
    return {"inspected": found is not None, "before": before}
