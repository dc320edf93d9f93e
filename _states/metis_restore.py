"""
The phases of ``metis.restore``: what hosts lost comes back from a backup.

The backup is decrypted once, and looked at to its last byte. What is for hosts is sealed for them
in the master's store, from where they fetch it when its time comes: carrier's identity before it
is configured, what consul knew as soon as consul runs, the database before admin starts.
"""

import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import salt.exceptions

__virtualname__ = "metis_restore"

State = dict[str, Any]

# Seconds for hosts to look, and to read back what they lost.
_LOOK, _TAKE = 120, 3700
# Seconds for which a restore that was cut off may go on without being confirmed again.
_GOES_ON = 86400
_IDENTITY = "p2p.key"
_WORDS = {
    "consul.snapshot": "what consul knows",
    _IDENTITY: "carrier's identity, which is not that of the backup",
    "database.sql.gz": "admin's database",
}


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


@_phase
def verified(name: str) -> State:
    """
    The backup is whole and of this organization, and has what its hosts need.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    file = str(__pillar__.get("from") or "")
    problems = []
    if not file.startswith("/"):
        problems.append(f"from is {file!r}: give the absolute path of a backup on the master")
    confirm = __pillar__.get("confirm")
    if confirm and str(confirm) != run["org"]:
        problems.append(f"confirm is {confirm!r}, and the organization is {run['org']}")
    try:
        keyring = __salt__["metis_gpg.keyring"](__pillar__.get("keyring"))
    except salt.exceptions.CommandExecutionError as err:
        problems.append(str(err))
    if problems:
        return __salt__["metis_run.fail"](ret, problems, "invalid-input")
    agent = run["topology"]["agent"]["host"]
    plan = __salt__["metis_backup_host.parts"](run["instances"], agent)
    run["hosts_of"] = {part: host for host, parts in plan.items() for part in parts}
    own: dict[str, bytes] = {}
    manifest = _looked_through(file, keyring, own)
    if problems := _unfit(file, manifest):
        _clear()
        return __salt__["metis_run.fail"](ret, problems, "invalid-input")
    run["backup"] = manifest
    run["backup_id"] = hashlib.sha256(json.dumps(manifest).encode()).hexdigest()
    _tell_differences(manifest, own)
    what = f"{file}, made at {manifest['made']}, is whole: {len(manifest['files'])} parts"
    __salt__["metis_run.say"](what)
    return ret | {"comment": what}


def _looked_through(file: str, keyring: str, own: dict[str, bytes]) -> dict[str, Any]:
    """The manifest of a backup, of which every byte is right."""
    _clear()
    try:
        take = functools.partial(_take, own)
        found = __salt__["metis_backup_file.walk"](file, keyring, take)
        if found["problems"]:
            raise __salt__["metis_backup_file.damaged"](file, found["problems"])
    except salt.exceptions.CommandExecutionError:
        _clear()
        raise
    manifest: dict[str, Any] = found["manifest"]
    return manifest


def _clear() -> None:
    """Remove what was sealed for hosts."""
    if not __opts__["test"]:
        __salt__["metis_backup_stage.clear"](__salt__["metis_run.now"]()["org"])


def _take(own: dict[str, bytes], name: str, chunks: Iterator[bytes]) -> None:
    """Keep what is the master's, and seal what is a host's for it."""
    where, _, part = name.partition("/")
    run = __salt__["metis_run.now"]()
    host = run["hosts_of"].get(part)
    if where == "master":
        own[part] = b"".join(chunks)
    elif where == "hosts" and host and not __opts__["test"]:
        __salt__["metis_backup_stage.put"](run["org"], part, host, chunks)


def _unfit(file: str, manifest: dict[str, Any]) -> list[str]:
    run = __salt__["metis_run.now"]()
    if manifest["org"] != run["org"]:
        return [f"from: {file} is a backup of {manifest['org']}, not of {run['org']}"]
    return [
        f"from: {file} has no {part}, which {host} needs: name with roles or hosts what it has"
        for part, host in run["hosts_of"].items()
        if f"hosts/{part}" not in manifest["files"]
    ]


def _tell_differences(manifest: dict[str, Any], own: dict[str, bytes]) -> None:
    """What the master knows counts: a backup may be older than the last edit."""
    kept = {
        name: {"content": content, "path": manifest["files"][f"master/{name}"]["path"]}
        for name, content in own.items()
    }
    org = __salt__["metis_run.now"]()["org"]
    if other := __salt__["metis_backup_master.differing"](org, kept):
        __salt__["metis_run.say"](
            f"  {', '.join(other)}: what the master has counts, and not what the backup has; "
            "metis.unpack_backup would bring that back"
        )


def _part(part: str) -> dict[str, Any]:
    known: dict[str, Any] = __salt__["metis_run.now"]()["backup"]["files"][f"hosts/{part}"]
    return known


@_phase
def allowed(name: str) -> State:
    """
    Nothing is replaced that nobody agreed to lose: hosts have none of it, or it was confirmed, or
    it comes from this backup, whose restore was cut off.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    hosts = sorted(set(run["hosts_of"].values()))
    seen = __salt__["metis_ask.ask_all"](hosts, "metis_backup_host.look", {}, _LOOK, dict)
    run["there"] = there = {
        part: seen[host][part] for part, host in run["hosts_of"].items() if part in seen[host]
    }
    begun = __salt__["metis_backup_master.begun"](run["org"])
    goes_on = begun.get("backup") == run["backup_id"] and time.time() - begun["since"] < _GOES_ON
    agreed = begun["parts"] if goes_on else []
    lost = [
        f"{run['hosts_of'][part]} has {_WORDS[part]}"
        for part, sha256 in there.items()
        if part not in agreed and not (part == _IDENTITY and sha256 == _part(part)["sha256"])
    ]
    ret["comment"] = "there is nothing that would be lost"
    if agreed:
        ret["comment"] = "this restore was begun before, and goes on"
    if lost:
        if not __pillar__.get("confirm"):
            _clear()
            how = f'"confirm": "{run["org"]}" in the pillar has it replaced by the backup\'s'
            return __salt__["metis_run.fail"](ret, [*lost, how], "invalid-input")
        ret["comment"] = f"replaced is what was confirmed: {'; '.join(lost)}"
    run["agreed"] = sorted({*agreed, *run["hosts_of"]})
    __salt__["metis_run.say"](ret["comment"])
    return ret


