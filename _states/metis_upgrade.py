"""
From one release to another: the phases of ``metis.upgrade`` and ``metis.rollback``.

The new release is laid down on all hosts beside the old one. Then one instance after the other is
switched: the record on the master says the new release, the host makes it so, and a gate looks. An
instance that does not come through its gate is switched back, and the roll-out ends there. The
record says where a run was cut off, so the same command goes on from there.
"""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_upgrade"

State = dict[str, Any]
Instance = dict[str, Any]
Entry = dict[str, Any]

# Seconds for consul's servers to be in contact with the leader.
_QUORUM = 60
# Seconds for hosts to look, or to remove what is old.
_LOOK = 120
# Seconds in which a database is read back.
_RETREAT = 3600


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _file() -> str:
    run = __salt__["metis_run.now"]()
    return __pillar__["metis"]["orgs"][run["org"]]["file"]


def _place_of_release() -> str:
    """Where the organization's file says its release, as an operator looks for it."""
    lines = Path(_file()).read_text("utf-8").splitlines()
    numbers = [n for n, line in enumerate(lines, 1) if re.match(r"\s*release\s*:", line)]
    return f"line {numbers[0]} of {_file()}" if len(numbers) == 1 else _file()


def _switchable(roles: list[str] | None = None) -> list[Instance]:
    run = __salt__["metis_run.now"]()
    found = __salt__["metis_deployed.switchable"](run["instances"])
    return [instance for instance in found if roles is None or instance["role"] in roles]


@_phase
def settled(name: str) -> State:
    """
    Every instance has a release on record: one that is new gets what its role runs, or the wanted
    one in a new organization. Where another is wanted than runs, that is told and nothing else:
    only ``metis.upgrade`` switches.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    known = __salt__["metis_deployed.read"](run["org"])
    deployed = __salt__["metis_deployed.of"](run["topology"], known)
    new = {i["id"]: deployed[i["id"]] for i in _switchable() if i["id"] not in known}
    ret["changes"] = {key: {"old": None, "new": entry["release"]} for key, entry in new.items()}
    if new and not __opts__["test"]:
        __salt__["metis_deployed.keep"](run["org"], new)
    releases = sorted({deployed[instance["id"]]["release"] for instance in _switchable()})
    ret["comment"] = f"deployed is {', '.join(releases)}"
    wanted = run["topology"]["release"]
    if releases != [wanted]:
        ret["comment"] = (
            f"release {wanted} is wanted ({_place_of_release()}) and {', '.join(releases)} is "
            "deployed: run metis.upgrade, or write there what is deployed"
        )
        __salt__["metis_run.say"](ret["comment"])
    return ret | {"result": None if new and __opts__["test"] else True}


def _target(back: bool, known: dict[str, Entry]) -> tuple[str, list[str]]:
    """The release to go to, or what is wrong."""
    run = __salt__["metis_run.now"]()
    missing = [i["id"] for i in _switchable() if i["id"] not in known]
    if missing:
        return "", [f"{', '.join(missing)} was not deployed yet: run metis.deploy first"]
    asked = str(__pillar__.get("release") or "")
    if not back:
        wanted = run["topology"]["release"]
        if asked and asked != wanted:
            place = _place_of_release()
            return "", [
                f"release {asked} is asked for, and {wanted} is wanted: write "
                f"`release: {asked}` into {place}"
            ]
        return wanted, []
    before = __salt__["metis_deployed.before"]([known[i["id"]] for i in _switchable()])
    if not before:
        return "", [
            "there is no release to go back to: nothing was upgraded since the last one; "
            "metis.deploy brings up what is deployed"
        ]
    if len(before) > 1:
        return "", [
            f"instances would go back to different releases ({', '.join(before)}): name some of "
            "them with roles or hosts"
        ]
    if asked and [asked] != before:
        return "", [f"release {asked} is asked for, and the one before is {before[0]}"]
    return before[0], []


def _other_database(target: str, known: dict[str, Entry]) -> list[str]:
    problems = []
    for instance in _switchable(["admin"]):
        release = known[instance["id"]]["release"]
        old, new = (
            __salt__["metis_orgs.release"](name)["admin"]["database"] for name in (release, target)
        )
        if old != new:
            problems.append(
                f"{instance['id']}: {release} keeps its data in the database {old}, and {target} "
                f"in {new}: that cannot be carried over; deploy {target} as a new organization"
            )
    return problems


@_phase
def prepared(name: str, back: bool = False) -> State:
    """
    The release to go to is known and complete, and the organization is healthy.

    name
        What the state is called.
    back
        Whether it is the release before, and not the one that the organization's file wants.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    run["entries"] = known = __salt__["metis_deployed.read"](run["org"])
    run["target"], problems = _target(back, known)
    __salt__["metis_run.demand"](problems)
    target = run["target"]
    __salt__["metis_run.demand"](__salt__["metis_orgs.complete_release"](target, run["topology"]))
    __salt__["metis_run.demand"](_other_database(target, known))
    __salt__["metis_roll.look"](sorted({instance["host"] for instance in run["instances"]}))
    if not __opts__["test"]:
        _settle(_switchable())
    _demand_health(_demanded())
    if back and not __opts__["test"]:
        _go_back_once()
    count = sum(1 for instance in _switchable() if not _is_finished(instance))
    ret["comment"] = f"{count} of {len(_switchable())} instances are to be switched to {target}"
    __salt__["metis_run.say"](ret["comment"])
    return ret


