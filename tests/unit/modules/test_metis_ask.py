"""What hosts of a run are asked and told, and what their answers mean."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_ask, metis_journal, metis_lock, metis_run, metis_secrets, metis_verb
from tests.unit import orgs
from tests.unit.states.fleet import State, gone, returned

MODULES = (metis_ask, metis_run, metis_journal, metis_lock, metis_secrets, metis_verb)


@pytest.fixture
def configure_loader_modules(opts: dict[str, Any]) -> dict[ModuleType, dict[str, Any]]:
    own = {"__salt__": orgs.by_salts_name(*MODULES), "__opts__": opts, "__context__": {}}
    own["__salt__"]["metis_fleet.up"] = lambda addresses: {a: a == "10.0.0.1" for a in addresses}
    keys = {"h4": "unaccepted", "h5": "rejected"}
    own["__salt__"]["metis_fleet.refused_keys"] = lambda: keys
    own["__pillar__"] = {"org": "acme", "metis": {"orgs": {}}}
    return dict.fromkeys(MODULES, own)


@pytest.fixture
def run(run: metis_run.Run) -> metis_run.Run:
    run["topology"] = {"hosts": {f"h{number}": f"10.0.0.{number}" for number in range(1, 9)}}
    return run


def _phase(function: Callable[..., State]) -> State:
    return metis_run.phase(function, "consul runs", [], {})


def test_hosts_that_do_not_answer_are_the_reason(run: metis_run.Run) -> None:
    def phase(name: str) -> State:
        answers = {"h1": gone("silent")}
        return metis_run.fail(metis_run.state(name), metis_ask.problems(answers, 60, (dict,)))

    done = _phase(phase)
    assert done["reason"] == "hosts-missing"
    assert "h1 does not answer" in done["comment"]
    (host,) = [e for e in metis_journal.read(run["id"]) if e["event"] == "host"]
    assert (host["host"], host["answer"]) == ("h1", "silent")


def test_a_host_without_an_answer_is_told_with_its_cause(run: metis_run.Run) -> None:
    answers = {"h1": gone("silent"), "h2": gone("silent"), "h3": gone("cut off")}
    answers |= {"h4": gone("missing"), "h5": gone("missing"), "h6": gone("missing")}
    answers |= {"h7": gone("late"), "h8": returned({})}
    found = metis_ask.problems(answers, 60, (dict,))
    assert [problem.partition(": ")[0] for problem in found] == [
        "h1 does not answer, though 10.0.0.1 is up",
        "h2 does not answer, and nothing else at 10.0.0.2",
        "h3 answers, and knows no more of what it was told",
        "h4 waits for its key to be accepted",
        "h5 has a key that was rejected",
        "h6 is not a minion of this master, and no key of it waits here",
        "h7 still works on it after 60 s",
    ]
    assert "salt-key -a h4" in found[3]
    assert "salt-key -a h5 --include-rejected" in found[4]
    assert "salt h7 saltutil.running" in found[6]
    assert run["missing"] == [f"h{number}" for number in range(1, 8)]


@pytest.mark.parametrize(
    "tell",
    [
        lambda: metis_ask.apply(["h1"], "running", ["consul"], 60),
        lambda: metis_ask.ask("h1", "metis_consul.cluster", {}, 60, dict),
        lambda: metis_ask.ask_all(["h1"], "metis_absence.survey", {}, 60, dict),
    ],
)
def test_a_run_that_lost_its_lock_tells_hosts_nothing_more(
    run: metis_run.Run, tell: Callable[[], object]
) -> None:
    def phase(name: str) -> State:
        metis_lock.forget("acme")
        try:
            tell()
        except CommandExecutionError as err:
            # As where what goes wrong on a host is undone.
            return metis_run.fail(metis_run.state(name), [str(err)])
        return metis_run.state(name)

    done = _phase(phase)
    assert (done["result"], done["reason"]) == (False, "locked")


def test_an_exception_on_a_host_is_no_answer_even_where_a_text_is_wanted(
    run: metis_run.Run,
) -> None:
    error = {"answer": "returned", "retcode": 1, "return": "ERROR: the dump is not there"}
    (told,) = metis_ask.problems({"h1": error}, 60, (str,))
    assert told == "h1 failed: ERROR: the dump is not there"
    assert metis_ask.problems({"h1": error | {"retcode": 0, "return": "a dump"}}, 60, (str,)) == []
