"""
The phases of a verb, for orchestrations: which hosts act, in which order, and whether they did.

A verb's SLS is a list of these states. They share what is known of the run through ``__context__``,
which lives as long as the orchestration: the request, and each host's instances as last seen.
Progress goes to standard error, as it happens: an orchestration runs in the process of salt-run.
"""

import atexit
import functools
import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import salt.exceptions
import salt.minion

__virtualname__ = "metis"

State = dict[str, Any]

_NO_PILLAR = (
    "the master has no organizations in its pillar: look whether master.d/metis.conf is in use "
    "(id: metis_master), whether the master's Python has pydantic and zxcvbn, and what "
    "salt-run pillar.show_pillar metis_master says"
)
# Seconds for a host to say that it is ready; the first time, it fetches every module.
_READY = 120
# Seconds between two lines that a host is still at work.
_PATIENCE = 10
_WORDS = {
    "missing": "is not a minion of this master: accept its key (salt-key -a {host})",
    "silent": "does not answer: look at salt-minion on it, or at the network",
    "late": "still works on it after {timeout:.0f} s: look with salt {host} saltutil.running",
}

# Salt ends a run at its first failure, but not a dry run.
_NOT_TRIED = {"result": False, "comment": "not tried, as the first step failed"}


def _say(text: str) -> None:
    run = __context__["metis"]
    print(f"{time.monotonic() - run['begun']:6.1f} s  {text}", file=sys.stderr, flush=True)


def _run(name: str) -> State:
    return {"name": name, "result": True, "changes": {}, "comment": ""}


def _fail(ret: State, problems: list[str]) -> State:
    for problem in problems:
        _say(f"FAILED  {problem.splitlines()[0]}")
    return ret | {"result": False, "comment": "\n".join(problems)}


def _leave_returners() -> None:
    """
    Keep the end of salt-run clean and quick: Salt 3008 finalizes the minion object of an
    orchestration while Python shuts down, and loads every returner to do so, with a traceback for
    each that needs an import.
    """
    for thing in gc.get_objects():
        # Not isinstance(): among the things are weak references to what is gone.
        if type(thing) is salt.minion.MasterMinion:
            thing.returners = None


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    """A phase in which Salt itself fails is a phase that failed, with the reason as its comment."""

    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        try:
            return function(name, *args, **kwargs)
        except salt.exceptions.CommandExecutionError as err:
            return _fail(_run(name), [str(err)])

    return phase


@_phase
def guarded(name: str, hosts: bool = True) -> State:
    """
    The organization's file is valid, every host answers and has this project's modules.

    name
        What the state is called.
    hosts
        Whether the hosts are asked at all.
    """
    atexit.register(_leave_returners)
    ret = _run(name)
    __context__["metis"] = run = dict[str, Any](begun=time.monotonic(), seen={}, ready=False)
    if "metis" not in __pillar__:
        return _fail(ret, [_NO_PILLAR])
    request = __salt__["metis_verb.request"](__pillar__, __pillar__["metis"]["orgs"])
    if request["error"]:
        return _fail(ret, [request["error"]])
    run |= request
    named = sorted({instance["host"] for instance in run["instances"]})
    _say(
        f"organization {run['org']}, release {run['topology']['release']}: "
        f"{len(run['instances'])} instances on {len(named)} hosts"
    )
    if not hosts:
        run["ready"] = True
        return ret | {"comment": f"{run['org']} is valid"}
    wanted = __salt__["metis_host.fingerprint"](__opts__["module_dirs"] + __opts__["states_dirs"])
    answers = _ready(named, wanted)
    # A new minion does not even know the question.
    new = [h for h, a in answers.items() if "is not available" in str(a["return"])]
    if new:
        __salt__["metis_fleet.run"](new, "saltutil.sync_modules", {"refresh": True}, _READY)
        answers |= _ready(new, wanted)
    problems = _problems(answers, _READY, (bool,))
    if problems:
        return _fail(ret, problems)
    run["ready"] = True
    _say(f"every host answers: {', '.join(named)}")
    return ret | {"comment": f"{', '.join(named)} answer"}


def _ready(hosts: list[str], wanted: str) -> dict[str, Any]:
    return __salt__["metis_fleet.run"](hosts, "metis_host.ready", {"wanted": wanted}, _READY)


def _problems(answers: dict[str, Any], timeout: float, kind: tuple[type, ...]) -> list[str]:
    """What keeps answers from being good: none, or another than what the function returns."""
    problems = []
    for host, answer in answers.items():
        if answer["answer"] != "returned":
            problems.append(f"{host} {_WORDS[answer['answer']].format(host=host, timeout=timeout)}")
        elif not isinstance(answer["return"], kind):
            problems.append(f"{host} failed: {answer['return']}")
    return problems