def _demanded() -> list[Instance]:
    """
    Which instances have to be well before anything is switched: all. Where a run was cut off, what
    it was cut off at is gone on with first, and what comes after that may not pass without it.
    Whether consul bears it, its servers are asked then.
    """
    run = __salt__["metis_run.now"]()
    order = __salt__["metis_verb.roles"]()
    unfinished = [instance for instance in _switchable() if _is_unfinished(instance)]
    if not unfinished:
        found: list[Instance] = run["instances"]
        return found
    last = min(order.index(instance["role"]) for instance in unfinished)
    return [
        instance
        for instance in run["instances"]
        if last and instance not in unfinished and order.index(instance["role"]) <= last
    ]


def _unwell(instances: list[Instance]) -> dict[str, str]:
    """Instance to what is wrong with it, as it was last seen."""
    return {
        instance["id"]: f"{instance['id']}: {found['explained']}"
        for instance in instances
        if (found := __salt__["metis_roll.found"](instance)) and not found["healthy"]
    }


def _demand_health(instances: list[Instance]) -> None:
    """End the phase, before anything is switched, where one is not well."""
    unwell = _unwell(instances)
    if not unwell:
        return
    entries = __salt__["metis_run.now"]()["entries"]
    mend = "mend this first: metis.deploy brings up what is deployed"
    for name in unwell:
        if "undo" in (entry := entries.get(name, {})):
            verb = "upgrade" if "previous" in entry else "rollback"
            mend = f"{name}: metis.{verb} goes on with it, or switches it back"
    __salt__["metis_run.demand"]([*unwell.values(), f"nothing was switched; {mend}"])


def _go_back_once() -> None:
    """
    What was never brought from the release to go to, of the whole organization, does not go back
    beyond it.
    """
    run = __salt__["metis_run.now"]()
    for identity, entry in run["entries"].items():
        if entry["release"] == run["target"] and "previous" in entry:
            _keep(identity, {key: value for key, value in entry.items() if key != "previous"})


def _runs(instance: Instance, release: str) -> bool:
    found = __salt__["metis_roll.found"](instance)
    return bool(found and found["healthy"] and found["version"] == release)


def _is_at_target(instance: Instance) -> bool:
    run = __salt__["metis_run.now"]()
    return run["entries"][instance["id"]]["release"] == run["target"]


def _is_finished(instance: Instance) -> bool:
    target = __salt__["metis_run.now"]()["target"]
    return _is_at_target(instance) and _runs(instance, target)


def _is_unfinished(instance: Instance) -> bool:
    """Whether a run was cut off while it switched an instance, which has not come to its gate."""
    entry = __salt__["metis_run.now"]()["entries"][instance["id"]]
    return _is_at_target(instance) and "undo" in entry and not _is_finished(instance)


