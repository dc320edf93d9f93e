"""Units that run with their files, and units that are stopped: told beforehand, done, and kept."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from salt.exceptions import CommandExecutionError
from salt.utils.immutabletypes import freeze
from salt.utils.state import gen_tag

from _modules import metis_consul as consul_module
from _states import metis_unit
from tests.unit.states.predicted import told_and_done
from tests.unit.systemd import Systemd, Unit, up

UNIT = "metis-carrier.service"
SERVICE = {"id": "carrierService_10.0.0.1_10033", "name": "carrierService"}
AGENT = {"address": "10.0.0.1", "port": 8500}


@pytest.fixture
def systemd() -> Systemd:
    return Systemd()


@pytest.fixture
def services() -> Any:
    """What is registered on the agent."""
    return create_autospec(consul_module.services, return_value={SERVICE["id"]: "passing"})


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], systemd: Systemd, services: Mock
) -> dict[ModuleType, dict[str, Any]]:
    wired = systemd.wired(metis_unit, opts)
    wired[metis_unit]["__salt__"]["metis_consul.services"] = services
    return wired


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What the program reads; written at 1000."""
    found = tmp_path / "carrier.yml"
    found.write_text("")
    os.utime(found, (1000, 1000))
    return found


def _runs(systemd: Systemd) -> bool:
    unit = systemd.units[UNIT]
    return unit.active == "active" and unit.enabled and not unit.masked and not unit.reload


# running


@pytest.mark.parametrize(
    ("unit", "changes", "ordered"),
    [
        (up(2000.0), {}, []),
        (up(2000.0, active="reloading"), {}, []),
        (
            Unit(),
            {"state": {"old": "inactive", "new": "active"}, "enabled": {"old": False, "new": True}},
            [f"enable {UNIT}", f"restart {UNIT}"],
        ),
        (
            Unit(active="failed", sub="failed", enabled=True, status=1),
            {"state": {"old": "failed", "new": "active"}},
            [f"restart {UNIT}"],
        ),
        (
            Unit(active="activating", sub="auto-restart", enabled=True, restarts=3),
            {"state": {"old": "activating", "new": "active"}},
            [f"restart {UNIT}"],
        ),
        (up(2000.0, enabled=False), {"enabled": {"old": False, "new": True}}, [f"enable {UNIT}"]),
        (
            Unit(enabled=True, masked=True),
            {"state": {"old": "inactive", "new": "active"}, "enabled": {"old": False, "new": True}},
            [f"unmask {UNIT}", "daemon-reload", f"enable {UNIT}", f"restart {UNIT}"],
        ),
        (
            up(2000.0, masked=True),
            {"enabled": {"old": False, "new": True}},
            [f"unmask {UNIT}", "daemon-reload", f"enable {UNIT}"],
        ),
    ],
    ids=[
        "runs",
        "reloading",
        "new",
        "failed",
        "crashing",
        "not at boot",
        "stopped on purpose",
        "masked but runs",
    ],
)
def test_a_unit_is_brought_up(
    opts: dict[str, Any],
    systemd: Systemd,
    file: Path,
    unit: Unit,
    changes: dict[str, Any],
    ordered: list[str],
) -> None:
    systemd.units[UNIT] = copy.deepcopy(unit)
    done = told_and_done(opts, lambda: metis_unit.running(UNIT, [str(file)]), systemd.look)
    assert done["changes"] == changes
    assert systemd.ordered == ordered
    if changes:
        assert _runs(systemd)


def test_a_unit_that_is_older_than_its_files_is_restarted(
    opts: dict[str, Any], systemd: Systemd, file: Path
) -> None:
    systemd.units[UNIT] = up(999.0)
    done = told_and_done(opts, lambda: metis_unit.running(UNIT, [str(file)]), systemd.look)
    assert done["changes"] == {"restarted": {"old": None, "new": f"changed: {file}"}}
    assert systemd.ordered == [f"restart {UNIT}"]