@_phase
def begun(name: str) -> State:
    """
    It is on record which restore begins, so that it goes on where it is cut off: what hosts have
    from here on is its own doing.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    if __opts__["test"]:
        return ret | {"comment": "a real run alone writes that"}
    record = {"backup": run["backup_id"], "parts": run["agreed"], "since": int(time.time())}
    __salt__["metis_backup_master.keep_begun"](run["org"], record)
    return ret | {"comment": f"the same command goes on with it: {', '.join(run['agreed'])}"}


@_phase
def brought_back(name: str, part: str) -> State:
    """
    A host has what it lost.

    name
        What the state is called.
    part
        ``p2p.key``, ``consul.snapshot`` or ``database.sql.gz``.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    host = run["hosts_of"].get(part)
    if host is None:
        return ret | {"comment": "no such instance is wanted"}
    known = _part(part)
    if part == _IDENTITY and run["there"].get(part) == known["sha256"]:
        return ret | {"comment": f"{host} has it"}
    old = _WORDS[part] if part in run["there"] else None
    ret["changes"] = {host: {part: {"old": old, "new": f"of {run['backup']['made']}"}}}
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{host} would get it from the backup"}
    stored = __salt__["metis_backup_stage.stored"](run["org"], part)
    asked = {"part": part, "stored": stored, "sha256": known["sha256"]}
    # Programs may be stopped for it.
    run["seen"].pop(host, None)
    __salt__["metis_ask.ask"](host, "metis_backup_host.take", asked, _TAKE, bool)
    __salt__["metis_run.say"](f"{name} ({host}): {known['size']} bytes")
    return ret | {"comment": f"{host} has it as the backup has it"}


@_phase
def ended(name: str) -> State:
    """
    The restore is through: what was begun for it is gone.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    if __opts__["test"]:
        return ret | {"comment": "looked at after a real run only"}
    _clear()
    __salt__["metis_secrets.forget"](run["org"], "restoring")
    return ret | {"comment": f"{run['org']} is what it was at {run['backup']['made']}"}
