"""
Whether hosts and release are fit for a verb, before anything is changed.
"""

import functools
import time
from collections.abc import Callable
from typing import Any

import salt.output
import salt.version

__virtualname__ = "metis_check"

State = dict[str, Any]
Finding = dict[str, str]

# Seconds for a host to say what it is and has: apt may have to ask slow sources.
_LOOK = 180
# For what is mended: apt reads all its sources.
_MEND = 600
# For hosts to try their ways to each other.
_REACH = 60
_ORDER = ("failure", "warning", "ok")
_TITLES = {"failure": "failures", "warning": "warnings", "ok": "all is well with"}


def _phase(function: Callable[..., State]) -> Callable[..., State]:
    @functools.wraps(function)
    def phase(name: str, *args: Any, **kwargs: Any) -> State:
        return __salt__["metis_run.phase"](function, name, args, kwargs)

    return phase


def _look(hosts: list[str]) -> list[str]:
    """Keep what hosts are and have; returns what keeps some from saying it."""
    run = __salt__["metis_run.now"]()
    received: dict[str, float] = {}

    def note(host: str, answer: dict[str, Any]) -> None:
        if answer["answer"] == "returned":
            received[host] = time.time()

    asked = {host: run["asked"][host] for host in hosts}
    sent = time.time()
    answers = __salt__["metis_fleet.run"](hosts, "metis_check.facts", {"asked": asked}, _LOOK, note)
    for host, answer in answers.items():
        if isinstance(answer["return"], dict):
            times = {"sent": sent, "received": received.get(host, time.time())}
            own = {"master": salt.version.__version__, **times}
            run["facts"][host] = answer["return"] | own
    problems: list[str] = __salt__["metis_ask.problems"](answers, _LOOK, (dict,))
    return problems


@_phase
def looked(name: str) -> State:
    """
    It is known what every host is and has.

    name
        What the state is called.
    """
    ret: State = __salt__["metis_run.state"](name)
    if problems := _look_at_all():
        return __salt__["metis_run.fail"](ret, problems)
    return ret | {"comment": ", ".join(__salt__["metis_run.now"]()["facts"])}


def _look_at_all() -> list[str]:
    run = __salt__["metis_run.now"]()
    deployed = run["topology"]["deployed"]
    names = {deployed[instance["id"]]["release"] for instance in run["instances"]}
    releases = {name: __salt__["metis_orgs.release"](name) for name in names}
    sizes: dict[str, int] = {}
    for content in releases.values():
        sizes |= __salt__["metis_store.sizes"](__salt__["metis_release.all_of"](content))
    args = (run["topology"], run["instances"], releases, sizes)
    run["asked"] = __salt__["metis_findings.asked"](*args)
    run["facts"] = {}
    return _look(sorted(run["asked"]))


@_phase
def mended(name: str) -> State:
    """
    What is safe to mend is mended, where the operator said ``fix: true``: an index of packages that
    is old, and a time service that does not run.

    name
        What the state is called.
    """
    ret: State = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    fix = __pillar__.get("fix", False)
    if not isinstance(fix, bool):
        wrong = f"fix in the pillar is {fix!r}: write true or false, without quotes"
        return __salt__["metis_run.fail"](ret, [wrong], "invalid-input")
    if not fix:
        return ret | {"comment": "nothing is mended without fix: true in the pillar"}
    wanted = {
        host: what
        for host, facts in run["facts"].items()
        if (what := __salt__["metis_findings.mendable"](facts))
    }
    changes = {
        host: {thing: {"old": "at fault", "new": "mended"} for thing in what}
        for host, what in wanted.items()
    }
    said = "; ".join(f"{host}: {', '.join(what)}" for host, what in wanted.items())
    if not wanted:
        return ret | {"comment": "there is nothing to mend"}
    if __opts__["test"]:
        __salt__["metis_run.say"](f"{name}: would mend {said}")
        return ret | {"result": None, "changes": changes, "comment": f"would be mended: {said}"}
    answers = __salt__["metis_fleet.run"](
        sorted(wanted), "metis_check.mend", {"asked": wanted}, _MEND
    )
    problems = __salt__["metis_ask.problems"](answers, _MEND, (list,))
    ret["changes"] = {h: c for h, c in changes.items() if isinstance(answers[h]["return"], list)}
    problems += _look(sorted(ret["changes"]))
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    __salt__["metis_run.say"](f"{name}: {said}")
    return ret | {"comment": f"mended: {said}"}