def test_a_changed_unit_file_is_read_before_the_restart(systemd: Systemd, file: Path) -> None:
    systemd.units[UNIT] = up(999.0, reload=True)
    metis_unit.running(UNIT, [str(file)])
    assert systemd.ordered == ["daemon-reload", f"restart {UNIT}"]
    assert _runs(systemd)


def test_a_program_that_is_no_longer_registered_is_restarted(
    opts: dict[str, Any], systemd: Systemd, services: Mock, file: Path
) -> None:
    systemd.units[UNIT] = up(2000.0)
    registered: dict[str, str] = {}
    services.side_effect = lambda agent: {
        **registered,
        # It registers when it starts.
        **({SERVICE["id"]: "passing"} if f"restart {UNIT}" in systemd.ordered else {}),
    }
    done = told_and_done(
        opts, lambda: metis_unit.running(UNIT, [str(file)], SERVICE, AGENT), systemd.look
    )
    assert list(done["changes"]) == ["restarted"]
    assert "not registered" in done["changes"]["restarted"]["new"]


@pytest.mark.parametrize("state", ["passing", "warning", "critical"])
def test_a_registration_that_does_not_pass_yet_is_none_of_it(
    systemd: Systemd, services: Mock, file: Path, state: str
) -> None:
    systemd.units[UNIT] = up(2000.0)
    services.return_value = {SERVICE["id"]: state}
    assert metis_unit.running(UNIT, [str(file)], SERVICE, AGENT)["changes"] == {}


def test_consul_is_not_asked_about_a_unit_that_is_started_anyway(
    systemd: Systemd, services: Mock, file: Path
) -> None:
    systemd.units[UNIT] = Unit()
    services.side_effect = CommandExecutionError("consul cannot be reached")
    assert metis_unit.running(UNIT, [str(file)], SERVICE, AGENT)["result"] is True


def test_a_unit_that_does_not_exist_cannot_run(
    opts: dict[str, Any], systemd: Systemd, file: Path
) -> None:
    done = metis_unit.running(UNIT, [str(file)])
    assert (done["result"], done["changes"]) == (False, {})
    assert UNIT in done["comment"]
    # Before the first run, the unit's file is not written yet.
    opts["test"] = True
    told = metis_unit.running(UNIT, [str(file)])
    assert told["result"] is None
    assert told["changes"]["state"] == {"old": "absent", "new": "active"}


def test_a_start_that_fails_says_why_with_the_journal(systemd: Systemd, file: Path) -> None:
    lines = ["carrier[9]: no data center", "carrier[9]: exit 1"]
    systemd.units[UNIT] = Unit(enabled=True, alive=False, journal=lines)
    done = metis_unit.running(UNIT, [str(file)])
    assert (done["result"], done["changes"]) == (False, {})
    first, second, *journal = done["comment"].splitlines()
    assert f"systemctl restart {UNIT} failed" in first
    assert f"{UNIT} is failed (failed)" in second
    assert journal == lines


def test_a_consul_that_cannot_be_asked_says_so_with_the_journal(
    systemd: Systemd, services: Mock, file: Path
) -> None:
    systemd.units[UNIT] = up(2000.0, journal=["carrier[9]: lost consul"])
    services.side_effect = CommandExecutionError("consul at 10.0.0.1:8500 cannot be reached")
    done = metis_unit.running(UNIT, [str(file)], SERVICE, AGENT)
    assert done["result"] is False
    assert "consul at 10.0.0.1:8500 cannot be reached" in done["comment"]
    assert "carrier[9]: lost consul" in done["comment"]


def test_what_is_older_than_the_agent_is_restarted_once(
    opts: dict[str, Any], systemd: Systemd, file: Path
) -> None:
    systemd.units[UNIT] = up(2000.0)

    def apply() -> dict[str, Any]:
        return metis_unit.running(UNIT, [str(file)], SERVICE, AGENT, not_before=2001.0)

    done = told_and_done(opts, apply, systemd.look)
    assert done["changes"] == {
        "restarted": {"old": None, "new": "it is older than the consul agent"}
    }


