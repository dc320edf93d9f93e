"""
What runs is restarted, or reloaded: the phases of ``metis.restart`` and ``metis.reload``.

Both look first, leave alone what was stopped on purpose, and take one instance after the other,
each behind its gate: of consul's servers the leader last, and only while all of them are there. One
that does not come back ends the roll.
"""

import datetime
import functools
from collections.abc import Callable
from typing import Any

import salt.exceptions

__virtualname__ = "metis_roll"

State = dict[str, Any]
Instance = dict[str, Any]

# Seconds for systemd to stop and start the units of an instance; each has a limit of its own.
_SYSTEMD = 240
# How long after its end a restart that failed is gone on with; after that, one begins anew.
_SAME = datetime.timedelta(hours=1)
_FIGHTERS = ("data", "compute")
# What a reload may change: everything else is for a deploy.
_CONFIGURATION = (".configured", ".running")


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _hosts(instances: list[Instance]) -> list[str]:
    return sorted({instance["host"] for instance in instances})


@_phase
def looked(name: str) -> State:
    """
    It is known how every instance is. What was stopped on purpose stays out of this run; what was
    not deployed yet ends it.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    __salt__["metis_roll.look"](_hosts(run["instances"]))
    known = __salt__["metis_deployed.read"](run["org"])
    recorded = {i["id"] for i in __salt__["metis_deployed.switchable"](run["instances"])}
    new, stopped = [], []
    for instance in run["instances"]:
        seen = __salt__["metis_roll.found"](instance)
        unrecorded = instance["id"] in recorded and instance["id"] not in known
        if seen is None or seen["state"] == "absent" or unrecorded:
            new.append(f"{instance['id']} is not deployed yet: run metis.deploy")
        elif seen["state"] == "stopped":
            stopped.append(instance["id"])
    __salt__["metis_run.demand"](new)
    run["stopped"] = stopped
    run["instances"] = [i for i in run["instances"] if i["id"] not in stopped]
    count = len(run["instances"])
    ret["comment"] = f"{count} instances run" if count else "nothing runs"
    if stopped:
        ret["comment"] += f"; stopped, and staying so: {', '.join(stopped)}"
        __salt__["metis_run.say"](ret["comment"])
    return ret


def _next(waiting: list[Instance]) -> Instance:
    """
    Who is next: who is not well, as that is down already, before one that others stand in for.
    """
    unwell = [i for i in waiting if not (__salt__["metis_roll.found"](i) or {}).get("healthy")]
    return unwell[0] if unwell else __salt__["metis_roll.following"](waiting)


@_phase
def restarted(name: str, roles: list[str], timeout: float = 180) -> State:
    """
    Every instance of some roles that was not stopped was started anew and is healthy, one after the
    other.

    name
        What the state is called.
    roles
        Which roles.
    timeout
        Seconds to wait for each to be healthy.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    meant = [instance for instance in run["instances"] if instance["role"] in roles]
    waiting = [instance for instance in meant if not _is_restarted(instance)]
    while waiting:
        instance = _next(waiting)
        waiting.remove(instance)
        units = ", ".join(instance["units"])
        if __opts__["test"]:
            __salt__["metis_run.say"](f"  {instance['id']}: {units} would be restarted")
        else:
            problems = __salt__["metis_roll.endangered"](instance) or _restart(instance, timeout)
            if not problems and not waiting and instance["role"] == "consul":
                problems = __salt__["metis_roll.quorum"](instance)
            if problems:
                left = ", ".join(other["id"] for other in waiting)
                problems[-1] += f"\nnot restarted in this step: {left}" * bool(left)
                return __salt__["metis_run.fail"](ret, problems)
        ret["changes"][instance["id"]] = {"old": None, "new": f"restarted: {units}"}
    count = len(ret["changes"])
    if not count:
        return ret | {
            "comment": "all were restarted before" if meant else "nothing of it is to be restarted"
        }
    ret["comment"] = f"{count} {'would be ' if __opts__['test'] else ''}restarted"
    if blind := _without_agent(ret["changes"]):
        ret["comment"] += f"; they find carrier only after a restart of their own: {blind}"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    return ret | {"result": None if __opts__["test"] else True}


