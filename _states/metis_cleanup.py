"""
An organization goes: the phases of ``metis.cleanup``.

What goes is asked of each host, which knows what carries the organization's mark
(``metis_ownership``). It is told, and refused while something runs, while the organization has an
identity in the network, and without a confirmation. A host keeps its mark until all that has to go
has gone, so a run that was cut off is gone on with by the same command.
"""

import functools
from collections.abc import Callable
from typing import Any

__virtualname__ = "metis_cleanup"

State = dict[str, Any]
Survey = dict[str, Any]

# Seconds for hosts to look; apt is asked what else would go.
_LOOK = 180
_PARTS = ("data", "database", "logs")
# What is told of a host, in this order.
_KINDS = ("units", "users", "databases", "accounts", "packages", "paths", "folders")


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _kept_parts() -> list[str]:
    asked = __pillar__.get("keep") or []
    names = asked if isinstance(asked, list) else str(asked).split(",")
    return [str(name).strip() for name in names]


def _is_whole() -> bool:
    """Whether no filter leaves something of the organization."""
    return not __pillar__.get("hosts") and not __pillar__.get("roles")


def _leaving() -> dict[str, list[str]]:
    """
    Host to the roles that leave it. Where no role is named, those too that the file has taken from
    a host, but none that is switched off.
    """
    run = __salt__["metis_run.now"]()
    hosts = sorted({instance["host"] for instance in run["instances"]})
    found = {}
    for host in hosts:
        wanted = [i["role"] for i in run["instances"] if i["host"] == host]
        other = [i["role"] for i in run["topology"]["instances"] if i["host"] == host]
        if not __pillar__.get("roles"):
            wanted += [role for role in __salt__["metis_verb.roles"]() if role not in other]
        found[host] = list(dict.fromkeys(wanted))
    return found


def _wrong_words() -> list[str]:
    """What is wrong with what the operator gave."""
    org = __salt__["metis_run.now"]()["org"]
    problems = [
        f"keep has {part!r}: it takes {', '.join(_PARTS)}"
        for part in _kept_parts()
        if part not in _PARTS
    ]
    confirm = __pillar__.get("confirm")
    if confirm is not None and str(confirm) != org:
        problems.append(f"confirm is {confirm!r}, and the organization is {org}")
    if not isinstance(__pillar__.get("forget_identity", False), bool):
        problems.append("forget_identity is true or false")
    return problems


def _lines(survey: Survey) -> list[str]:
    found = [f"{kind}: {', '.join(survey[kind])}" for kind in _KINDS if survey[kind]]
    found = found or ["nothing goes"]
    found += [f"kept: {text}" for text in survey["kept"]]
    return found + [f"stays: {text}" for text in survey["stays"]]


@_phase
def surveyed(name: str) -> State:
    """
    It is known and told what would go from each host, what is kept, and what stays as it is not the
    organization's; and known whether the network has an identity that would be left without a node.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    if wrong := _wrong_words():
        return __salt__["metis_run.fail"](ret, wrong, "invalid-input")
    run["leaving"] = _leaving()
    asked = {"roles": run["leaving"], "keep": _kept_parts()}
    hosts = list(run["leaving"])
    run["surveys"] = __salt__["metis_ask.ask_all"](
        hosts, "metis_absence.survey", asked, _LOOK, dict
    )
    run["identities"] = _identities()
    told = [f"{host}: {line}" for host, survey in run["surveys"].items() for line in _lines(survey)]
    for line in told:
        __salt__["metis_run.say"](f"  {line}")
    return ret | {"comment": "\n".join(told)}


def _carrier_leaves() -> bool:
    """Whether the node's key goes, by which the network knows the organization."""
    run = __salt__["metis_run.now"]()
    every = run["topology"]["instances"] + run["topology"]["leaving"]
    hosts = [instance["host"] for instance in every if instance["role"] == "carrier"]
    leaves = any("carrier" in run["leaving"].get(host, []) for host in hosts)
    return leaves and "data" not in _kept_parts()


def _identities() -> dict[str, dict[str, Any]]:
    """
    Host to the identity that admin's database there says: where that database goes, and wherever it
    is if carrier goes, on whose key the identity rests.
    """
    run = __salt__["metis_run.now"]()
    found = {host: own["identity"] for host, own in run["surveys"].items() if own["identity"]}
    if not _carrier_leaves() or __pillar__.get("forget_identity"):
        return found
    for trace in __salt__["metis_deployed.traces"](run["org"]).values():
        if trace["role"] == "admin" and trace["host"] not in found:
            asked = {"database": trace["database"]}
            host = trace["host"]
            known = __salt__["metis_ask.ask"](host, "metis_identity.known", asked, _LOOK, dict)
            found[host] = known
    return found


