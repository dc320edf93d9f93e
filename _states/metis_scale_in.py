"""
Out of an organization: the phases of ``metis.scale_in``, and what other verbs do about instances
that are deployed and not wanted any more.

The organization's file says what is wanted, and a record on the master what is deployed. What is in
the record alone is leaving: it is deregistered, its running tasks are waited for, it is stopped and
removed, and then dropped from the record. An instance that is in the record is looked at anew, so
the same command goes on where a run was cut off.
"""

import functools
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

__virtualname__ = "metis_scale_in"

State = dict[str, Any]
Instance = dict[str, Any]

# Seconds for a host to look, and to take instances out beside waiting for their tasks.
_LOOK, _REMOVE = 120, 600
# Seconds for consul's servers to agree after one has left.
_QUORUM = 60
# Seconds for running tasks to end, where the operator does not say.
_DRAIN = 60
# What an organization has one of, and what it knows does not move by itself.
_SINGLE = ("carrier", "admin")
# What is lost for good with one of these: the part to keep, and what it has.
_PRECIOUS = {"carrier": ("data", "the node's identity"), "admin": ("database", "its database")}


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _ask(host: str, function: str, kwarg: dict[str, Any], kind: type) -> Any:
    return __salt__["metis_ask.ask"](host, function, kwarg, _QUORUM + _LOOK, kind)


def _command(verb: str, **asked: str) -> str:
    own = {"org": __salt__["metis_run.now"]()["org"]} | asked
    return f"salt-run state.orchestrate metis.{verb} pillar='{json.dumps(own)}'"


@_phase
def recorded(name: str) -> State:
    """
    The record says where every instance is, so that it can be taken out once the organization's
    file does not have it any more. What is so already is told and left as it is. A restore that was
    cut off does not go on after this without being confirmed: what hosts have is in use.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    topology = run["topology"]
    __salt__["metis_run.demand"](
        [problem for i in run["instances"] for problem in _elsewhere(i, topology["leaving"])]
    )
    known = __salt__["metis_deployed.traces"](run["org"])
    meant = {instance["id"] for instance in run["instances"]}
    traces = {k: t for k, t in __salt__["metis_orgs.traces"](topology).items() if k in meant}
    new = {k: t for k, t in traces.items() if known.get(k, {}) | t != known.get(k)}
    ret["changes"] = {
        key: {"old": "recorded otherwise" if key in known else None, "new": "recorded"}
        for key in new
    }
    if not __opts__["test"]:
        __salt__["metis_secrets.forget"](run["org"], "restoring")
        if new:
            __salt__["metis_deployed.note"](run["org"], new)
    ret["comment"] = f"{len(traces)} instances are recorded"
    if topology["leaving"]:
        names = ", ".join(instance["id"] for instance in topology["leaving"])
        ret["comment"] = f"deployed and not wanted any more: {names}; metis.scale_in takes them out"
        __salt__["metis_run.say"](ret["comment"])
    return ret | {"result": None if new and __opts__["test"] else True}


def _elsewhere(instance: Instance, leaving: list[Instance]) -> list[str]:
    """What keeps an instance from being deployed: the one that it takes the place of."""
    role = instance["role"]
    return [
        f"{instance['id']} is wanted, and {old['id']} is deployed: an organization has one {role}, "
        "and what it knows does not move by itself (docs/faq.md, Grow and shrink); take the old "
        f"one out first\n  {_command('scale_in', roles=role, keep='data,database')}"
        for old in leaving
        if role in _SINGLE and old["role"] == role
    ]


@_phase
def prepared(name: str) -> State:
    """
    What is asked for can be taken out: consul keeps a quorum, nobody uses an agent that leaves, a
    host that is said to be lost is, and what cannot be had again is kept, or its loss confirmed.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    run["keep"], run["drain"], wrong = _settings()
    if wrong:
        return __salt__["metis_run.fail"](ret, wrong, reason="invalid-input")
    for unknown in run["unknown"]:
        passed = "is neither in the organization's file nor to be taken out: passed over"
        __salt__["metis_run.say"](f"{unknown} {passed}")
    if not run["instances"]:
        ret["comment"] = f"nothing to do: {_nothing(run['topology']['leaving'])}"
        __salt__["metis_run.say"](ret["comment"])
        return ret
    if (losses := _unconfirmed()) and not __opts__["test"]:
        return __salt__["metis_run.fail"](ret, losses, reason="invalid-input")
    for loss in losses:
        __salt__["metis_run.say"](loss)
    problems = _still_there(run["lost"])
    if any(instance["role"] == "consul" for instance in run["instances"]):
        problems += _consul_problems()
    if problems:
        problems[-1] += "\nnothing was taken out"
        return __salt__["metis_run.fail"](ret, problems)
    names = ", ".join(instance["id"] for instance in run["instances"])
    ret["comment"] = f"to be taken out: {names}"
    __salt__["metis_run.say"](ret["comment"])
    return ret


