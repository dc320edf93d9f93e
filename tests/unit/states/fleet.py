"""Hosts that answer the phases of a verb as a test says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from _modules import (
    metis_ask,
    metis_fleet,
    metis_journal,
    metis_lock,
    metis_predicted,
    metis_roll,
    metis_run,
    metis_secrets,
)
from _states import metis
from tests.unit import orgs

Answer = dict[str, Any]
State = dict[str, Any]


def returned(value: Any) -> Answer:
    """A host's answer."""
    return {"answer": "returned", "retcode": 0, "return": value}


def gone(how: str) -> Answer:
    """A host that did not answer."""
    return {"answer": how, "retcode": None, "return": None}


def begun(
    functions: dict[str, Any], opts: dict[str, Any], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wire what a run of a verb writes down, below a folder of the test.

    The lock is nobody's: a test runs phases of several runs, and its process has not ended.
    """
    modules = (
        metis_ask,
        metis_run,
        metis_journal,
        metis_lock,
        metis_secrets,
        metis_predicted,
        metis_roll,
    )
    functions |= orgs.by_salts_name(*modules)
    functions["metis_run.heed_signals"] = lambda: None
    functions["metis_fleet.up"] = lambda addresses: dict.fromkeys(addresses, True)
    functions["metis_fleet.refused_keys"] = lambda: {"h1": "unaccepted"}
    functions["metis_lock.take"] = lambda org, holder: dict.fromkeys(("file", "held", "before"))
    opts |= {"pki_dir": str(folder), "log_file": str(folder / "log")}
    chunk = {"state": "metis", "name": "the last", "__sls__": "metis.deploy"}
    monkeypatch.setattr(metis, "__low__", chunk, raising=False)
    monkeypatch.setattr(metis, "__lowstate__", [chunk], raising=False)


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
            usual = returned(True) if fun == "metis_host.ready" else states()
            given = self.answers.get((host, fun), [usual])
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