@_phase
def laid_down(name: str, timeout: float = 1800) -> State:
    """
    The release is complete on every host beside the one that runs. Nothing is restarted, and no
    link and no configuration changes.

    name
        What the state is called.
    timeout
        Seconds that one host may take.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    waiting = [instance for instance in _switchable() if not _is_finished(instance)]
    hosts = sorted({instance["host"] for instance in waiting})
    roles = list(dict.fromkeys(instance["role"] for instance in waiting))
    if not hosts:
        return ret | {"comment": "every instance runs it"}
    problems, ret["changes"] = __salt__["metis_ask.apply"](
        hosts, "laid_down", roles, timeout, release=run["target"]
    )
    if problems:
        problems[-1] += "\nnothing was switched"
        return __salt__["metis_run.fail"](ret, problems)
    count = sum(map(len, ret["changes"].values()))
    word = "would change" if __opts__["test"] else "changed"
    ret["comment"] = f"{count} states {word}" if count else "unchanged"
    __salt__["metis_run.say"](f"{name} ({', '.join(hosts)}): {ret['comment']}")
    return ret | {"result": None if count and __opts__["test"] else True}


@_phase
def switched(name: str, roles: list[str], timeout: float = 900) -> State:
    """
    Every instance of some roles runs the release, switched one after the other, each behind its
    gate. One that runs it already is left alone.

    name
        What the state is called.
    roles
        Which roles.
    timeout
        Seconds that one instance may take.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    waiting = [instance for instance in _switchable(roles) if not _is_finished(instance)]
    run["acted"] = run.get("acted", False) or bool(waiting and not __opts__["test"])
    problems = _at_risk(roles) if waiting and not __opts__["test"] else []
    while waiting and not problems:
        try:
            instance = _next(waiting)
            waiting.remove(instance)
            old = (__salt__["metis_roll.found"](instance) or {}).get("version")
            problems = [] if __opts__["test"] else _switch(instance, timeout)
        except salt.exceptions.CommandExecutionError as err:
            problems = [str(err)]
        if not problems:
            ret["changes"][instance["id"]] = {"old": old, "new": run["target"]}
    if problems:
        problems += _renewed_fighters(["data", "compute"])[0]
        # What follows the first was told while it happened.
        lines = [*problems, "no further instance was switched"]
        return __salt__["metis_run.fail"](ret, ["\n".join(lines)])
    count = len(ret["changes"])
    if not __opts__["test"]:
        _settle(_switchable(roles))
        # Those that ran the release before consul was switched.
        problems, renewed = _renewed_fighters(roles)
        ret["changes"] |= renewed
        if problems:
            return __salt__["metis_run.fail"](ret, problems)
    if not ret["changes"]:
        return ret | {"comment": f"all run {run['target']}"}
    word = "would be switched" if __opts__["test"] else "switched"
    ret["comment"] = f"{count} {word} to {run['target']}"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    return ret | {"result": None if __opts__["test"] else True}


def _at_risk(roles: list[str]) -> list[str]:
    """
    What forbids to take an instance of some roles away: another of them that is down. When the run
    began, what it was to go on with may have kept them from passing. consul's servers are asked
    before each.
    """
    others = [
        instance
        for instance in _switchable(roles)
        if instance["role"] != "consul" and not _is_unfinished(instance)
    ]
    if _unwell(others):
        __salt__["metis_roll.look"](sorted({instance["host"] for instance in others}))
    return list(_unwell(others).values())


def _next(waiting: list[Instance]) -> Instance:
    """
    Who is switched next: what a run was cut off at, and else in the order of the file; but of
    consul's servers the leader last, asked for each time as it may have changed.
    """
    unfinished = [instance for instance in waiting if _is_unfinished(instance)]
    if unfinished or __opts__["test"]:
        return (unfinished or waiting)[0]
    return __salt__["metis_roll.following"](waiting)