def _nothing(leaving: list[Instance]) -> str:
    """Why there is nothing to take out."""
    if not leaving:
        return "nothing is deployed that is not wanted"
    names = ", ".join(instance["id"] for instance in leaving)
    return f"what is asked for leaves out all that is deployed and not wanted, {names}"


def _settings() -> tuple[list[str], int, list[str]]:
    """``keep``, ``drain``, and what is wrong with them."""
    keep = __salt__["metis_verb.names"](__pillar__.get("keep"))
    kept = ("data", "database", "logs")
    wrong = [
        f"keep has {word}, and what can be kept is {', '.join(kept)}"
        for word in keep
        if word not in kept
    ]
    drain = __pillar__.get("drain", _DRAIN)
    if isinstance(drain, bool) or not str(drain).isdigit():
        wrong.append(f"drain is {drain!r}, and has to be seconds, such as 60, or 0 to not wait")
        drain = _DRAIN
    confirm, org = __pillar__.get("confirm"), __salt__["metis_run.now"]()["org"]
    if confirm is not None and str(confirm) != org:
        wrong.append(f"confirm is {confirm!r}, and the organization is {org}")
    return keep, int(drain), wrong


def _unconfirmed() -> list[str]:
    """What would be lost for good, and is neither kept nor confirmed."""
    run = __salt__["metis_run.now"]()
    if __pillar__.get("confirm") is not None:
        return []
    losses = []
    for instance in run["instances"]:
        part, what = _PRECIOUS.get(instance["role"], (None, ""))
        # A lost host has on its disk what it has.
        if part and part not in run["keep"] and instance["host"] not in run["lost"]:
            losses.append(
                f"{instance['id']} would be removed with {what}: keep: {part} leaves that on its "
                f"host, confirm: {run['org']} lets it go for good"
            )
    return losses


def _still_there(lost: list[str]) -> list[str]:
    """Hosts that are said to be lost, and answer."""
    answers = __salt__["metis_fleet.run"](lost, "test.ping", {}, _LOOK)
    return [
        f"{host} answers, so it is not lost: leave it out of lost"
        for host, answer in answers.items()
        if answer["answer"] == "returned"
    ]


def _agent(server: Instance) -> dict[str, Any]:
    return {"address": server["address"], "port": server["settings"]["http_port"]}


def _raft(server: Instance) -> str:
    return f"{server['address']}:{server['settings']['server_port']}"


def _staying() -> list[Instance]:
    """consul's servers that stay: wanted ones, and those that leave another time."""
    run = __salt__["metis_run.now"]()
    leaving = {instance["id"] for instance in run["instances"]}
    every = [*run["topology"]["instances"], *run["topology"]["leaving"]]
    return [i for i in every if i["role"] == "consul" and i["id"] not in leaving]


def _servers() -> list[dict[str, Any]]:
    """consul's servers, as the first of those that stay knows them."""
    first = _staying()[0]
    asked = {"agent": _agent(first)}
    found: list[dict[str, Any]] = _ask(first["host"], "metis_consul.servers", asked, list)
    return found


def _consul_problems() -> list[str]:
    run = __salt__["metis_run.now"]()
    leaving = [instance for instance in run["instances"] if instance["role"] == "consul"]
    staying = _staying()
    names = ", ".join(instance["id"] for instance in leaving)
    if len(staying) % 2 == 0:
        left = ", ".join(instance["id"] for instance in staying)
        return [
            f"without {names}, consul would have {len(staying)} servers ({left}), and raft needs "
            "an odd number: take out all servers that the organization's file does not have, "
            "without hosts and instances in the pillar"
        ]
    well = {server["address"]: server for server in _servers()}
    problems = []
    for server in staying:
        found = well.get(_raft(server))
        if not found or found["wrong"]:
            how = found["wrong"] if found else "is no server of the cluster"
            problems.append(
                f"{server['id']} stays and {how}: without {names} consul would lose its quorum; "
                f"bring it up first\n  {_command('deploy')}"
            )
    return problems + [p for server in leaving for p in _used(server)]