def _is_restarted(instance: Instance) -> bool:
    """
    Whether the same restart was cut off or failed before, and an instance runs well that it
    restarted.
    """
    run = __salt__["metis_run.now"]()
    if "restarted" not in run:
        run["restarted"] = _restarted_before()
    seen = __salt__["metis_roll.found"](instance)
    before = run["restarted"].get(instance["id"])
    # Told once is not trusted: it is that program still, and it is well.
    if not seen or not seen["healthy"] or before is None or seen["since"] != before:
        return False
    __salt__["metis_run.note"]("restarted", instance=instance["id"], since=before)
    __salt__["metis_run.say"](f"  {instance['id']}: was restarted before, and is healthy")
    return True


def _restarted_before() -> dict[str, float]:
    """When instances were started by the restart that is gone on with; nothing where it ended."""
    run = __salt__["metis_run.now"]()
    asked = __salt__["metis_verb.given"](__pillar__)
    for known in __salt__["metis_journal.runs"](run["org"]):
        if known["verb"] != "restart" or known["test"] or known["run"] == run["id"]:
            continue
        if known["result"] == "done" or known["asked"] != asked:
            return {}
        entries = __salt__["metis_journal.read"](known["run"], run["org"])
        ended = datetime.datetime.fromisoformat(entries[-1]["time"])
        if datetime.datetime.now(datetime.UTC) - ended > _SAME:
            return {}
        # One that came to no instance, as it was locked out, is no end of those before it.
        found = {e["instance"]: e["since"] for e in entries if e["event"] == "restarted"}
        if found:
            which = f"the restart of run {known['run']}, which did not end"
            __salt__["metis_run.say"](f"going on with {which}")
            return found
    return {}


def _without_agent(restarted: dict[str, Any]) -> str:
    """
    Fighters that lose the consul agent in this run and are not restarted in it: their thread that
    looks for carrier does not survive that (service-contract 6).
    """
    run = __salt__["metis_run.now"]()
    if f"consul@{run['topology']['agent']['host']}" not in restarted:
        return ""
    own = [instance["id"] for instance in run["instances"]]
    every = __salt__["metis_topology.instances"](run["topology"], list(_FIGHTERS))
    out = [i["id"] for i in every if i["id"] not in [*own, *run["stopped"]]]
    return ", ".join(out)


def _restart(instance: Instance, timeout: float) -> list[str]:
    """Restart an instance. Returns what is wrong with it then."""
    run = __salt__["metis_run.now"]()
    host, identity = instance["host"], instance["id"]
    run["acted"] = True
    asked = {"instance": identity, "timeout": timeout}
    try:
        seen = __salt__["metis_ask.ask"](
            host, "metis_instance.restart", asked, timeout + _SYSTEMD, dict
        )
    except salt.exceptions.CommandExecutionError as err:
        return [str(err)]
    run["seen"][host] = [seen if one["id"] == identity else one for one in run["seen"][host]]
    if not seen["healthy"]:
        return [f"{identity} did not come back: {seen['explained']}"]
    __salt__["metis_run.note"]("restarted", instance=identity, since=seen["since"])
    __salt__["metis_run.say"](f"  {identity}: restarted, and is healthy")
    return []


