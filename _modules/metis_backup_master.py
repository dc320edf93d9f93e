"""
What the master knows of an organization and nobody can make again: its file, its secrets and its
authority, what is deployed, the releases and the pins that it uses.

Runs on the master.
"""

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.exceptions
import salt.utils.yaml

__virtualname__ = "metis_backup_master"

Parts = dict[str, dict[str, Any]]

ORG, SECRETS, DEPLOYED, PINS, KEYS = (
    *("org.sls", "secrets.yaml", "deployed.yaml", "pins.yaml"),
    "gpg-keys.asc",
)
_MESSAGE = re.compile(r"-----BEGIN PGP MESSAGE-----.*?-----END PGP MESSAGE-----", re.DOTALL)


def _kept(org: str, below: str = "") -> Path:
    return Path(__opts__["pki_dir"], "metis", below, f"{org}.yaml")


def _releases(topology: dict[str, Any]) -> list[str]:
    used = {topology["release"]}
    for entry in topology["deployed"].values():
        used |= {entry["release"], entry.get("previous")}
    return sorted(filter(None, used))


def parts(topology: dict[str, Any]) -> Parts:
    """
    All of it. It has secrets, so it is not for the command line.

    topology
        The organization's.

    Returns part to ``{"content": bytes, "path": ...}``: what it is, and where it was.

    Raises ``CommandExecutionError`` where something cannot be read.
    """
    org = topology["org"]
    files = {ORG: __salt__["metis_orgs.file"]("orgs", org)}
    files |= {SECRETS: str(_kept(org)), DEPLOYED: str(_kept(org, "deployed"))}
    releases = _releases(topology)
    for release in releases:
        # The file of a release before the last may be gone.
        if path := __salt__["metis_orgs.file"]("releases", release):
            files[f"releases/{release}.yaml"] = path
    own = {
        path
        for instance in topology["instances"]
        for path in (instance["settings"].get(k) for k in ("certificate", "certificate_key"))
        if path
    }
    files |= {f"certificates/{number}.pem": path for number, path in enumerate(sorted(own))}
    found: Parts = {}
    for name, path in files.items():
        try:
            found[name] = {"content": Path(path).read_bytes(), "path": path}
        except FileNotFoundError:
            if name not in (SECRETS, DEPLOYED):
                raise _unreadable(path, "it is gone") from None
        except OSError as err:
            raise _unreadable(path, str(err.strerror)) from err
    pins = {release: __salt__["metis_pins.of"](release) for release in releases}
    text = salt.utils.yaml.safe_dump({name: pin for name, pin in pins.items() if pin})
    found[PINS] = {"content": text.encode(), "path": ""}
    if keys := _pillar_keys(found[ORG]["content"]):
        found[KEYS] = {"content": keys, "path": _keyring()}
    return found


def _unreadable(path: str, why: str) -> Exception:
    return salt.exceptions.CommandExecutionError(f"{path} cannot be backed up: {why}")


def _keyring() -> str:
    return __opts__.get("gpg_keydir") or "/etc/salt/gpgkeys"


def _pillar_keys(file: bytes) -> bytes:
    """The keys that decrypt what is encrypted in the organization's file."""
    found = _MESSAGE.findall(file.decode("utf-8", "replace"))
    messages = ["\n".join(line.strip() for line in text.splitlines()) for text in found]
    return __salt__["metis_gpg.secret_keys"](messages, _keyring()) if messages else b""


# Bringing it back


def differing(org: str, kept: Parts) -> list[str]:
    """
    What of a backup is not as the master has it.

    org
        The organization.
    kept
        As ``parts`` returned it.
    """
    # Keys are only ever added.
    return [n for n in sorted(kept) if n != KEYS and _step(org, n, dict(kept[n]))[0] != "same"]


def unpack(org: str, kept: Parts, confirmed: bool) -> dict[str, list[str]]:
    """
    Make what this master knows of an organization what a backup says.

    org
        The organization.
    kept
        As ``parts`` returned it.
    confirmed
        Whether what is there and is another may be replaced.

    Returns ``{"written": [...], "same": [...]}``, in words.

    Raises ``CommandExecutionError`` with everything that is another, where that is not confirmed;
    nothing was written then.
    """
    steps: dict[str, tuple[str, Callable[[], None]]] = {}
    # The file last: with it, the master would make the secrets that are missing.
    for name in sorted(kept, key=lambda name: name == ORG):
        steps[name] = _step(org, name, kept[name])
    other = [name for name, (how, _) in steps.items() if how == "other"]
    if other and not confirmed:
        raise salt.exceptions.CommandExecutionError(
            f"this master knows the organization {org}, and not as the backup has it: "
            f"{', '.join(other)}. Nothing was written; confirm={org} replaces what is here"
        )
    for how, write in steps.values():
        if how != "same":
            try:
                write()
            except OSError as err:
                raise salt.exceptions.CommandExecutionError(
                    f"{err.filename}: {err.strerror}; mend this, and give the same command again"
                ) from err
    told = {name: f"{name} ({kept[name]['path']})" if kept[name]["path"] else name for name in kept}
    return {
        "written": [told[name] for name, (how, _) in steps.items() if how != "same"],
        "same": [told[name] for name, (how, _) in steps.items() if how == "same"],
    }


