"""
The phases of a verb, for orchestrations: which hosts act, in which order, and whether they did.

A verb's SLS is a list of these states. What they share, and how they tell the operator something,
is ``metis_run``; how they tell hosts something is ``metis_ask``.
"""

import contextvars
import functools
import itertools
import time
from collections.abc import Callable
from typing import Any

__virtualname__ = "metis"

State = dict[str, Any]

_NO_PILLAR = (
    "the master has no organizations in its pillar: look whether master.d/metis.conf is in use "
    "(id: metis_master), whether the master's Python has pydantic, rich and zxcvbn, and what "
    "salt-run metis.status says"
)
# Seconds for a host to say that it is ready; the first time, it fetches every module.
_READY = 120
# Seconds for hosts to end what a run that was cut off told them, and between two looks at that.
_BUSY, _PAUSE = 900, 2


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        # Salt finds a state module's __states__ by the context that calls it.
        own = functools.partial(contextvars.copy_context().run, function)
        return __salt__["metis_run.phase"](own, name, args, kwargs)

    return phase


def guarded(
    name: str, hosts: bool = True, takes: list[str] | None = None, leaving: bool = False
) -> State:
    """
    The organization's file is valid, no other verb is at work on it, and every host answers and has
    this project's modules.

    The first phase of every verb: it begins the run.

    name
        What the state is called.
    hosts
        Whether the hosts are asked at all.
    takes
        What the verb may be told in the pillar beside the organization, hosts and roles.
    leaving
        Whether the verb is about what is deployed and not wanted any more, and not about what is
        wanted.
    """
    phases = [chunk["name"] for chunk in __lowstate__ if chunk["state"].startswith("metis")]
    __salt__["metis_run.begin"](__low__["__sls__"].rpartition(".")[2], phases)
    return __salt__["metis_run.phase"](_guarded, name, [hosts, takes or [], leaving], {})


def _guarded(name: str, hosts: bool, takes: list[str], leaving: bool) -> State:
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    if "metis" not in __pillar__:
        return __salt__["metis_run.fail"](ret, [_NO_PILLAR])
    request = __salt__["metis_verb.request"](
        __pillar__, __pillar__["metis"]["orgs"], takes, leaving
    )
    if request["org"]:
        __salt__["metis_run.keep_journal"](request["org"])
    __salt__["metis_run.heed_signals"]()
    if request["error"]:
        # Each fault is told at once: what Salt prints of the steps after it is long.
        return __salt__["metis_run.fail"](ret, request["error"].splitlines(), "invalid-input")
    run |= request
    if locked := __salt__["metis_run.lock"]():
        return __salt__["metis_run.fail"](ret, locked, "locked")
    named = run["hosts"]
    deployed = run["topology"]["deployed"]
    planned = {i["id"]: (i if leaving else deployed[i["id"]])["release"] for i in run["instances"]}
    __salt__["metis_run.note"]("plan", instances=planned)
    releases = " and ".join(sorted({release for release in planned.values() if release}))
    __salt__["metis_run.say"](
        f"organization {run['org']}{releases and ', release '}{releases}: {len(planned)} instances "
        + ("are leaving" if leaving else f"on {len(named)} hosts")
    )
    if not hosts:
        return ret | {"comment": f"{run['org']} is valid"}
    return _answering(ret)


@_phase
def answering(name: str) -> State:
    """
    Every host answers and has this project's modules: for a verb that does not begin with that.

    name
        What the state is called.
    """
    return _answering(__salt__["metis_run.state"](name))


def _answering(ret: State) -> State:
    named = __salt__["metis_run.now"]()["hosts"]
    if not named:
        return ret | {"comment": "there is no host to ask"}
    wanted = __salt__["metis_host.fingerprint"](__opts__["module_dirs"] + __opts__["states_dirs"])
    answers = _ready(named, wanted)
    # A new minion does not even know the question.
    new = [h for h, a in answers.items() if "is not available" in str(a["return"])]
    if new:
        __salt__["metis_fleet.run"](new, "saltutil.sync_modules", {"refresh": True}, _READY)
        answers |= _ready(new, wanted)
    problems = __salt__["metis_ask.problems"](answers, _READY, (bool, dict))
    problems += _still_busy([h for h, a in answers.items() if isinstance(a["return"], dict)])
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    __salt__["metis_run.say"](f"every host answers: {', '.join(named)}")
    return ret | {"comment": f"{', '.join(named)} answer"}


def _ready(hosts: list[str], wanted: str) -> dict[str, Any]:
    return __salt__["metis_fleet.run"](hosts, "metis_host.ready", {"wanted": wanted}, _READY)