@_phase
def shown(name: str, timeout: float = 900) -> State:
    """
    It is shown what differs on hosts from the organization's file, and which units would be
    restarted. Nothing is changed. What more than configuration would change ends it.

    name
        What the state is called.
    timeout
        Seconds that one host may take.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    __salt__["metis_run.demand"](_predict(timeout))
    run["shown"] = run["predicted"]
    if not __opts__["test"]:
        # What follows is no dry run.
        run["predicted"] = {}
    changes = {
        # A state of several names has one ID.
        host: list(dict.fromkeys(state["__id__"] for state in states.values()))
        for host, states in run["shown"].items()
        if states
    }
    more = [
        f"{host}: {state['__id__']}: this is no configuration; run metis.deploy"
        for host, states in run["shown"].items()
        for state in states.values()
        if not state["__sls__"].endswith(_CONFIGURATION)
    ]
    __salt__["metis_run.demand"](more)
    count = sum(map(len, changes.values()))
    ret["comment"] = f"{count} states would change" if count else "nothing to do"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    if __opts__["test"] and count:
        ret |= {"result": None, "changes": changes}
    return ret


def _predict(timeout: float) -> list[str]:
    """Have hosts say what would change. Returns problems."""
    run = __salt__["metis_run.now"]()
    instances = run["instances"]
    if not instances:
        return []
    asked: dict[str, Any] = {"test": True, "only": [instance["id"] for instance in instances]}
    roles = list(dict.fromkeys(instance["role"] for instance in instances))
    problems, _ = __salt__["metis_ask.apply"](_hosts(instances), "running", roles, timeout, **asked)
    agent = run["predicted"].get(run["topology"]["agent"]["host"], {})
    fighters = _hosts([i for i in instances if i["role"] in _FIGHTERS])
    if not problems and fighters and __salt__["metis_predicted.restarts_agent"](agent):
        # They are started again when the consul agent is, which their hosts cannot know.
        own = [role for role in roles if role in _FIGHTERS]
        again = __salt__["metis_ask.apply"](fighters, "running", own, timeout, **asked)
        problems = again[0]
    return list(problems)


@_phase
def reloaded(name: str, roles: list[str], timeout: float = 900) -> State:
    """
    Instances of some roles run with what was shown, one after the other; where nothing was, nothing
    is done.

    name
        What the state is called.
    roles
        Which roles.
    timeout
        Seconds that one instance may take.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    waiting = [i for i in run["instances"] if i["role"] in roles and _is_meant(i)]
    if __opts__["test"] or not waiting:
        return ret | {"comment": "nothing to do" if not waiting else "as shown"}
    while waiting:
        instance = _next(waiting)
        waiting.remove(instance)
        host, role = instance["host"], instance["role"]
        problems = __salt__["metis_roll.endangered"](instance) if _restarts(instance) else []
        if not problems:
            run["acted"] = True
            only = [instance["id"]] if _restarts(instance) else []
            problems, changes = __salt__["metis_ask.apply"](
                [host], "running", [role], timeout, only=only
            )
            for changed, states in changes.items():
                mine = ret["changes"].setdefault(changed, [])
                mine += [state for state in states if state not in mine]
            problems = problems or _unwell(instance)
        if problems:
            return __salt__["metis_run.fail"](ret, problems)
    count = sum(map(len, ret["changes"].values()))
    ret["comment"] = f"{count} states changed"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    return ret


def _unwell(instance: Instance) -> list[str]:
    """What is wrong with an instance as it was last seen; others of its host may be stopped."""
    seen = __salt__["metis_roll.found"](instance)
    if seen is None:
        return [f"{instance['id']}: {instance['host']} does not know of it"]
    return [] if seen["healthy"] else [f"{instance['id']}: {seen['explained']}"]


def _own(instance: Instance) -> list[State]:
    """What was shown of an instance's role on its host."""
    states = __salt__["metis_run.now"]()["shown"].get(instance["host"], {}).values()
    return [state for state in states if state["__sls__"].startswith(f"roles.{instance['role']}.")]


def _restarts(instance: Instance) -> bool:
    """Whether it was shown that a unit of an instance would be restarted."""
    return any(state["name"] in instance["units"] for state in _own(instance))


def _is_meant(instance: Instance) -> bool:
    """
    Whether an instance is told of what was shown: fighters of one kind on a host share their
    states, so each takes its own, and the first of them what is none's alone.
    """
    own = _own(instance)
    if instance["role"] not in _FIGHTERS or not own:
        return bool(own)
    run = __salt__["metis_run.now"]()
    kin = [
        i
        for i in run["instances"]
        if (i["host"], i["role"]) == (instance["host"], instance["role"])
    ]
    meant = [one for one in kin if _restarts(one)] or kin[:1]
    return instance in meant
