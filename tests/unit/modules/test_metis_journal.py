"""The journals of runs."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_journal

BEGIN = {"verb": "deploy", "asked": {"org": "acme"}, "test": False, "user": "root", "pid": 7}


@pytest.fixture
def holders() -> dict[str, dict[str, Any]]:
    """Who has which organization's lock."""
    return {}


@pytest.fixture
def configure_loader_modules(
    tmp_path: Path, holders: dict[str, dict[str, Any]]
) -> dict[ModuleType, dict[str, Any]]:
    opts = {"log_file": str(tmp_path / "master")}
    return {
        metis_journal: {"__opts__": opts, "__salt__": {"metis_lock.holder": holders.get}},
    }


def _ended(org: str, result: str = "done", reason: str = "") -> str:
    run = metis_journal.begin(org, BEGIN)
    end = {"result": result, "reason": reason, "seconds": 3.2}
    metis_journal.write(org, run, "end", end)
    return run


def test_a_run_is_one_file_of_json_lines(tmp_path: Path) -> None:
    run = metis_journal.begin("acme", BEGIN)
    metis_journal.write("acme", run, "told", {"text": "naïve\nline"})
    (file,) = (tmp_path / "metis/acme").iterdir()
    assert file.name == f"{run}.jsonl"
    assert file.stat().st_mode & 0o777 == 0o600
    first, second = map(json.loads, file.read_text("utf-8").splitlines())
    assert first["event"] == "begin"
    assert first | BEGIN | {"run": run, "org": "acme"} == first
    assert (second["event"], second["text"]) == ("told", "naïve\nline")
    assert second["time"] >= first["time"]


def test_the_last_run_is_read_where_none_is_named() -> None:
    first, second = _ended("acme"), _ended("other")
    assert metis_journal.read(first)[0]["run"] == first
    # Of one second, the later is not known by its name.
    assert metis_journal.read()[0]["run"] in (first, second)
    assert metis_journal.read(org="other")[0]["run"] == second


def test_a_run_that_is_not_there_is_said() -> None:
    with pytest.raises(CommandExecutionError, match="no journal of a run 2020: salt-run"):
        metis_journal.read("2020")
    _ended("acme")
    with pytest.raises(CommandExecutionError, match="no journal of a run of other"):
        metis_journal.read(org="other")


def test_runs_are_told_with_how_they_ended(holders: dict[str, dict[str, Any]]) -> None:
    done, locked = _ended("acme"), _ended("acme", "failed", "locked")
    cut = metis_journal.begin("acme", BEGIN)
    running = metis_journal.begin("other", BEGIN)
    holders["other"] = {"run": running}
    found = {run["run"]: (run["result"], run["reason"]) for run in metis_journal.runs()}
    assert found == {
        done: ("done", ""),
        locked: ("failed", "locked"),
        cut: ("interrupted", ""),
        running: ("running", ""),
    }
    assert {run["run"] for run in metis_journal.runs("other")} == {running}
    assert len(metis_journal.runs(newest=2)) == 2


def test_a_line_that_was_cut_off_hides_nothing_before_it(tmp_path: Path) -> None:
    run = metis_journal.begin("acme", BEGIN)
    file = tmp_path / f"metis/acme/{run}.jsonl"
    file.write_text(file.read_text() + '{"event": "en')
    assert [entry["event"] for entry in metis_journal.read(run)] == ["begin"]
    assert metis_journal.runs()[0]["result"] == "interrupted"


def test_only_the_newest_journals_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metis_journal, "_KEPT", 3)
    folder = tmp_path / "metis/acme"
    folder.mkdir(parents=True)
    for day in range(5):
        (folder / f"2020010{day}-000000-aaaa.jsonl").write_text("{}\n")
    run = metis_journal.begin("acme", BEGIN)
    assert sorted(file.stem for file in folder.iterdir()) == [
        "20200103-000000-aaaa",
        "20200104-000000-aaaa",
        run,
    ]