def _still_busy(hosts: list[str]) -> list[str]:
    """
    Wait for hosts to end what they were told by a run that was cut off. Returns who did not.
    """
    end = time.monotonic() + _BUSY
    if hosts:
        __salt__["metis_run.say"](f"  waiting for what {', '.join(hosts)} was told before")
    while hosts:
        asked = {"fun": "state.*"}
        answers = __salt__["metis_fleet.run"](hosts, "saltutil.is_running", asked, _READY)
        if problems := __salt__["metis_ask.problems"](answers, _READY, (list,)):
            return problems
        hosts = [host for host, answer in answers.items() if answer["return"]]
        if hosts and time.monotonic() > end:
            return [f"{host} works on what another run told it" for host in hosts]
        if hosts:
            time.sleep(_PAUSE)
    return []


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
    run = __salt__["metis_run.now"]()
    seen = run["seen"]
    if to != "running":
        return [hosts]
    agent = __salt__["metis_ask.agent_since"]()
    first, then = [], []
    for host in hosts:
        own = [i for i in seen[host] if i["role"] in roles] if host in seen else None
        if own is None or any(instance["state"] != "running" for instance in own):
            first.append(host)
        elif run["predicted"].get(host) or any(
            i["drift"] or not i["healthy"] or _outlived(i, agent) for i in own
        ):
            then.append([host])
    if __opts__["test"]:
        return [sorted([*first, *itertools.chain(*then)])] if first or then else []
    return ([first] if first else []) + then


@_phase
def stored(name: str, wanted: bool = False) -> State:
    """
    Every artifact that the roles need is in the master's store, and right: of the release that each
    instance runs, and of the one that an upgrade goes to.

    name
        What the state is called.
    wanted
        Whether the release counts too that the organization's file wants.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    begun = time.monotonic()
    needed: dict[str, set[str]] = {}
    for instance in run["instances"]:
        releases = [run["topology"]["deployed"][instance["id"]]["release"], run.get("target")]
        releases += [run["topology"]["release"]] if wanted else []
        for release in filter(None, releases):
            needed.setdefault(release, set()).add(instance["role"])
    problems = []
    for release, roles in needed.items():
        content = __salt__["metis_orgs.release"](release)
        say = __salt__["metis_run.say"]
        done = __salt__["metis_store.fill"](content, sorted(roles), say, __opts__["test"])
        ret["changes"] |= done["changes"]
        problems += done["problems"]
    if problems:
        problems[-1] += "\nno host was touched"
        return __salt__["metis_run.fail"](ret, problems)
    count = len(ret["changes"])
    word = "would be fetched" if __opts__["test"] else "fetched"
    what = f"{count} artifacts {word}" if count else "all is there"
    __salt__["metis_run.say"](f"{name}: {what}, {time.monotonic() - begun:.1f} s")
    return ret | {"result": None if count and __opts__["test"] else True, "comment": what}


@_phase
def served(name: str) -> State:
    """
    The master's store is served to the hosts of all its organizations.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    begun = time.monotonic()
    orgs = __pillar__["metis"]["orgs"].values()
    stores = [org["topology"]["store"] for org in orgs if org["topology"]]
    done: State = __states__["metis_store.served"](name, stores)
    if done["result"] is False:
        fail = __salt__["metis_run.fail"](ret, [done["comment"]])
        return fail | {"changes": done["changes"]}
    what = done["comment"] if done["changes"] or done.get("warnings") else "unchanged"
    __salt__["metis_run.say"](f"{name}: {what}, {time.monotonic() - begun:.1f} s")
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
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    begun = time.monotonic()
    hosts = sorted({i["host"] for i in run["instances"] if i["role"] in roles})
    wanted = {i["role"] for i in run["instances"]}
    roles = [role for role in roles if role in wanted]
    if not hosts:
        __salt__["metis_run.say"](f"{name}: nothing to do")
        return ret | {"comment": "no such instance is wanted"}
    acted = []
    for step in _steps(hosts, to, roles):
        acted += step
        run["acted"] = run.get("acted", False) or to == "running"
        problems, changes = __salt__["metis_ask.apply"](step, to, roles, timeout)
        ret["changes"] |= changes
        if to == "running" and not __opts__["test"]:
            problems = problems or __salt__["metis_ask.unhealthy"](step, roles)
        if problems:
            return __salt__["metis_run.fail"](ret, problems)
    count = sum(map(len, ret["changes"].values()))
    word = "would change" if __opts__["test"] else "changed"
    what = f"{count} states {word}" if count else "unchanged"
    if not acted:
        what = "all run and are healthy"
    __salt__["metis_run.say"](
        f"{name} ({', '.join(hosts)}): {what}, {time.monotonic() - begun:.1f} s"
    )
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
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    if __opts__["test"]:
        return ret | {"comment": "looked at after a real run only"}
    hosts = sorted({instance["host"] for instance in run["instances"]})
    wanted = {instance["id"] for instance in run["instances"]}
    # What was seen before something was started may be otherwise now.
    unknown = [
        host
        for host in hosts
        if run.get("acted")
        or host not in run["seen"]
        or not all(i["healthy"] for i in run["seen"][host])
    ]
    answers = __salt__["metis_fleet.run"](
        unknown, "metis_instance.status", {"wait": timeout}, timeout + 60
    )
    problems = __salt__["metis_ask.problems"](answers, timeout + 60, (list,))
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
    well = {name: found["version"] for name, found in seen.items() if found["healthy"]}
    deployed = __salt__["metis_deployed.read"](run["org"])
    through = [name for name, entry in deployed.items() if well.get(name) == entry["release"]]
    __salt__["metis_deployed.settle"](run["org"], through)
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    versions = {name: well[name] for name in sorted(wanted)}
    __salt__["metis_run.note"]("versions", instances=versions)
    __salt__["metis_run.say"](f"{len(wanted)} instances run, are registered and pass")
    return ret | {"comment": f"{len(wanted)} instances: {', '.join(sorted(wanted))}"}
