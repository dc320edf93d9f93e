"""
The phases of ``metis.backup``: what cannot be made again of an organization, in one encrypted file.
"""

import functools
import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import salt.exceptions

__virtualname__ = "metis_backup"

State = dict[str, Any]
Data = dict[str, Any]

# Seconds for hosts to look, or to send a piece; and for them to write down what they have.
_LOOK, _GIVE = 120, 3700
# Seconds between two lines about what takes long.
_PATIENCE = 5


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _plan() -> dict[str, list[str]]:
    run = __salt__["metis_run.now"]()
    agent = run["topology"]["agent"]["host"]
    return __salt__["metis_backup_host.parts"](run["instances"], agent)


@_phase
def prepared(name: str) -> State:
    """
    There is a key to encrypt for, and a place for the file.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    problems = []
    if fault := __salt__["metis_backup_file.target_fault"](__pillar__.get("to")):
        problems.append(fault)
    try:
        run["keyring"] = __salt__["metis_gpg.keyring"](__pillar__.get("keyring"))
        given = (__pillar__.get("recipient"), run["keyring"])
        run["receiver"] = __salt__["metis_gpg.receiver"](*given)
    except salt.exceptions.CommandExecutionError as err:
        problems.append(str(err))
    if problems:
        return __salt__["metis_run.fail"](ret, problems, "invalid-input")
    return ret | {"comment": f"it is encrypted for {__pillar__['recipient']}"}


@_phase
def written(name: str) -> State:
    """
    The backup is in its file, whole.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    plan = _plan()
    to = str(__pillar__["to"])
    what = "; ".join(f"{', '.join(parts)} of {host}" for host, parts in plan.items())
    if __opts__["test"]:
        __salt__["metis_ask.ask_all"](list(plan), "metis_backup_host.look", {}, _LOOK, dict)
        own = ", ".join(_own())
        made = {to: {"old": None, "new": f"{what}; {own} of the master"}}
        return ret | {"result": None, "changes": made, "comment": f"{to} would be written"}
    key, public = __salt__["metis_sealed.pair"]()
    asked = {"parts": plan, "key": public}
    answers = __salt__["metis_fleet.run"](list(plan), "metis_backup_host.give", asked, _GIVE, _told)
    given = {
        part: _Given(host, part, found, key)
        for host, answer in answers.items()
        if isinstance(answer["return"], dict)
        for part, found in answer["return"].items()
    }
    try:
        __salt__["metis_run.demand"](__salt__["metis_ask.problems"](answers, _GIVE, (dict,)))
        size, manifest = _written(to, given)
    finally:
        # What a host keeps is ciphertext, whose key ends with this run.
        keeping = sorted({source.host for source in given.values() if source.keeps()})
        __salt__["metis_fleet.run"](keeping, "metis_backup_host.forget", {}, _LOOK)
    count = len(manifest["files"])
    ret["changes"] = {to: {"old": None, "new": f"{count} parts, {size} bytes"}}
    __salt__["metis_run.say"](f"{to}: {count} parts, {size} bytes")
    return ret | {"comment": f"{to} has {what}, and what the master knows"}


def _told(host: str, answer: Data) -> None:
    if answer["answer"] == "working":
        __salt__["metis_run.say"](f"  {host}: still at work")
    elif answer["answer"] == "returned" and isinstance(answer["return"], dict):
        parts = (f"{part} {found['size']} bytes" for part, found in answer["return"].items())
        __salt__["metis_run.say"](f"  {host}: {', '.join(parts)}")


def _own() -> dict[str, Data]:
    topology = __salt__["metis_run.now"]()["topology"]
    return __salt__["metis_backup_master.parts"](topology)


class _Given:
    """A part that a host has sealed, fetched piece by piece as it is read."""

    def __init__(self, host: str, part: str, answer: Data, key: Any) -> None:
        self.host = host
        self.known = answer
        self._part = part
        self._key = key

    def keeps(self) -> bool:
        return self.known["pieces"] > len(self.known["sealed"])

    def __iter__(self) -> Iterator[bytes]:
        opened: Iterator[bytes] = __salt__["metis_sealed.opened"](self._key, self._lines())
        return opened

    def _lines(self) -> Iterator[str]:
        yield from self.known["sealed"]
        begun = told = time.monotonic()
        first, pieces = len(self.known["sealed"]), self.known["pieces"]
        for number in range(first, pieces):
            asked = {"part": self._part, "number": number}
            yield __salt__["metis_ask.ask"](self.host, "metis_backup_host.piece", asked, _LOOK, str)
            if time.monotonic() - told > _PATIENCE:
                told = time.monotonic()
                __salt__["metis_run.say"](
                    f"  {self.host}: {number + 1} of {pieces} pieces of {self._part}, "
                    f"{told - begun:.0f} s"
                )


def _written(to: str, given: dict[str, _Given]) -> tuple[int, Data]:
    run = __salt__["metis_run.now"]()
    files: dict[str, Data] = {}
    sources: dict[str, Iterable[bytes]] = {}
    for name, own in _own().items():
        content = own["content"]
        sources[f"master/{name}"] = [content]
        files[f"master/{name}"] = {
            "size": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
            "from": "master",
            "path": own["path"],
        }
    for part, source in given.items():
        sources[f"hosts/{part}"] = source
        known = {key: source.known[key] for key in ("size", "sha256", "version")}
        files[f"hosts/{part}"] = known | {"from": source.host, "path": ""}
    folders = __opts__["module_dirs"] + __opts__["states_dirs"]
    manifest = {
        "org": run["org"],
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "instances": sorted(instance["id"] for instance in run["instances"]),
        "releases": {i["id"]: _release(i) for i in run["instances"]},
        "modules": __salt__["metis_host.fingerprint"](folders),
        "files": files,
    }
    args = (to, run["receiver"], run["keyring"], manifest, sources)
    return __salt__["metis_backup_file.write"](*args), manifest


def _release(instance: Data) -> str:
    deployed = __salt__["metis_run.now"]()["topology"]["deployed"]
    release: str = deployed[instance["id"]]["release"]
    return release