def _progress(host: str, answer: dict[str, Any]) -> None:
    if answer["answer"] == "working":
        told = __context__["metis"].setdefault("told", {})
        if time.monotonic() - told.get(host, 0) > _PATIENCE:
            told[host] = time.monotonic()
            _say(f"  {host}: still at work")
    elif isinstance(answer["return"], dict):
        states = answer["return"].values()
        count = sum(1 for state in states if state["changes"])
        failed = sum(1 for state in states if state["result"] is False)
        word = "would change" if __opts__["test"] else "changed"
        _say(
            f"  {host}: {count} of {len(states)} states {word}"
            + f", {failed} FAILED" * bool(failed)
        )


def _run_number(item: tuple[str, dict[str, Any]]) -> int:
    return item[1].get("__run_num__", 0)


def _apply(
    hosts: list[str], to: str, roles: list[str], timeout: float
) -> tuple[list[str], dict[str, list[str]]]:
    """Bring hosts to a state at once. Returns problems, and host to the states that changed."""
    own: dict[str, list[str]] = {host: [] for host in hosts}
    for instance in __context__["metis"]["instances"]:
        mine = own.get(instance["host"])
        if mine is not None and instance["role"] in roles and instance["role"] not in mine:
            mine.append(instance["role"])
    kwarg = {"to": to, "roles": own, "test": __opts__["test"], "agent_since": _agent_since()}
    answers = __salt__["metis_fleet.run"](hosts, "metis_host.reach", kwarg, timeout, _progress)
    problems = _problems(answers, timeout, (dict, list))
    changes: dict[str, list[str]] = {}
    for host, answer in answers.items():
        before = len(problems)
        if isinstance(answer["return"], list):
            problems.append(f"{host}: {'; '.join(map(str, answer['return']))}")
        elif isinstance(answer["return"], dict):
            for tag, state in sorted(answer["return"].items(), key=_run_number):
                # A state whose module is missing has no ID but in its tag.
                identity = state.get("__id__") or tag.split("_|-")[1]
                if "instances" in state:
                    __context__["metis"]["seen"][host] = state["instances"]
                if state["result"] is False and "requisite failed" not in str(state["comment"]):
                    problems.append(f"{host}: {identity}: {state['comment']}")
                mine = changes.setdefault(host, [])
                # A state of several names has one ID.
                if state["result"] is not False and state["changes"] and identity not in mine:
                    mine.append(identity)
            if answer["retcode"] and len(problems) == before:
                problems.append(f"{host} failed with exit code {answer['retcode']}")
    return problems, {host: mine for host, mine in changes.items() if mine}


def _agent_since() -> float:
    """When the consul agent that the programs use was started, as far as this run has seen."""
    run = __context__["metis"]
    host = run["topology"]["agent"]["host"]
    since = [i["since"] for i in run["seen"].get(host, []) if i["role"] == "consul"]
    return since[0] or 0.0 if since else 0.0


def _outlived(instance: dict[str, Any], agent: float) -> bool:
    """
    Whether a fighter is older than the consul agent: its thread that looks for carrier died when
    consul went away, and does not come back (service-contract 6).
    """
    return instance["role"] in ("data", "compute") and instance["since"] < agent


def _steps(hosts: list[str], to: str, roles: list[str]) -> list[list[str]]:
    """
    Who acts when: first all that have to be brought up, together; then, one after the other, those
    that run and need a restart, so that what is redundant stays up. Hosts whose instances were seen
    to be as wanted in this run need nothing.
    """
    seen = __context__["metis"]["seen"]
    if to != "running" or __opts__["test"]:
        return [hosts]
    agent = _agent_since()
    first, then = [], []
    for host in hosts:
        own = [i for i in seen[host] if i["role"] in roles] if host in seen else None
        if own is None or any(instance["state"] != "running" for instance in own):
            first.append(host)
        elif any(i["drift"] or not i["healthy"] or _outlived(i, agent) for i in own):
            then.append([host])
    return ([first] if first else []) + then


def _unhealthy(hosts: list[str], roles: list[str]) -> list[str]:
    """The gate of a phase: what is wrong with the instances that were just brought up."""
    seen = __context__["metis"]["seen"]
    return [
        f"{instance['id']}: {instance['explained']}"
        for host in hosts
        for instance in seen.get(host, [])
        if instance["role"] in roles and not instance["healthy"]
    ]


