"""Hosts that answer the phases of a verb as a test says."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

from _modules import metis_fleet

Answer = dict[str, Any]
State = dict[str, Any]
# What `configure_loader_modules` needs.
Modules = dict[ModuleType, dict[str, Any]]

# What the usual organization has, host by host.
INSTANCES = {
    "h1": ["consul@h1", "carrier@h1"],
    "h2": ["consul@h2", "admin@h2"],
    "h3": ["consul@h3", "ice_via@h3"],
    "h4": ["data@h4:8700", "data@h4:8701", "compute@h4:8800"],
}
# Those that have a program of a release.
RELEASED = [name for names in INSTANCES.values() for name in names if name != "ice_via@h3"]


def returned(value: Any) -> Answer:
    """A host's answer."""
    return {"answer": "returned", "retcode": 0, "return": value}


def gone(how: str) -> Answer:
    """A host that did not answer."""
    return {"answer": how, "retcode": None, "return": None}


def problems(done: State) -> list[str]:
    """What a phase that failed says is wrong, line by line."""
    told: list[str] = done["comment"].split("\nreason: ")[0].splitlines()
    return told


def states(*own: State, instances: list[dict[str, Any]] | None = None) -> Answer:
    """What `state.sls` returns: these states, and the look at the instances."""
    look: State = {"__id__": "The instances of this host are looked at", "changes": {}}
    look |= {"result": True, "comment": "", "name": "look", "instances": instances or []}
    every = [*own, look]
    return returned(
        {
            f"tag_|-{number}": {"__run_num__": number, **one}
            for number, one in reversed(list(enumerate(every)))
        }
    )


def state(
    identity: str, *, changes: bool = False, result: bool | None = True, comment: str = ""
) -> State:
    """A state as a host returns it."""
    made = {"file": "new"} if changes else {}
    own = {"__id__": identity, "name": f"/etc/{identity}", "changes": made}
    return own | {"result": result, "comment": comment}


def instance(name: str, **others: Any) -> dict[str, Any]:
    """An instance as its host sees it."""
    role = name.partition("@")[0]
    own = {"id": name, "role": role, "state": "running", "since": 2000.0, "drift": []}
    own["version"] = "0.3.0"
    own |= {"healthy": True, "cause": ""} | others
    return own | {"explained": f"{own['cause']}\nthe journal" if own["cause"] else ""}


class Fleet:
    """Hosts that answer as a test says; keeps the jobs."""

    def __init__(self) -> None:
        self.jobs: list[tuple[str, list[str], dict[str, Any]]] = []
        self.answers: dict[tuple[str, str], list[Answer]] = {}
        # How often each host says that it is at work.
        self.busy = 0
        self.function = create_autospec(metis_fleet.run, side_effect=self.run)

    def on(self, host: str, fun: str, *answers: Answer) -> None:
        """Say what a host answers to a function, in turn; the last for ever."""
        self.answers[host, fun] = list(answers)

    def answer(self, host: str, fun: str, kwarg: dict[str, Any]) -> Answer:
        """Give what a host answers of which a test said nothing."""
        return returned(True) if fun == "metis_host.ready" else states()

    def run(
        self,
        hosts: list[str],
        fun: str,
        kwarg: dict[str, Any] | None = None,
        timeout: float = 900,
        progress: Callable[[str, Answer], None] | None = None,
    ) -> dict[str, Answer]:
        """Stand in for `metis_fleet.run`."""
        if not hosts:
            return {}
        assert timeout > 0
        self.jobs.append((fun, list(hosts), kwarg or {}))
        found = {}
        for host in hosts:
            given = self.answers.get((host, fun)) or [self.answer(host, fun, kwarg or {})]
            found[host] = given.pop(0) if len(given) > 1 else given[0]
            for _ in range(self.busy if progress else 0):
                assert progress
                progress(host, {"answer": "working"})
            if progress and found[host]["answer"] == "returned":
                progress(host, found[host])
        return found

    def acted(self, fun: str = "metis_host.reach") -> list[list[str]]:
        """Who was told to do something, job by job."""
        return [hosts for name, hosts, _ in self.jobs if name == fun]