def _ways(whole: bool) -> tuple[list[Finding], list[str]]:
    """Findings on the ways between hosts, and what keeps hosts from telling."""
    run = __salt__["metis_run.now"]()
    flows = __salt__["metis_network.flows"](run["topology"], run["instances"])
    args = (flows, run["instances"], run["facts"], whole)
    tried = __salt__["metis_network.probes"](*args)
    answers = __salt__["metis_fleet.run"](
        sorted(tried), "metis_reach.probe", {"asked": tried}, _REACH
    )
    problems = __salt__["metis_ask.problems"](answers, _REACH, (dict,))
    told = {host: a["return"] for host, a in answers.items() if isinstance(a["return"], dict)}
    return __salt__["metis_network.reached"](flows, tried, told), problems


def _releases() -> list[Finding]:
    run = __salt__["metis_run.now"]()
    topology = run["topology"]
    roles = sorted({instance["role"] for instance in run["instances"]})
    deployed = {topology["deployed"][i["id"]]["release"] for i in run["instances"]}
    found = []
    for name in sorted({*deployed, topology["release"]}):
        problems = __salt__["metis_orgs.complete_release"](name, topology)
        stored = {}
        if not problems:
            content = __salt__["metis_orgs.release"](name)
            needed = __salt__["metis_release.needed"](content, roles)
            stored = __salt__["metis_store.look"](needed, remember=not __opts__["test"])
        found.append(__salt__["metis_findings.complete"](name, problems, stored))
    return found


def _certificates() -> list[Finding]:
    """Findings on certificates of the operator's own, which a deploy cannot renew."""
    found = {}
    for instance in __salt__["metis_run.now"]()["instances"]:
        own = instance["settings"].get("certificate")
        if own and __salt__["metis_topology.speaks_tls"](instance):
            args = (own, instance["settings"]["certificate_key"])
            text = __salt__["metis_certificates.given"](*args)["certificate"]
            ending = __salt__["metis_certificates.ending"](text)
            found[own] = __salt__["metis_findings.certificate"](own, ending)
    return list(found.values())


def _shown(found: list[Finding]) -> str:
    """Findings as tables: what stops a deploy, what does not, and what is well."""
    tables = []
    for result in _ORDER:
        own = sorted((one for one in found if one["result"] == result), key=lambda one: one["host"])
        rows = [
            {"host": one["host"], "what": one["what"], "found": one["found"]}
            | ({"to do": one["advice"]} if result != "ok" else {})
            for one in own
        ]
        if rows:
            table = salt.output.out_format({"data": rows}, "metis_table", __opts__)
            tables.append(f"{_TITLES[result]} ({len(rows)}):\n{table}")
    return "\n\n".join(tables)


@_phase
def fit(name: str, whole: bool = False) -> State:
    """
    Hosts are what the organization needs, and reach each other. Failures end a verb, warnings do
    not.

    name
        What the state is called.
    whole
        Whether also what runs already is tried, the release is looked at, and everything is shown,
        not only what is at fault.
    """
    ret: State = __salt__["metis_run.state"](name)
    run = __salt__["metis_run.now"]()
    begun = time.monotonic()
    problems = [] if "facts" in run else _look_at_all()
    if problems:
        return __salt__["metis_run.fail"](ret, problems)
    args = (run["instances"], run["asked"], run["facts"])
    found = __salt__["metis_findings.judged"](*args)
    ways, problems = _ways(whole)
    found += ways
    found += _certificates()
    found += _releases() if whole else []
    count = {result: sum(one["result"] == result for one in found) for result in _ORDER}
    shown = _shown(found if whole else [one for one in found if one["result"] == "failure"])
    failures = [
        f"{one['host']}: {one['what']}: {one['found']}: {one['advice']}"
        for one in found
        if one["result"] == "failure"
    ]
    if failures or problems:
        failed = __salt__["metis_run.fail"](ret, failures + problems)
        return failed | {"comment": "\n\n".join([*problems, shown, ""])}
    warnings = f", {count['warning']} warnings" if count["warning"] else ""
    more = "" if whole or not warnings else " (metis.check shows them)"
    __salt__["metis_run.say"](
        f"{name}: {count['ok']} findings are well{warnings}{more}, {time.monotonic() - begun:.1f} s"
    )
    return ret | {"comment": shown or f"{count['ok']} findings are well{warnings}{more}"}
