"""What every phase of a verb goes through."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_journal, metis_lock, metis_run, metis_secrets, metis_verb
from tests.unit import orgs
from tests.unit.states.fleet import State

MODULES = (metis_run, metis_journal, metis_lock, metis_secrets, metis_verb)
FIRST, LAST = "consul runs", "all passes"


@pytest.fixture
def configure_loader_modules(opts: dict[str, Any]) -> dict[ModuleType, dict[str, Any]]:
    own = {"__salt__": orgs.by_salts_name(*MODULES), "__opts__": opts, "__context__": {}}
    own["__pillar__"] = {"org": "acme", "roles": ["consul"], "metis": {"orgs": {}}}
    return dict.fromkeys(MODULES, own)


def _good(name: str) -> State:
    return metis_run.state(name)


def _failed(name: str) -> State:
    return metis_run.fail(metis_run.state(name), ["h1: consul runs: it does not\nthe journal"])


def _phase(function: Callable[..., State], name: str = FIRST) -> State:
    return metis_run.phase(function, name, [], {})


def _events(run: metis_run.Run) -> list[str]:
    return [entry["event"] for entry in metis_journal.read(run["id"])]


def test_a_run_whose_phases_held_is_done_and_lets_go_of_the_lock(run: metis_run.Run) -> None:
    assert _phase(_good)["result"] is True
    holder = metis_lock.holder("acme")
    assert holder
    assert holder["run"] == run["id"]
    assert metis_journal.runs()[0]["result"] == "running"
    assert _phase(_good, LAST)["result"] is True
    assert _events(run) == ["begin", *(["phase", "phase-end"] * 2), "end"]
    assert metis_journal.runs()[0] | {"result": "done", "reason": ""} == metis_journal.runs()[0]
    assert metis_lock.holder("acme") is None


def test_a_phase_that_failed_says_why_and_how_to_go_on(run: metis_run.Run) -> None:
    done = _phase(_failed)
    assert done["result"] is False
    assert done["reason"] == "failed"
    assert done["comment"].splitlines() == [
        "h1: consul runs: it does not",
        "the journal",
        "reason: failed",
        f"all of it: salt-run metis.report run={run['id']}",
        "once that is mended, go on with",
        '  salt-run state.orchestrate metis.deploy pillar=\'{"org": "acme", "roles": ["consul"]}\'',
    ]
    assert metis_lock.holder("acme") is None
    known = metis_journal.runs()[0]
    assert (known["result"], known["reason"]) == ("failed", "failed")
    (end,) = [e for e in metis_journal.read(run["id"]) if e["event"] == "phase-end"]
    assert end["problems"] == "h1: consul runs: it does not\nthe journal"


def test_nothing_is_tried_after_a_phase_that_failed(run: metis_run.Run) -> None:
    # Salt itself ends a run there, but not a dry run.
    _phase(_failed)
    tried: list[str] = []

    def phase(name: str) -> State:
        tried.append(name)
        return _good(name)

    done = _phase(phase, LAST)
    assert done["result"] is False
    assert "not tried" in done["comment"]
    assert tried == []
    assert _events(run)[-1] == "end"


def test_a_reason_that_is_given_stays(run: metis_run.Run) -> None:
    done = _phase(lambda name: metis_run.fail(_good(name), ["no"], "invalid-input"))
    assert done["reason"] == "invalid-input"
    assert "reason: invalid-input" in done["comment"]
    # Not without the filter that was misspelt.
    assert "salt-run state.orchestrate" not in done["comment"]


@pytest.mark.parametrize("error", [CommandExecutionError("the master is away"), KeyError("x")])
def test_no_exception_gets_to_the_operator(
    run: metis_run.Run, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    def phase(name: str) -> State:
        raise error

    done = _phase(phase)
    assert done["result"] is False
    assert "Traceback" not in done["comment"]
    expected = "KeyError: 'x'" if isinstance(error, KeyError) else "the master is away"
    assert done["comment"].startswith(expected)
    assert not caplog.records
    # Who mends these states finds the place.
    traces = [e["trace"] for e in metis_journal.read(run["id"]) if e["event"] == "exception"]
    assert ["in phase\n" in trace for trace in traces] == [True] * isinstance(error, KeyError)


def test_a_disk_that_takes_no_lock_is_told(
    run: metis_run.Run, configure_loader_modules: dict[ModuleType, dict[str, Any]]
) -> None:
    def take(org: str, holder: dict[str, Any]) -> dict[str, Any]:
        raise OSError(30, "Read-only file system", "/locks/acme")

    configure_loader_modules[metis_run]["__salt__"]["metis_lock.take"] = take
    with pytest.raises(CommandExecutionError) as raised:
        metis_run.lock()
    assert "the lock of acme cannot be taken: " in str(raised.value)
    assert "/locks/acme" in str(raised.value)


def test_an_interrupted_run_is_called_that(run: metis_run.Run) -> None:
    def phase(name: str) -> State:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _phase(phase)
    assert metis_journal.runs()[0]["result"] == "interrupted"
    assert metis_lock.holder("acme") is None


def test_a_signal_ends_a_run_in_order(
    run: metis_run.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    handlers: dict[int, Callable[[int, None], None]] = {}
    codes: list[int] = []
    monkeypatch.setattr(metis_run.signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(metis_run.os, "_exit", codes.append)
    unusual: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: unusual.append(error))
    metis_run.heed_signals()
    handlers[signal.SIGINT](signal.SIGINT, None)
    assert codes == [130]
    assert metis_journal.runs()[0]["result"] == "interrupted"
    assert metis_lock.holder("acme") is None
    assert "salt-run state.orchestrate metis.deploy" in capsys.readouterr().err
    assert signal.SIGTERM in handlers
    # Salt cannot hand its result to a master that is gone, and would end with a traceback.
    other = KeyError()
    sys.excepthook(BrokenPipeError, BrokenPipeError(), None)
    assert "salt-run metis.report has it" in capsys.readouterr().err
    sys.excepthook(KeyError, other, None)
    assert unusual == [other]


class _Exited(BaseException):
    """The process is gone."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code