def _switch(instance: Instance, timeout: float) -> list[str]:
    """Switch an instance, and back where it does not come through its gate. Returns problems."""
    run = __salt__["metis_run.now"]()
    identity, target = instance["id"], run["target"]
    entry = run["entries"][identity]
    if wrong := __salt__["metis_roll.endangered"](instance):
        return wrong
    if _is_at_target(instance):
        __salt__["metis_run.say"](f"  {identity}: going on where a run was cut off")
        before = entry.get("undo")
    else:
        before = {key: value for key, value in entry.items() if key != "undo"}
        entry = {"release": target, "undo": before}
        if run["verb"] == "upgrade":
            entry["previous"] = before["release"]
        _keep(identity, entry)
    problems = _converged(instance, target, timeout)
    if not problems:
        _settle([instance])
        told = ""
        if instance["role"] == "admin":
            database = __salt__["metis_orgs.release"](target)["admin"]["database"]
            known = __salt__["metis_ask.ask"](
                instance["host"], "metis_schema.seen", {"database": database}, _LOOK, dict
            )
            told = f"; its database as it was before is in {known['dump']} on {instance['host']}"
        __salt__["metis_run.say"](f"  {identity}: runs {target}, and is healthy{told}")
        return []
    for problem in problems:
        __salt__["metis_run.say"](f"  {problem.splitlines()[0]}")
    if not before:
        return [*problems, f"nothing is known of what {identity} ran before"]
    if instance["host"] in run["missing"]:
        # It may be in the middle of it, and of a change of the schema.
        return [*problems, f"{identity} was not switched back, as its host may be at work still"]
    return problems + _switched_back(instance, before, timeout)


def _settle(instances: list[Instance]) -> None:
    """What instances ran before comes back no more where they are well with what is on record."""
    run = __salt__["metis_run.now"]()
    through = [i["id"] for i in instances if _runs(i, run["entries"][i["id"]]["release"])]
    __salt__["metis_deployed.settle"](run["org"], through)
    for identity in through:
        run["entries"][identity].pop("undo", None)


def _keep(identity: str, entry: Entry) -> None:
    run = __salt__["metis_run.now"]()
    __salt__["metis_deployed.keep"](run["org"], {identity: entry})
    run["entries"][identity] = entry


def _converged(instance: Instance, release: str, timeout: float) -> list[str]:
    """Have the host make an instance what the record says. Returns what its gate finds wrong."""
    run = __salt__["metis_run.now"]()
    host, identity = instance["host"], instance["id"]
    try:
        problems, _ = __salt__["metis_ask.apply"](
            [host], "running", [instance["role"]], timeout, only=[identity]
        )
        if not problems and instance["role"] == "consul":
            problems = __salt__["metis_roll.quorum"](instance)
    except salt.exceptions.CommandExecutionError as err:
        problems = [str(err)]
    if problems:
        # Nothing that was seen before counts any more.
        run["seen"].pop(host, None)
        return problems
    found = __salt__["metis_roll.found"](instance)
    if found is None:
        return [f"{identity}: {host} does not know of it"]
    if not found["healthy"]:
        return [f"{identity}: {found['explained']}"]
    return [] if _runs(instance, release) else [f"{identity} runs {found['version']}"]


def _switched_back(instance: Instance, before: Entry, timeout: float) -> list[str]:
    """Switch an instance back. Returns what became of that."""
    run = __salt__["metis_run.now"]()
    identity, release = instance["id"], before["release"]
    __salt__["metis_run.say"](f"  {identity}: switching back to {release}")
    told = ""
    try:
        if instance["role"] == "admin":
            asked = {
                "database": __salt__["metis_orgs.release"](release)["admin"]["database"],
                "release": run["target"],
                "back_to": release,
                "unit": "metis-admin.service",
            }
            restored = __salt__["metis_ask.ask"](
                instance["host"], "metis_schema.retreat", asked, _RETREAT, str
            )
            told = f", with its database as in {restored}" if restored else ""
    except salt.exceptions.CommandExecutionError as err:
        _keep(identity, before)
        return [f"switching {identity} back to {release} failed too, it may be down: {err}"]
    _keep(identity, before)
    problems = _converged(instance, release, timeout)
    if problems:
        return [f"switching {identity} back to {release} failed too, it may be down:", *problems]
    done = f"{identity} was switched back to {release}, and is healthy{told}"
    __salt__["metis_run.say"](f"  {done}")
    return [done]


