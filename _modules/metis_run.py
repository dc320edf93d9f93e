"""
The run of a verb: what is known of it, what hosts were told, and what the operator is told.

The phases of a verb (``_states/metis.py``, ``_states/metis_upgrade.py``) share one run through
``__context__``, which lives as long as the orchestration: the request, and each host's instances
as last seen. Progress goes to standard error, as it happens: an orchestration runs in the process
of salt-run.

Runs on the master.
"""

import sys
import time
from typing import Any

__virtualname__ = "metis_run"

Run = dict[str, Any]
State = dict[str, Any]

# Seconds between two lines that a host is still at work.
_PATIENCE = 10
_WORDS = {
    "missing": "is not a minion of this master: accept its key (salt-key -a {host})",
    "silent": "does not answer: look at salt-minion on it, or at the network",
    "late": "still works on it after {timeout:.0f} s: look with salt {host} saltutil.running",
}


def begin() -> Run:
    """
    Begin a run: whatever was known of another is forgotten.

    Returns what is known of it, to be added to.
    """
    __context__["metis"] = {"begun": time.monotonic(), "seen": {}, "ready": False}
    return __context__["metis"]


def now() -> Run:
    """
    What is known of the run: ``org``, ``topology`` and ``instances`` as ``metis_verb.request``
    returns them, ``ready`` (whether the hosts may be told something) and ``seen`` (host to its
    instances as last looked at, as ``metis_instance.status`` returns them).
    """
    return __context__["metis"]


def say(text: str) -> None:
    """
    Tell the operator a line, with the seconds since the run began.

    text
        The line.
    """
    run = now()
    print(f"{time.monotonic() - run['begun']:6.1f} s  {text}", file=sys.stderr, flush=True)


def state(name: str) -> State:
    """
    What a phase returns that has changed nothing and found no problem.

    name
        What the state is called.
    """
    return {"name": name, "result": True, "changes": {}, "comment": ""}


def fail(ret: State, problems: list[str]) -> State:
    """
    A phase that failed: the operator is told at once.

    ret
        What the phase would return.
    problems
        Why; of each, the first line is told.
    """
    for problem in problems:
        say(f"FAILED  {problem.splitlines()[0]}")
    return ret | {"result": False, "comment": "\n".join(problems)}


def problems(answers: dict[str, Any], timeout: float, kind: tuple[type, ...]) -> list[str]:
    """
    What keeps answers from being good: none, or another than what the function returns.

    answers
        As ``metis_fleet.run`` returns them.
    timeout
        Seconds that hosts were given.
    kind
        What the function returns when it is well.
    """
    found = []
    for host, answer in answers.items():
        if answer["answer"] != "returned":
            found.append(f"{host} {_WORDS[answer['answer']].format(host=host, timeout=timeout)}")
        elif not isinstance(answer["return"], kind):
            found.append(f"{host} failed: {answer['return']}")
    return found


def _progress(host: str, answer: dict[str, Any]) -> None:
    if answer["answer"] == "working":
        told = __context__["metis"].setdefault("told", {})
        if time.monotonic() - told.get(host, 0) > _PATIENCE:
            told[host] = time.monotonic()
            say(f"  {host}: still at work")
    elif isinstance(answer["return"], dict):
        states = answer["return"].values()
        count = sum(1 for state in states if state["changes"])
        failed = sum(1 for state in states if state["result"] is False)
        word = "would change" if __opts__["test"] else "changed"
        say(
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
    more
        Arguments of ``metis_host.reach``.

    Returns problems, and host to the states that changed.
    """
    own: dict[str, list[str]] = {host: [] for host in hosts}
    for instance in __context__["metis"]["instances"]:
        mine = own.get(instance["host"])
        if mine is not None and instance["role"] in roles and instance["role"] not in mine:
            mine.append(instance["role"])
    kwarg = {"to": to, "roles": own, "test": __opts__["test"], "agent_since": agent_since()} | more
    answers = __salt__["metis_fleet.run"](hosts, "metis_host.reach", kwarg, timeout, _progress)
    wrong = problems(answers, timeout, (dict, list))
    changes: dict[str, list[str]] = {}
    for host, answer in answers.items():
        before = len(wrong)
        if isinstance(answer["return"], list):
            wrong.append(f"{host}: {'; '.join(map(str, answer['return']))}")
        elif isinstance(answer["return"], dict):
            for tag, state in sorted(answer["return"].items(), key=_run_number):
                # A state whose module is missing has no ID but in its tag.
                identity = state.get("__id__") or tag.split("_|-")[1]
                if "instances" in state:
                    now()["seen"][host] = state["instances"]
                if state["result"] is False and "requisite failed" not in str(state["comment"]):
                    wrong.append(f"{host}: {identity}: {state['comment']}")
                mine = changes.setdefault(host, [])
                # A state of several names has one ID.
                if state["result"] is not False and state["changes"] and identity not in mine:
                    mine.append(identity)
            if answer["retcode"] and len(wrong) == before:
                wrong.append(f"{host} failed with exit code {answer['retcode']}")
    return wrong, {host: mine for host, mine in changes.items() if mine}


def agent_since() -> float:
    """
    When the consul agent that the programs use was started, in seconds of the epoch, as far as this
    run has seen; 0 where it has not.
    """
    run = now()
    host = run["topology"]["agent"]["host"]
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
    seen = now()["seen"]
    return [
        f"{instance['id']}: {instance['explained']}"
        for host in hosts
        for instance in seen.get(host, [])
        if instance["role"] in roles and not instance["healthy"]
    ]