# A change of a watched file

WRITTEN = {"state": "file", "fun": "managed", "__id__": "It is written", "name": "carrier.yml"}
COMMAND = WRITTEN | {"state": "cmd", "fun": "run"}
ARTIFACTS = WRITTEN | {"state": "metis_artifact", "fun": "present"}
ANEW = {"old": None, "new": "2b2f"}


@pytest.mark.parametrize(
    ("watched", "changes", "restarts"),
    [
        pytest.param(WRITTEN, {"diff": "+a"}, True, id="content"),
        pytest.param(WRITTEN, {"diff": "+a", "mode": "0640"}, True, id="content and mode"),
        pytest.param(WRITTEN, {"newfile": "carrier.yml"}, True, id="new"),
        pytest.param(WRITTEN, {"mode": "0640"}, False, id="mode"),
        pytest.param(WRITTEN, {"user": "root", "group": "root"}, False, id="owner"),
        pytest.param(COMMAND, {"cmd": "make"}, True, id="command"),
        pytest.param(ARTIFACTS, {"carrier.yml": ANEW}, True, id="what is read"),
        pytest.param(ARTIFACTS, {"admin.sql": ANEW}, False, id="what is not read"),
        pytest.param(
            ARTIFACTS,
            {"admin.sql": ANEW, "carrier.yml": {"mode": "0644"}},
            False,
            id="mode of what is read",
        ),
    ],
)
def test_a_change_that_is_only_told_means_a_restart_where_a_file_would_be_newer(
    opts: dict[str, Any],
    systemd: Systemd,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    watched: dict[str, Any],
    changes: dict[str, Any],
    restarts: bool,
) -> None:
    opts["test"] = True
    systemd.units[UNIT] = up(2000.0)
    watched = watched | {"directory": str(file.parent)}
    other = WRITTEN | {"__id__": "Another one is written"}
    told = {gen_tag(watched): {"changes": changes}, gen_tag(other): {"changes": {}}}
    monkeypatch.setattr(metis_unit, "__running__", freeze(told), raising=False)
    # Salt asks for the change when nothing else of the unit would change.
    assert metis_unit.running(UNIT, [str(file)])["changes"] == {}
    requisites = {"watch": [other, watched]}
    found = metis_unit.mod_watch(UNIT, [str(file)], sfun="running", __reqs__=requisites)
    assert found["result"] is (None if restarts else True)
    assert list(found["changes"]) == (["restarted"] if restarts else [])
    assert systemd.ordered == []


def test_a_change_that_is_made_was_seen_by_the_file_s_time(systemd: Systemd, file: Path) -> None:
    systemd.units[UNIT] = up(999.0)
    assert metis_unit.running(UNIT, [str(file)])["changes"]
    watched = metis_unit.mod_watch(UNIT, [str(file)], sfun="running")
    assert (watched["result"], watched["changes"]) == (True, {})
    assert systemd.ordered == [f"restart {UNIT}"]


# stopped