@pytest.fixture
def interrupt(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """What an interrupt from the terminal does."""
    handlers: dict[int, Callable[[int, None], None]] = {}

    def ends(code: int) -> None:
        raise _Exited(code)

    monkeypatch.setattr(metis_run.signal, "signal", handlers.__setitem__)
    monkeypatch.setattr(metis_run.os, "_exit", ends)
    metis_run.heed_signals()
    return lambda: handlers[signal.SIGTERM](signal.SIGTERM, None)


@pytest.mark.parametrize("error", [None, CommandExecutionError("also"), KeyError("also")])
def test_a_phase_that_is_interrupted_cleans_up_before_the_run_ends(
    run: metis_run.Run,
    interrupt: Callable[[], None],
    capsys: pytest.CaptureFixture[str],
    error: Exception | None,
) -> None:
    left = ["a private key"]

    def phase(name: str) -> State:
        try:
            interrupt()
        finally:
            left.clear()
            if error:
                raise error
        return _good(name)

    with pytest.raises(_Exited) as ended:
        _phase(phase)
    assert (ended.value.code, left) == (143, [])
    assert metis_journal.runs()[0]["result"] == "interrupted"
    assert _events(run).count("end") == 1
    assert metis_lock.holder("acme") is None
    assert "salt-run state.orchestrate metis.deploy" in capsys.readouterr().err


def test_a_second_interrupt_ends_a_run_that_still_cleans_up(
    run: metis_run.Run, interrupt: Callable[[], None]
) -> None:
    waited: list[str] = []

    def phase(name: str) -> State:
        try:
            interrupt()
        finally:
            interrupt()
            waited.append("for long")
        return _good(name)

    with pytest.raises(_Exited) as ended:
        _phase(phase)
    assert (ended.value.code, waited) == (143, [])
    assert metis_journal.runs()[0]["result"] == "interrupted"


def test_a_process_that_was_forked_off_ends_no_run(
    run: metis_run.Run, interrupt: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_run.os, "getpid", lambda: -1)
    with pytest.raises(SystemExit) as ended:
        interrupt()
    assert ended.value.code == 143
    assert metis_journal.runs()[0]["result"] == "running"
    assert _events(run) == ["begin"]


def test_signals_are_left_to_a_program_that_runs_verbs_in_threads() -> None:
    thread = threading.Thread(target=metis_run.heed_signals)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_run_is_told_whose_the_lock_is(run: metis_run.Run) -> None:
    mine = dict(run)
    metis_run.begin("stop", [FIRST])
    metis_run.keep_journal("acme")
    (problem,) = metis_run.lock()
    assert problem.startswith(f"acme is locked by metis.deploy of {metis_run._user()} (process ")
    assert mine["id"] in problem
    assert "salt-run metis.unlock org=acme" in problem
    metis_lock.release(mine["lock"])


def test_a_run_that_lost_its_lock_goes_no_further(run: metis_run.Run) -> None:
    metis_lock.forget("acme")
    done = _phase(_good)
    assert (done["result"], done["reason"]) == (False, "locked")


def test_the_lock_of_a_run_that_was_cut_off_is_taken_over_and_that_is_said(
    run: metis_run.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left = (tmp_path / "metis/locks/acme").read_text()
    metis_lock.release(run["lock"])
    (tmp_path / "metis/locks/acme").write_text(left)
    metis_run.begin("deploy", [FIRST])
    assert metis_run.now()["org"] == ""
    metis_run.keep_journal("acme")
    assert metis_run.lock() == []
    assert f"run {run['id']}, begun" in capsys.readouterr().err
    metis_lock.release(metis_run.now()["lock"])


def test_a_journal_that_cannot_be_written_ends_no_verb(
    run: metis_run.Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(vars(metis_run)["__salt__"], "metis_journal.write", full)
    assert _phase(_good)["result"] is True
    assert _phase(_good, LAST)["result"] is True
    said = capsys.readouterr().err
    assert said.count("the journal of this run ends here: ") == 1
    assert "No space left" in said
    assert metis_lock.holder("acme") is None