def _step(org: str, name: str, part: dict[str, Any]) -> tuple[str, Callable[[], None]]:
    """How a part compares with what is here (``missing``, ``same``, ``other``), and its writing."""
    content = part["content"]
    if name in (SECRETS, DEPLOYED):
        below = "deployed" if name == DEPLOYED else ""
        return _record_step(org, below, salt.utils.yaml.safe_load(content.decode()) or {})
    if name == PINS:
        return _pins_step(salt.utils.yaml.safe_load(content.decode()) or {})
    if name == KEYS:
        return "missing", lambda: __salt__["metis_gpg.take_keys"](content, _keyring())
    part["path"] = _target(org, name, part["path"])
    target = Path(part["path"])
    how = "missing"
    if target.exists():
        how = "same" if target.read_bytes() == content else "other"
    return how, lambda: _write(target, content)


def _record_step(org: str, below: str, record: dict[str, Any]) -> tuple[str, Callable[[], None]]:
    known = __salt__["metis_secrets.read"](org, below)
    how = "other" if known else "missing"
    return "same" if known == record else how, lambda: _keep(org, below, record)


def _keep(org: str, below: str, record: dict[str, Any]) -> None:
    def change(known: dict[str, Any]) -> None:
        known.clear()
        known.update(record)

    __salt__["metis_secrets.edit"](org, change, below)


def _pins_step(pins: dict[str, Any]) -> tuple[str, Callable[[], None]]:
    known = {release: __salt__["metis_pins.of"](release) for release in pins}
    wanted = [(r, name, pin) for r, names in pins.items() for name, pin in names.items()]
    lacking = [
        (release, name, pin)
        for release, name, pin in wanted
        if known[release].get(name, {}).get("sha256") != pin["sha256"]
    ]

    def write() -> None:
        with __salt__["metis_store.alone"]():
            for release, name, pin in lacking:
                args = (release, name, pin["file"], pin["sha256"], pin.get("from", "a backup"))
                __salt__["metis_pins.put"](*args)

    if not lacking:
        return "same", write
    return "other" if any(name in known[r] for r, name, _ in lacking) else "missing", write


def _target(org: str, name: str, path: str) -> str:
    """Where a file belongs on this master, whose pillar roots may be others."""
    if name.startswith("certificates/"):
        return path
    kind, stem = ("orgs", org) if name == ORG else ("releases", Path(name).stem)
    if found := __salt__["metis_orgs.file"](kind, stem):
        return str(found)
    roots = __opts__["pillar_roots"].get(__opts__.get("pillarenv") or "base", [])
    if not roots:
        raise salt.exceptions.CommandExecutionError("the master has no pillar_roots")
    return str(Path(roots[-1], kind, Path(path).name))


def _write(target: Path, content: bytes) -> None:
    """A file that may hold a password: the whole of it, or nothing."""
    owner = Path(__opts__["pki_dir"]).stat()
    made = [folder for folder in target.parents if not folder.exists()]
    target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    for folder in made:
        os.chown(folder, owner.st_uid, owner.st_gid)
    handle, draft = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as opened:
            opened.write(content)
            os.fchmod(opened.fileno(), 0o640)
            os.fchown(opened.fileno(), owner.st_uid, owner.st_gid)
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(draft, target)
    except BaseException:
        os.unlink(draft)
        raise


# A restore that was begun


def begun(org: str) -> dict[str, Any]:
    """
    Which restore of an organization was begun and is not through: ``{"backup", "parts", "since"}``,
    or nothing.

    org
        The organization.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_master.begun acme
    """
    found: dict[str, Any] = __salt__["metis_secrets.read"](org, "restoring")
    return found


def keep_begun(org: str, record: dict[str, Any]) -> None:
    """
    Write down which restore was begun.

    org
        The organization.
    record
        As ``begun`` returns it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_backup_master.keep_begun acme '{backup: ab, parts: [], since: 0}'
    """
    _keep(org, "restoring", record)