@_phase
def stored(name: str) -> State:
    """
    Every artifact that the roles need is in the master's store, and right.

    name
        What the state is called.
    """
    ret = _run(name)
    run = __context__["metis"]
    if not run["ready"]:
        return ret | _NOT_TRIED
    begun = time.monotonic()
    release = __salt__["metis_orgs.release"](run["topology"]["release"])
    roles = sorted({instance["role"] for instance in run["instances"]})
    done = __salt__["metis_store.fill"](release, roles, _say, __opts__["test"])
    ret["changes"] = done["changes"]
    if done["problems"]:
        run["ready"] = False
        return _fail(ret, done["problems"])
    count = len(done["changes"])
    word = "would be fetched" if __opts__["test"] else "fetched"
    what = f"{count} artifacts {word}" if count else "all is there"
    _say(f"{name}: {what}, {time.monotonic() - begun:.1f} s")
    return ret | {"result": None if count and __opts__["test"] else True, "comment": what}


@_phase
def served(name: str) -> State:
    """
    The master's store is served to the hosts of all its organizations.

    name
        What the state is called.
    """
    ret = _run(name)
    run = __context__["metis"]
    if not run["ready"]:
        return ret | _NOT_TRIED
    begun = time.monotonic()
    orgs = __pillar__["metis"]["orgs"].values()
    stores = [org["topology"]["store"] for org in orgs if org["topology"]]
    done: State = __states__["metis_store.served"](name, stores)
    if done["result"] is False:
        run["ready"] = False
        return _fail(ret, [done["comment"]]) | {"changes": done["changes"]}
    what = done["comment"] if done["changes"] or done.get("warnings") else "unchanged"
    _say(f"{name}: {what}, {time.monotonic() - begun:.1f} s")
    return done


@_phase
def reached(name: str, to: str, roles: list[str], timeout: float = 900) -> State:
    """
    Every host's instances of some roles are in a state.

    name
        What the state is called.
    to
        ``installed``, ``configured``, ``running`` or ``stopped``.
    roles
        Which roles.
    timeout
        Seconds that one host may take.
    """
    ret = _run(name)
    run = __context__["metis"]
    if not run["ready"]:
        return ret | _NOT_TRIED
    begun = time.monotonic()
    hosts = sorted({i["host"] for i in run["instances"] if i["role"] in roles})
    wanted = {i["role"] for i in run["instances"]}
    roles = [role for role in roles if role in wanted]
    if not hosts:
        _say(f"{name}: nothing to do")
        return ret | {"comment": "no such instance is wanted"}
    acted = []
    for step in _steps(hosts, to, roles):
        acted += step
        run["acted"] = run.get("acted", False) or to == "running"
        problems, changes = _apply(step, to, roles, timeout)
        ret["changes"] |= changes
        if to == "running" and not __opts__["test"]:
            problems = problems or _unhealthy(step, roles)
        if problems:
            return _fail(ret, problems)
    count = sum(map(len, ret["changes"].values()))
    word = "would change" if __opts__["test"] else "changed"
    what = f"{count} states {word}" if count else "unchanged"
    if not acted:
        what = "all run and are healthy"
    _say(f"{name} ({', '.join(hosts)}): {what}, {time.monotonic() - begun:.1f} s")
    return ret | {"result": None if count and __opts__["test"] else True, "comment": what}


@_phase
def passing(name: str, timeout: float = 60) -> State:
    """
    All that is wanted runs, is registered and passes.

    name
        What the state is called.
    timeout
        Seconds to wait for registrations that do not pass yet.
    """
    ret = _run(name)
    run = __context__["metis"]
    if not run["ready"]:
        return ret | _NOT_TRIED
    if __opts__["test"]:
        return ret | {"comment": "looked at after a real run only"}
    hosts = sorted({instance["host"] for instance in run["instances"]})
    wanted = {instance["id"] for instance in run["instances"]}
    # What was seen before something was started may be otherwise now.
    unknown = [
        host
        for host in hosts
        if run.get("acted") or not all(i["healthy"] for i in run["seen"][host])
    ]
    answers = __salt__["metis_fleet.run"](
        unknown, "metis_instance.status", {"wait": timeout}, timeout + 60
    )
    problems = _problems(answers, timeout + 60, (list,))
    run["seen"] |= {h: a["return"] for h, a in answers.items() if isinstance(a["return"], list)}
    seen = {i["id"]: i for host in hosts for i in run["seen"].get(host, [])}
    for instance in run["instances"]:
        found = seen.get(instance["id"])
        if found and not found["healthy"]:
            problems.append(f"{instance['id']}: {found['explained']}")
        elif found is None and instance["host"] in run["seen"]:
            problems.append(
                f"{instance['id']}: {instance['host']} does not know of it, so the organization's "
                "file changed while this ran: run it again"
            )
    if problems:
        return _fail(ret, problems)
    _say(f"{len(wanted)} instances run, are registered and pass")
    return ret | {"comment": f"{len(wanted)} instances: {', '.join(sorted(wanted))}"}
