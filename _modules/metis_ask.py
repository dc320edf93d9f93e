"""
What hosts of a run are asked and told, and what their answers mean.

``metis_fleet`` follows a job to its end, and knows of no run. Here hosts are told something only
while the run (``metis_run``) has its lock, one that does not answer is named with its cause, and
how instances were seen is kept for later phases.

Runs on the master.
"""

import functools
import re
import time
from typing import Any

__virtualname__ = "metis_ask"

State = dict[str, Any]

# Seconds between two lines that a host is still at work.
_PATIENCE = 10
# Seconds of the epoch, in the year 2242: every program is older.
_AHEAD = 2.0**33
# Why a host gave no answer.
_WORDS = {
    "cut off": "answers, and knows no more of what it was told: its salt-minion, or the host, was "
    "started again in the middle of it, or its disk is full",
    "late": "still works on it after {timeout:.0f} s: look with salt {host} saltutil.running",
    "up": "does not answer, though {address} is up: its salt-minion is stopped, frozen or deaf: on "
    "it, systemctl restart salt-minion",
    "down": "does not answer, and nothing else at {address}: it is off or cut off from the master",
    "unaccepted": "waits for its key to be accepted: salt-key -a {host}",
    "rejected": "has a key that was rejected: salt-key -a {host} --include-rejected, and then, on "
    "it, systemctl restart salt-minion",
    "unknown": "is not a minion of this master, and no key of it waits here: look at master: and "
    "id: of its salt-minion",
}
_TRACE = re.compile(r"(exception[\w ]*: )Traceback \(most recent call last\):\n.*\n", re.DOTALL)


def problems(answers: dict[str, Any], timeout: float, kind: tuple[type, ...]) -> list[str]:
    """
    What keeps answers from being good: none, or another than what the function returns. Hosts that
    gave none are the run's ``missing``.

    answers
        As ``metis_fleet.run`` returns them.
    timeout
        Seconds that hosts were given.
    kind
        What the function returns when it is well.
    """
    found = []
    why = _absences({host: answer["answer"] for host, answer in answers.items()})
    for host, answer in answers.items():
        if host in why:
            __salt__["metis_run.now"]()["missing"].append(host)
            __salt__["metis_run.note"]("host", host=host, answer=answer["answer"])
            found.append(f"{host} {why[host].format(timeout=timeout)}")
        elif not isinstance(answer["return"], kind) or _is_error(answer):
            found.append(f"{host} failed: {_said(answer['return'])}")
    return found


def ask_all(
    hosts: list[str], function: str, kwarg: dict[str, Any], timeout: float, kind: type
) -> dict[str, Any]:
    """
    What a function returns on each host, while the lock is this run's.

    hosts
        Minion ids.
    function, kwarg
        The execution function and its keyword arguments.
    timeout
        Seconds.
    kind
        What the function returns when it is well.

    Raises ``CommandExecutionError`` with each host that does not return that.
    """
    __salt__["metis_run.go_on"]()
    answers = __salt__["metis_fleet.run"](hosts, function, kwarg, timeout)
    __salt__["metis_run.demand"](problems(answers, timeout, (kind,)))
    return {host: answer["return"] for host, answer in answers.items()}


def ask(host: str, function: str, kwarg: dict[str, Any], timeout: float, kind: type) -> Any:
    """
    What a function returns on one host, as ``ask_all``.

    host
        A minion id.
    function, kwarg
        The execution function and its keyword arguments.
    timeout
        Seconds.
    kind
        What the function returns when it is well.

    Raises ``CommandExecutionError`` where the host does not return that.
    """
    return ask_all([host], function, kwarg, timeout, kind)[host]


def _is_error(answer: dict[str, Any]) -> bool:
    """An exception on a minion is a text too, and only the code tells it from a good answer."""
    return bool(answer["retcode"]) and isinstance(answer["return"], str)


def _said(text: Any) -> str:
    """What a host says; of an exception of Salt's own states, its last line."""
    return _TRACE.sub(r"\1", str(text).strip())


def _absences(answers: dict[str, str]) -> dict[str, str]:
    """Why hosts gave no answer, as far as the master can find out."""
    # One that leaves the organization stands in its file no more.
    addresses = {host: host for host in answers} | __salt__["metis_run.now"]()["topology"]["hosts"]
    silent = [host for host, answer in answers.items() if answer == "silent"]
    up = __salt__["metis_fleet.up"]([addresses[host] for host in silent]) if silent else {}
    keys = __salt__["metis_fleet.refused_keys"]() if "missing" in answers.values() else {}
    found = {}
    for host, answer in answers.items():
        if answer == "returned":
            continue
        word = answer
        if answer == "silent":
            word = "up" if up[addresses[host]] else "down"
        elif answer == "missing":
            word = keys.get(host, "unknown")
        found[host] = _WORDS[word].replace("{host}", host).replace("{address}", addresses[host])
    return found