def _renewed_fighters(roles: list[str]) -> tuple[list[str], dict[str, Any]]:
    """
    Start fighters again, one after the other, that are older than the consul agent: their thread
    that looks for carrier died with it. Where a roll-out comes to them, they are switched anyway.
    One that does not come back ends it.

    Returns problems, and changes.
    """
    run = __salt__["metis_run.now"]()
    agent = __salt__["metis_ask.agent_since"]()
    fighters = [role for role in roles if role in ("data", "compute")]
    waiting = [
        instance
        for instance in _switchable(fighters)
        if 0 < ((__salt__["metis_roll.found"](instance) or {}).get("since") or 0) < agent
    ]
    renewed = {}
    while waiting:
        instance = waiting.pop(0)
        identity, host = instance["id"], instance["host"]
        try:
            unit = {"verb": "restart", "names": instance["units"]}
            __salt__["metis_ask.ask"](host, "metis_unit.act", unit, _LOOK, type(None))
            run["seen"][host] = __salt__["metis_ask.ask"](
                host, "metis_instance.status", {"wait": _QUORUM}, _QUORUM + _LOOK, list
            )
        except salt.exceptions.CommandExecutionError as err:
            problems = [str(err)]
        else:
            renewed[identity] = {"old": None, "new": "started again, as consul was"}
            __salt__["metis_run.say"](f"  {identity}: started again, as consul was")
            again = __salt__["metis_roll.found"](instance)
            healthy = again and again["healthy"]
            why = again["explained"] if again else f"{host} does not know of it"
            problems = [] if healthy else [f"{identity}: {why}"]
        if problems:
            left = ", ".join(other["id"] for other in waiting)
            more = f"older than the consul agent, and not started again: {left}"
            return problems + [more] * bool(left), renewed
    return [], renewed


@_phase
def pruned(name: str) -> State:
    """
    Old releases beyond the number of ``releases_kept`` are gone from the hosts, and from the
    master's store where no organization needs them.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    hosts = sorted({instance["host"] for instance in _switchable()})
    asked = {"test": __opts__["test"]}
    pruned = __salt__["metis_ask.ask_all"](hosts, "metis_releases.prune", asked, _LOOK, list)
    removed = {host: releases for host, releases in pruned.items() if releases}
    word = "would be removed" if __opts__["test"] else "removed"
    if count := sum(map(len, removed.values())):
        __salt__["metis_run.say"](f"{name}: {count} {word}")
    stored, why = _pruned_store()
    if why:
        __salt__["metis_run.say"](f"  the master's store keeps all its releases: {why}")
    if stored:
        removed["the master's store"] = stored
        __salt__["metis_run.say"](f"  {', '.join(stored)} {word} from the master's store")
    comment = f"{count + len(stored)} old releases {word}" if removed else "no old releases"
    ret |= {"changes": removed, "comment": comment}
    return ret | {"result": None if removed and __opts__["test"] else True}


def _pruned_store() -> tuple[list[str], str]:
    """The releases that are gone from the master's store, or why none was looked at."""
    run = __salt__["metis_run.now"]()
    # Files may have been edited since this run began.
    orgs = __salt__["metis_orgs.read"]()
    wrong = [org for org, known in orgs.items() if not known["topology"]]
    if wrong:
        return [], f"what {', '.join(wrong)} wants is not known, as its file has faults"
    # As the record is after a real run.
    switched = {
        instance["id"]: {"release": run["target"], "previous": before["release"]}
        for instance in _switchable()
        if (before := run["entries"][instance["id"]])["release"] != run["target"]
    }
    try:
        needed = set(__salt__["metis_deployed.releases"]({run["org"]: switched}))
    except salt.exceptions.CommandExecutionError as err:
        # The record of one whose file is gone.
        return [], str(err)
    needed |= {known["topology"]["release"] for known in orgs.values()}
    kept = max(known["topology"]["releases_kept"] for known in orgs.values())
    args = (sorted(needed), kept, run["target"], __opts__["test"])
    return __salt__["metis_store.prune"](*args), ""
