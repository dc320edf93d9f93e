"""What the operator is told of the runs of verbs, and how a lock is let go of."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pytest

from _modules import (
    metis_ask,
    metis_journal,
    metis_lock,
    metis_orgs,
    metis_run,
    metis_secrets,
    metis_verb,
)
from _output import metis_table
from _runners import metis
from salt.minion import load_args_and_kwargs
from tests.unit import orgs
from tests.unit.states.fleet import State, gone

MODULES = (metis_ask, metis_run, metis_journal, metis_lock, metis_secrets, metis_verb)


@pytest.fixture
def configure_loader_modules(tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    known: dict[str, Any] = {"acme": {"file": "/pillar/orgs/acme.sls", "topology": None}}
    fault = {"place": "hosts", "problem": "is missing", "value": None, "fix": "write it"}
    known["acme"]["faults"] = [fault]
    broken = create_autospec(metis_orgs.read, return_value=known)
    functions = orgs.by_salts_name(*MODULES) | {"metis_orgs.read": broken}
    opts = {"test": False, "pki_dir": str(tmp_path), "log_file": str(tmp_path / "master")}
    own = {"__salt__": functions, "__opts__": opts, "__context__": {}}
    own["__pillar__"] = {"org": "acme", "roles": "consul"}
    functions["metis_fleet.up"] = lambda addresses: dict.fromkeys(addresses, True)
    runner = {"salt.cmd": lambda name, *args, **kwargs: functions[name](*args, **kwargs)}
    return dict.fromkeys(MODULES, own) | {metis: {"__salt__": runner, "__opts__": opts}}


@pytest.fixture
def began(configure_loader_modules: dict[ModuleType, dict[str, Any]]) -> Callable[[], str]:
    """Begins a run of metis.deploy, and gives its id."""

    def begin() -> str:
        metis_run.begin("deploy", ["all passes"])
        metis_run.keep_journal("acme")
        assert metis_run.lock() == []
        found: str = metis_run.now()["id"]
        return found

    return begin


def _failed(name: str) -> State:
    metis_run.now()["topology"] = {"hosts": {"h1": "10.0.0.1"}}
    answers = {"h1": gone("silent")}
    found = metis_ask.problems(answers, 60, (dict,))
    return metis_run.fail(metis_run.state(name), found)


def _changed(name: str) -> State:
    metis_run.note("host", host="h2", answer="returned", states=9, changed=2, failed=0)
    metis_run.note("versions", instances={"consul@h2": "1.10.4", "ice_via@h2": None})
    return metis_run.state(name) | {"changes": {"h2": ["a file", "a unit"]}}


def _text(shown: dict[str, Any]) -> str:
    return metis_table.output(shown)


def test_every_run_is_a_row(began: Callable[[], str]) -> None:
    failed = began()
    metis_run.phase(_failed, "consul runs", [], {})
    running = began()
    rows = {row["run"]: row for row in metis.runs()["data"]}
    assert rows[failed]["result"] == "hosts-missing"
    assert rows[running]["result"] == "running"
    assert (rows[running]["verb"], rows[running]["org"]) == ("deploy", "acme")
    assert rows[running]["took"] == "-"
    metis_lock.release(metis_run.now()["lock"])
    assert metis.runs("acme")["data"][0]["result"] in ("interrupted", "hosts-missing")
    assert {row["result"] for row in metis.runs()["data"]} == {"interrupted", "hosts-missing"}


def test_without_runs_that_is_said() -> None:
    assert _text(metis.runs()) == "no verb was run yet"
    shown = metis.report()
    assert shown["retcode"] == 1
    assert "there is no journal of a run" in _text(shown)


def test_a_report_tells_phases_hosts_and_what_went_wrong(began: Callable[[], str]) -> None:
    run = began()
    metis_run.phase(_changed, "consul runs", [], {})
    metis_run.phase(_failed, "carrier runs", [], {})
    lines = _text(metis.report(run)).splitlines()
    assert lines[0] == f"run {run}: metis.deploy of acme"
    assert "with roles consul" in lines[1]
    assert lines[2].startswith("  failed (hosts-missing), 0.")
    assert "    h2: 2 of 9 states changed" in lines
    assert "    consul@h2: runs 1.10.4" in lines
    assert not any("ice_via" in line for line in lines)
    (held,) = [line for line in lines if line.startswith("held")]
    assert "consul runs (2 changes, 0." in held
    place = next(n for n, line in enumerate(lines) if line.startswith("FAILED"))
    assert "carrier runs" in lines[place]
    assert lines[place + 1].startswith("    h1 does not answer")
    assert _text(metis.report()) == "\n".join(lines)


def test_a_report_of_a_run_that_was_cut_off_tells_how_far_it_came(
    began: Callable[[], str],
) -> None:
    def cut_off(name: str) -> State:
        metis_run.note("restarted", instance="consul@h1", since=1.0)
        raise KeyboardInterrupt

    run = began()
    with pytest.raises(KeyboardInterrupt):
        metis_run.phase(cut_off, "consul is restarted", [], {})
    lines = _text(metis.report(run)).splitlines()
    assert lines[-2:] == ["    consul@h1: restarted", "interrupted   consul is restarted"]


def test_runs_of_an_organization_that_is_not_there_are_a_fault() -> None:
    shown = metis.runs("amce")
    assert shown["retcode"] == 1
    assert "there is no organization amce" in shown["data"]
    assert metis.runs("acme") == metis.runs("acme") | {"retcode": 0, "data": "no verb was run yet"}


def test_a_program_gets_the_whole_journal(
    began: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = began()
    metis_lock.release(metis_run.now()["lock"])
    monkeypatch.setitem(vars(metis)["__opts__"], "output", "json")
    assert [entry["event"] for entry in metis.report(run)["data"]] == ["begin"]


def test_a_lock_that_nobody_has_needs_no_unlocking() -> None:
    shown = metis.unlock("acme")
    assert (shown["retcode"], shown["data"]) == (0, "acme is not locked")


def test_a_lock_is_let_go_of_for_its_own_run_only(began: Callable[[], str]) -> None:
    run = began()
    for other in (None, "20200101-000000-aaaa"):
        shown = metis.unlock("acme", other)
        assert shown["retcode"] == 1
        assert f"process {os.getpid()}, run {run}, begun" in shown["data"]
        assert f"salt-run metis.unlock org=acme run={run}" in shown["data"]
    assert metis_lock.holder("acme") is not None
    shown = metis.unlock("acme", run)
    assert shown["retcode"] == 0
    assert f"kill {os.getpid()}" in shown["data"]
    assert metis_lock.holder("acme") is None


def test_an_organization_that_is_not_there_has_no_lock() -> None:
    shown = metis.unlock("amce")
    assert shown["retcode"] == 1
    assert "there is no organization amce" in shown["data"]


@pytest.mark.parametrize(
    "runner",
    [
        metis.status,
        metis.ca,
        metis.runs,
        metis.report,
        metis.unlock,
        metis.import_inventory,
        metis.pin,
        metis.bundle,
        metis.unbundle,
        metis.verify,
        metis.inspect_backup,
        metis.unpack_backup,
    ],
)
def test_an_argument_that_does_not_fit_is_an_error(runner: Callable[..., dict[str, Any]]) -> None:
    # As Salt does, by what it takes the arguments to be.
    _, given = load_args_and_kwargs(runner, ["organisation=acme"])
    shown = runner(**given)
    assert shown["retcode"] == 1
    assert f"metis.{runner.__name__}: " in shown["data"]
    assert "'organisation'" in shown["data"] or "missing a required argument" in shown["data"]
    assert "; its arguments are " in shown["data"]


def test_what_salt_adds_is_no_argument() -> None:
    assert metis.runs(__pub_user="root")["retcode"] == 0