def _progress(host: str, answer: dict[str, Any], test: bool) -> None:
    if answer["answer"] == "working":
        told = __salt__["metis_run.now"]().setdefault("told", {})
        if time.monotonic() - told.get(host, 0) > _PATIENCE:
            told[host] = time.monotonic()
            __salt__["metis_run.say"](f"  {host}: still at work")
    elif answer["answer"] == "quiet":
        __salt__["metis_run.say"](f"  {host}: no answer yet")
    elif isinstance(answer["return"], dict):
        states = answer["return"].values()
        told = __salt__["metis_run.now"]()["predicted"].get(host, {}) if test else {}
        count = sum(
            1 for tag, state in answer["return"].items() if state["changes"] and tag not in told
        )
        failed = sum(1 for state in states if state["result"] is False)
        word = "would change" if test else "changed"
        __salt__["metis_run.note"](
            "host", host=host, answer="returned", states=len(states), changed=count, failed=failed
        )
        __salt__["metis_run.say"](
            f"  {host}: {count} of {len(states)} states {word}"
            + f", {failed} FAILED" * bool(failed)
        )


def _run_number(item: tuple[str, dict[str, Any]]) -> int:
    return item[1].get("__run_num__", 0)


def apply(
    hosts: list[str],
    to: str,
    roles: list[str],
    timeout: float,
    test: bool | None = None,
    **more: Any,
) -> tuple[list[str], dict[str, list[str]]]:
    """
    Bring hosts to a state at once, and keep how their instances were seen then.

    hosts
        Minion ids.
    to
        The SLS of each role.
    roles
        Which roles of the run's instances.
    timeout
        Seconds that one host may take.
    test
        Change nothing, and tell what would change; as the verb is run where not given. What was
        told before in this run, as a change of another phase, is not told again.
    more
        Arguments of ``metis_host.reach``.

    Returns problems, and host to the states that changed.
    """
    __salt__["metis_run.go_on"]()
    test = __opts__["test"] if test is None else test
    own: dict[str, list[str]] = {host: [] for host in hosts}
    for instance in __salt__["metis_run.now"]()["instances"]:
        mine = own.get(instance["host"])
        if mine is not None and instance["role"] in roles and instance["role"] not in mine:
            mine.append(instance["role"])
    kwarg = {"to": to, "roles": own, "test": test, "agent_since": agent_since()} | more
    progress = functools.partial(_progress, test=test)
    answers = __salt__["metis_fleet.run"](hosts, "metis_host.reach", kwarg, timeout, progress)
    wrong = problems(answers, timeout, (dict, list))
    changes: dict[str, list[str]] = {}
    for host, answer in answers.items():
        before = len(wrong)
        if isinstance(answer["return"], list):
            wrong.append(f"{host}: {'; '.join(map(_said, answer['return']))}")
        elif isinstance(answer["return"], dict):
            states = dict(sorted(answer["return"].items(), key=_run_number))
            states = _predict(host, states) if test else states
            for tag, state in states.items():
                identity = _identity(tag, state)
                if "instances" in state:
                    __salt__["metis_run.now"]()["seen"][host] = state["instances"]
                if "told" in state:
                    __salt__["metis_run.say"](f"  {host}: {state['told']}")
                if state["result"] is False and "requisite failed" not in str(state["comment"]):
                    wrong.append(f"{host}: {identity}: {_said(state['comment'])}")
                mine = changes.setdefault(host, [])
                # A state of several names has one ID.
                if state["result"] is not False and state["changes"] and identity not in mine:
                    mine.append(identity)
            if answer["retcode"] and len(wrong) == before:
                wrong.append(f"{host} failed with exit code {answer['retcode']}")
    return wrong, {host: mine for host, mine in changes.items() if mine}


def _predict(host: str, states: dict[str, State]) -> dict[str, State]:
    """
    Keep what a dry run predicts of a host, and tell it. In a real run, what one phase changes is no
    change in the next one any more: what was predicted already is none here.
    """
    run = __salt__["metis_run.now"]()
    known = run["predicted"].setdefault(host, {})
    complete = __salt__["metis_predicted.complete"]
    states = {t: s | {"changes": {}} if t in known else complete(t, s) for t, s in states.items()}
    new = {tag: state for tag, state in states.items() if state["changes"]}
    known |= new
    for tag, state in new.items():
        first, *rest = __salt__["metis_predicted.lines"](tag, state)
        text = f"  {host}: {_identity(tag, state)}: {first}"
        __salt__["metis_run.say"]("\n".join([text, *(f"{'':14}{line}" for line in rest)]))
    return states


def _identity(tag: str, state: State) -> str:
    # A state whose module is missing has no ID but in its tag.
    return state.get("__id__") or tag.split("_|-")[1]


def agent_since() -> float:
    """
    When the consul agent that the programs use was started, in seconds of the epoch, as far as this
    run has seen; 0 where it has not, and far ahead where a dry run expects it to be started anew.
    """
    run = __salt__["metis_run.now"]()
    host = run["topology"]["agent"]["host"]
    if __salt__["metis_predicted.restarts_agent"](run["predicted"].get(host, {})):
        return _AHEAD
    since = [i["since"] for i in run["seen"].get(host, []) if i["role"] == "consul"]
    return since[0] or 0.0 if since else 0.0


def unhealthy(hosts: list[str], roles: list[str]) -> list[str]:
    """
    What is wrong with instances as they were last seen.

    hosts
        Minion ids.
    roles
        Which roles.
    """
    seen = __salt__["metis_run.now"]()["seen"]
    return [
        f"{instance['id']}: {instance['explained']}"
        for host in hosts
        for instance in seen.get(host, [])
        if instance["role"] in roles and not instance["healthy"]
    ]