def _used(server: Instance) -> list[str]:
    """Whether programs that stay are registered on the agent of a server that leaves."""
    run = __salt__["metis_run.now"]()
    if server["host"] in run["lost"]:
        return []
    asked = {"agent": _agent(server)}
    if not _ask(server["host"], "metis_consul.listens", asked, bool):
        return []
    registered = _ask(server["host"], "metis_consul.services", asked, dict)
    leaving = {instance["id"] for instance in run["instances"]}
    users = [
        other["id"]
        for other in (*run["topology"]["instances"], *run["topology"]["leaving"])
        if other["id"] not in leaving and other["service"] and other["service"]["id"] in registered
    ]
    return [
        f"{server['id']} is the agent of {', '.join(users)}: deploy first, which gives them another"
        f"\n  {_command('deploy')}"
    ] * bool(users)


@_phase
def taken_out(name: str, roles: list[str]) -> State:
    """
    What is leaving of some roles is deregistered, stopped, removed, and not on record any more.

    name
        What the state is called.
    roles
        Which roles.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    leaving = [instance for instance in run["instances"] if instance["role"] in roles]
    if not leaving:
        return ret | {"comment": "no such instance is leaving"}
    if "consul" in roles:
        for server in _in_order(leaving):
            ret["changes"] |= _take_out([server])
    else:
        ret["changes"] = _take_out(leaving)
    word = "would be taken out" if __opts__["test"] else "taken out"
    ret["comment"] = f"{', '.join(instance['id'] for instance in leaving)} {word}"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    return ret | {"result": None if __opts__["test"] else True}


def _in_order(leaving: list[Instance]) -> list[Instance]:
    """consul's servers: those that are down first, the leader last."""
    known = {server["address"]: server for server in _servers()}

    def rank(server: Instance) -> int:
        found = known.get(_raft(server))
        if not found or found["wrong"]:
            return 0
        return 2 if found["leader"] else 1

    return sorted(leaving, key=rank)


def _take_out(leaving: list[Instance]) -> dict[str, Any]:
    """Take instances out, on their hosts or from afar. Returns what changed."""
    run = __salt__["metis_run.now"]()
    hosts = sorted({i["host"] for i in leaving if i["host"] not in run["lost"]})
    roles = list(dict.fromkeys(instance["role"] for instance in leaving))
    problems, changes = __salt__["metis_ask.apply"](
        hosts,
        "left",
        roles,
        run["drain"] * _waits(leaving) + _REMOVE,
        only=[instance["id"] for instance in leaving],
        keep=run["keep"],
        drain=run["drain"],
    )
    __salt__["metis_run.demand"](problems)
    for instance in leaving:
        if not __opts__["test"]:
            _forget(instance)
    lost = {i["id"]: ["its host is lost"] for i in leaving if i["host"] in run["lost"]}
    return changes | lost


def _waits(leaving: list[Instance]) -> int:
    """How often the host with the most fighters waits for tasks, one fighter after the other."""
    fighters = Counter(i["host"] for i in leaving if i["role"] in ("data", "compute"))
    return max(fighters.values(), default=0)


def _forget(instance: Instance) -> None:
    """Nobody knows of an instance any more: its agent, consul's servers, the record."""
    run = __salt__["metis_run.now"]()
    agent, service = instance["agent"], instance["service"]
    gone = [*run["lost"], *(i["host"] for i in run["instances"] if i["role"] == "consul")]
    if instance["host"] in run["lost"] and service and agent["host"] not in gone:
        asked = {"agent": agent, "service_id": service["id"]}
        _ask(agent["host"], "metis_consul.deregister", asked, type(None))
    if instance["role"] == "consul":
        first = _staying()[0]
        asked = {"agent": _agent(first), "server": _raft(instance), "timeout": _QUORUM}
        asked["node"] = f"consul_{instance['address']}"
        wrong = _ask(first["host"], "metis_consul.expel", asked, str)
        __salt__["metis_run.demand"]([f"{instance['id']}: {wrong}"] if wrong else [])
    __salt__["metis_deployed.drop"](run["org"], instance["id"])
    __salt__["metis_run.say"](f"  {instance['id']}: taken out")