def _registered(host: str, identity: dict[str, Any]) -> list[str]:
    """What is wrong with the identity of the organization: it is in the network, or not known."""
    if __pillar__.get("forget_identity"):
        return []
    anyway = "or give forget_identity: true, and the network keeps an identity without a node"
    if identity["unknown"]:
        return [
            f"{host}: it is not known whether the organization has an identity in the network: "
            f"{identity['unknown']}; {anyway}"
        ]
    return [
        f"{host}: the organization is in the network as {one}: deregister it in admin's console "
        f"(metis.start first), {anyway}"
        for one in identity["joined"]
    ]


def _left_elsewhere() -> list[str]:
    """What is deployed and was not looked at: its host has nothing wanted that could go."""
    run = __salt__["metis_run.now"]()
    return [
        f"{instance['id']} is deployed, and the organization's file does not have it any more: "
        "run metis.scale_in first"
        for instance in run["topology"]["leaving"]
        if _is_whole() and instance["role"] not in run["leaving"].get(instance["host"], [])
    ]


@_phase
def allowed(name: str) -> State:
    """
    Nothing that would go runs, no identity is left in the network, and the operator has confirmed.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    org = run["org"]
    problems = _left_elsewhere()
    for host, survey in run["surveys"].items():
        if survey["running"]:
            what = ", ".join(survey["running"])
            problems.append(f"{host}: {what} still runs: run metis.stop first")
    for host, identity in run["identities"].items():
        problems += _registered(host, identity)
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    if __pillar__.get("confirm") is None and not __opts__["test"]:
        words = f"nothing was removed: to remove what is told above, give confirm: {org}"
        return __salt__["metis_run.fail"](ret, [words], "invalid-input")
    return ret | {"comment": "nothing runs, and no identity is left in the network"}


def _things(survey: Survey) -> list[str]:
    return [f"{kind}: {thing}" for kind in _KINDS for thing in survey[kind]]


@_phase
def removed(name: str, timeout: float) -> State:
    """
    What was told is gone from every host.

    name
        What the state is called.
    timeout
        Seconds that one host may take.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    roles = sorted({instance["role"] for instance in run["instances"]})
    own = {(instance["host"], instance["role"]) for instance in run["instances"]}
    besides = {
        host: [role for role in leaving if (host, role) not in own]
        for host, leaving in run["leaving"].items()
    }
    problems, _ = __salt__["metis_ask.apply"](
        list(run["leaving"]), "absent", roles, timeout, keep=_kept_parts(), besides=besides
    )
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    things = {host: _things(survey) for host, survey in run["surveys"].items()}
    ret["changes"] = {host: found for host, found in things.items() if found}
    count = sum(map(len, ret["changes"].values()))
    word = "would go" if __opts__["test"] else "are gone"
    ret["comment"] = f"{count} things {word}" if count else "there was nothing"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    return ret | {"result": None if count and __opts__["test"] else True}


@_phase
def proven(name: str) -> State:
    """
    Each host was looked at again, and has nothing of what should have gone.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    if __opts__["test"]:
        return ret | {"comment": "looked at after a real run only"}
    asked = {"surveys": run["surveys"]}
    hosts = list(run["leaving"])
    left = __salt__["metis_ask.ask_all"](hosts, "metis_absence.left", asked, _LOOK, list)
    problems = [f"{host}: is still there: {', '.join(what)}" for host, what in left.items() if what]
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    ret["comment"] = f"nothing is left on {', '.join(left)}"
    __salt__["metis_run.say"](ret["comment"])
    return ret


@_phase
def forgotten(name: str) -> State:
    """
    The master's record of what is deployed has nothing of what is gone. Passwords that were made
    and the organization's authority go with the last of it, unless the database is kept. The
    organization's file stays, as do the journals of its runs and the programs in the store.

    name
        What the state is called.
    """
    ret = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    org = run["org"]
    known = __salt__["metis_deployed.read"](org) | __salt__["metis_deployed.traces"](org)
    off = {i["id"] for i in run["topology"]["instances"] if not i["settings"]["enabled"]}
    gone = {instance["id"] for instance in run["instances"]}
    gone |= set(known) - off if _is_whole() else set()
    last = _is_whole() and not set(known) - gone
    secrets = last and "database" not in _kept_parts()
    dropped = sorted(set(known) & gone)
    if dropped:
        ret["changes"]["deployed"] = {"old": dropped, "new": None}
    if secrets and __salt__["metis_secrets.edit"](org, bool):
        ret["changes"]["secrets"] = {"old": "made on this master", "new": None}
    if not __opts__["test"]:
        for identity in dropped:
            __salt__["metis_deployed.drop"](org, identity)
        if last:
            __salt__["metis_secrets.forget"](org, "deployed")
            # Of a restore that was cut off.
            __salt__["metis_secrets.forget"](org, "restoring")
        if secrets:
            __salt__["metis_secrets.forget"](org)
    kept = "" if secrets else "; its passwords and its authority are kept"
    word = "would lose" if __opts__["test"] else "lost"
    ret["comment"] = f"the record of what is deployed {word} {len(dropped)} instances{kept}"
    __salt__["metis_run.say"](f"{name}: {ret['comment']}")
    return ret | {"result": None if ret["changes"] and __opts__["test"] else True}