@pytest.mark.parametrize(
    ("unit", "changes", "ordered"),
    [
        (Unit(masked=True), {}, []),
        (
            up(2000.0),
            {"state": {"old": "active", "new": "inactive"}, "masked": {"old": False, "new": True}},
            [f"mask {UNIT}", f"stop {UNIT}"],
        ),
        # Started by hand while it was masked cannot be; masked by hand while it runs can.
        (
            up(2000.0, masked=True),
            {"state": {"old": "active", "new": "inactive"}},
            [f"mask {UNIT}", f"stop {UNIT}"],
        ),
        (
            Unit(active="activating", sub="auto-restart"),
            {
                "state": {"old": "activating", "new": "inactive"},
                "masked": {"old": False, "new": True},
            },
            [f"mask {UNIT}", f"stop {UNIT}"],
        ),
        (
            Unit(active="failed", sub="failed", status=1),
            {"masked": {"old": False, "new": True}},
            [f"mask {UNIT}", f"stop {UNIT}", f"reset-failed {UNIT}"],
        ),
        (
            up(2000.0, ends=1),
            {"state": {"old": "active", "new": "inactive"}, "masked": {"old": False, "new": True}},
            [f"mask {UNIT}", f"stop {UNIT}", f"reset-failed {UNIT}"],
        ),
        (
            Unit(),
            {"masked": {"old": False, "new": True}},
            [f"mask {UNIT}", f"stop {UNIT}"],
        ),
    ],
    ids=["stopped", "runs", "masked but runs", "crashing", "failed", "ends badly", "inactive"],
)
def test_a_unit_is_stopped_and_stays_so(
    opts: dict[str, Any],
    systemd: Systemd,
    unit: Unit,
    changes: dict[str, Any],
    ordered: list[str],
) -> None:
    systemd.units[UNIT] = copy.deepcopy(unit)
    done = told_and_done(opts, lambda: metis_unit.stopped(UNIT), systemd.look)
    assert done["changes"] == changes
    # Masked before it is stopped: with Restart=always it could come back in between.
    assert systemd.ordered == ordered
    assert systemd.units[UNIT].masked
    assert systemd.units[UNIT].active == "inactive"


def test_what_does_not_exist_is_stopped(opts: dict[str, Any], systemd: Systemd) -> None:
    assert told_and_done(opts, lambda: metis_unit.stopped(UNIT), systemd.look)["changes"] == {}


def test_stopped_and_started_again_runs(systemd: Systemd, file: Path) -> None:
    systemd.units[UNIT] = up(2000.0)
    metis_unit.stopped(UNIT)
    assert metis_unit.running(UNIT, [str(file)])["result"] is True
    assert _runs(systemd)


def test_a_stop_that_fails_is_told(systemd: Systemd, monkeypatch: pytest.MonkeyPatch) -> None:
    systemd.units[UNIT] = up(2000.0)
    monkeypatch.setattr(systemd, "_act", lambda verb, name: f"Failed to {verb} {name}: timed out")
    done = metis_unit.stopped(UNIT)
    assert (done["result"], done["changes"]) == (False, {})
    assert "timed out" in done["comment"]


# dead


@pytest.mark.parametrize(
    ("unit", "changes", "ordered"),
    [
        (Unit(masked=True), {}, []),
        (Unit(enabled=True), {}, []),
        (up(2000.0), {"state": {"old": "active", "new": "inactive"}}, [f"stop {UNIT}"]),
        (
            up(2000.0, ends=1),
            {"state": {"old": "active", "new": "inactive"}},
            [f"stop {UNIT}", f"reset-failed {UNIT}"],
        ),
        (
            Unit(active="failed", sub="failed", status=1),
            {"state": {"old": "failed", "new": "inactive"}},
            [f"reset-failed {UNIT}"],
        ),
    ],
    ids=["masked", "never started", "runs", "ends badly", "failed"],
)
def test_a_unit_does_not_run_any_more(
    opts: dict[str, Any],
    systemd: Systemd,
    unit: Unit,
    changes: dict[str, Any],
    ordered: list[str],
) -> None:
    systemd.units[UNIT] = copy.deepcopy(unit)
    done = told_and_done(opts, lambda: metis_unit.dead(UNIT), systemd.look)
    assert done["changes"] == changes
    assert systemd.ordered == ordered
    # It may run again.
    assert systemd.units[UNIT].masked is unit.masked


def test_what_is_gone_is_dead(opts: dict[str, Any], systemd: Systemd) -> None:
    assert told_and_done(opts, lambda: metis_unit.dead(UNIT), systemd.look)["changes"] == {}


def test_systemd_reads_its_files_again(opts: dict[str, Any], systemd: Systemd) -> None:
    opts["test"] = True
    assert metis_unit.reloaded("a")["result"] is True
    assert systemd.ordered == []
    opts["test"] = False
    assert metis_unit.reloaded("a")["result"] is True
    assert systemd.ordered == ["daemon-reload"]
