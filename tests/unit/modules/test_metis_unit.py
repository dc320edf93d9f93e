"""What is read out of systemctl and journalctl."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from salt.exceptions import CommandExecutionError
from salt.modules import cmdmod

from _modules import metis_unit
from tests.unit.systemd import Systemd, Unit, up

# As systemd 252 of Debian 12 shows them, one unit after the other.
RUNS = """\
MainPID=117
Result=success
NRestarts=0
ExecMainStartTimestamp=Sun 2026-11-22 19:22:26.522578 UTC
ExecMainStatus=0
Id=runs.service
LoadState=loaded
ActiveState=active
SubState=running
UnitFileState=enabled
NeedDaemonReload=yes"""
AGAIN = """\
MainPID=0
Result=exit-code
NRestarts=7
ExecMainStartTimestamp=Sun 2026-11-22 19:22:26.529367 UTC
ExecMainStatus=4
Id=again.service
LoadState=loaded
ActiveState=activating
SubState=auto-restart
UnitFileState=disabled
NeedDaemonReload=no"""
MASKED = """\
MainPID=0
Result=success
NRestarts=0
ExecMainStartTimestamp=
ExecMainStatus=0
Id=masked.service
LoadState=masked
ActiveState=inactive
SubState=dead
UnitFileState=masked
NeedDaemonReload=no"""
GONE = """\
MainPID=0
Result=success
NRestarts=0
ExecMainStartTimestamp=
ExecMainStatus=0
Id=gone.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
NeedDaemonReload=no"""
# An older systemd's word for no time.
NEVER = GONE.replace("gone", "never").replace("not-found", "loaded").replace("mp=", "mp=n/a")


@pytest.fixture
def run_all() -> Any:
    return create_autospec(cmdmod.run_all)


@pytest.fixture
def configure_loader_modules(run_all: Mock) -> dict[ModuleType, dict[str, Any]]:
    return {metis_unit: {"__salt__": {"cmd.run_all": run_all}}}


def _says(run_all: Mock, out: str = "", retcode: int = 0, err: str = "") -> None:
    run_all.return_value = {"pid": 1, "retcode": retcode, "stdout": out, "stderr": err}


def test_units_of_every_kind_are_read_in_one_call(run_all: Mock) -> None:
    _says(run_all, "\n\n".join((RUNS, AGAIN, MASKED, GONE, NEVER)))
    names = ["runs.service", "again.service", "masked.service", "gone.service", "never.service"]
    found = metis_unit.facts(names)
    assert list(found) == names
    assert found["runs.service"] == {
        "state": "active",
        "sub": "running",
        "masked": False,
        "enabled": True,
        "needs_reload": True,
        "pid": 117,
        "restarts": 0,
        "result": "success",
        "exit_status": 0,
        "started": datetime(2026, 11, 22, 19, 22, 26, 522578, UTC).timestamp(),
    }
    again = found["again.service"]
    assert (again["state"], again["sub"], again["enabled"]) == ("activating", "auto-restart", False)
    assert (again["restarts"], again["result"], again["exit_status"]) == (7, "exit-code", 4)
    masked = found["masked.service"]
    assert (masked["state"], masked["masked"], masked["enabled"]) == ("inactive", True, False)
    assert masked["started"] is None
    assert found["gone.service"]["state"] == "absent"
    assert found["never.service"]["state"] == "inactive"
    assert found["never.service"]["started"] is None
    (command,) = (call.args[0] for call in run_all.call_args_list)
    assert command[:2] == ["systemctl", "show"]
    assert command[-5:] == names


def test_of_no_unit_systemd_is_not_asked(run_all: Mock) -> None:
    assert metis_unit.facts([]) == {}
    run_all.assert_not_called()


def test_no_command_runs_in_a_shell_or_for_ever(run_all: Mock) -> None:
    _says(run_all, RUNS)
    metis_unit.explain("it is gone", "runs.service")
    metis_unit.act("restart", ["runs.service"])
    for call in run_all.call_args_list:
        assert isinstance(call.args[0], list)
        assert call.kwargs["python_shell"] is False
        assert call.kwargs["timeout"] > 0


def test_what_systemctl_says_is_what_the_operator_reads(run_all: Mock) -> None:
    _says(run_all, "", 5, "Failed to restart gone.service: Unit gone.service not found.")
    with pytest.raises(CommandExecutionError) as raised:
        metis_unit.act("restart", ["gone.service"])
    assert str(raised.value) == (
        "systemctl restart gone.service failed: "
        "Failed to restart gone.service: Unit gone.service not found."
    )


def test_a_systemctl_that_hangs_is_told_too(run_all: Mock) -> None:
    # Salt puts its own words on standard output then.
    _says(run_all, "timed out after 180 seconds", 1)
    with pytest.raises(CommandExecutionError, match="timed out after 180 seconds"):
        metis_unit.act("stop", ["x.service"])


def test_verbs_without_a_unit(run_all: Mock) -> None:
    _says(run_all)
    metis_unit.act("daemon-reload")
    assert run_all.call_args.args[0] == ["systemctl", "daemon-reload"]


def test_a_file_written_after_the_start_is_newer(tmp_path: Path) -> None:
    old, new, gone = (tmp_path / name for name in ("old", "new", "gone"))
    old.write_text("")
    new.write_text("")
    os.utime(old, (1000, 1000))
    os.utime(new, (1000.5, 1000.5))
    files = [str(old), str(new), str(gone)]
    assert metis_unit.newer_files(files, 1000.2) == [str(new), str(gone)]
    assert metis_unit.newer_files(files, 2000) == [str(gone)]
    assert metis_unit.newer_files([], 0) == []


def test_a_link_counts_when_it_is_set_anew_and_not_what_it_points_to(tmp_path: Path) -> None:
    release, current = tmp_path / "0.3.0", tmp_path / "current"
    release.mkdir()
    current.symlink_to(release)
    os.utime(current, (1000, 1000), follow_symlinks=False)
    os.utime(release, (3000, 3000))
    assert metis_unit.newer_files([str(current)], 2000) == []
    os.utime(current, (3000, 3000), follow_symlinks=False)
    assert metis_unit.newer_files([str(current)], 2000) == [str(current)]


@pytest.mark.parametrize(
    ("blocks", "wanted"),
    [
        ([MASKED, MASKED], "stopped"),
        ([MASKED, RUNS], "running"),
        # Before the first run, there are no units.
        ([GONE, GONE], "running"),
        ([AGAIN, NEVER], "running"),
    ],
)
def test_a_role_is_wanted_unless_all_of_it_was_stopped(
    run_all: Mock, blocks: list[str], wanted: str
) -> None:
    _says(run_all, "\n\n".join(blocks))
    assert metis_unit.wanted([{"units": ["a.service"]}, {"units": ["b.service"]}]) == wanted


def test_the_journal_of_a_unit_and_of_no_other(run_all: Mock) -> None:
    _says(run_all, "line")
    assert metis_unit.journal("a.service", 5) == "line"
    command = run_all.call_args.args[0]
    assert command[:5] == ["journalctl", "--unit", "a.service", "--lines", "5"]
    assert "--no-pager" in command


@pytest.fixture
def systemd(run_all: Mock) -> Systemd:
    found = Systemd()
    run_all.side_effect = found.run_all
    return found


def test_a_cause_comes_with_the_state_and_the_end_of_the_journal(systemd: Systemd) -> None:
    lines = [f"2026-11-22T19:22:26+0000 h1 carrier[118]: line {n}" for n in range(40)]
    systemd.units["c.service"] = up(1000.0, journal=lines)
    assert metis_unit.explain("it is not registered", "c.service").splitlines() == [
        "it is not registered",
        "c.service is active (running); the end of its journal:",
        *lines[10:],
    ]


def test_a_program_that_ends_again_and_again_is_called_so(systemd: Systemd) -> None:
    again = Unit(active="activating", sub="auto-restart", restarts=7, status=4, result="exit-code")
    systemd.units["c.service"] = again
    assert "c.service is activating (auto-restart), restarted 7 times, last exit status 4" in (
        metis_unit.explain("it does not come", "c.service")
    )


def test_a_unit_that_does_not_exist_is_explained_too(systemd: Systemd) -> None:
    said = metis_unit.explain("it does not come", "gone.service")
    assert "gone.service is absent" in said
    assert said.endswith("-- No entries --")


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.given: list[float] = []

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(metis_unit.time, "monotonic", found.monotonic)
    return found


def _look(clock: Clock, answers: list[str]) -> Any:
    def look(seconds: float) -> str:
        clock.given.append(seconds)
        wrong = answers.pop(0) if len(answers) > 1 else answers[0]
        clock.now += seconds if wrong else 0.5
        return wrong

    return look


def test_waiting_ends_as_soon_as_all_is_well(systemd: Systemd, clock: Clock) -> None:
    systemd.units["c.service"] = up(1000.0)
    assert metis_unit.wait("c.service", _look(clock, ["absent", "absent", ""]), 60) == ""
    assert len(clock.given) == 3
    assert clock.now < 60


def test_waiting_ends_when_its_time_is_over(systemd: Systemd, clock: Clock) -> None:
    systemd.units["c.service"] = up(1000.0)
    wrong = metis_unit.wait("c.service", _look(clock, ["carrier is absent"]), 10)
    assert wrong == "carrier is absent after 10 s"
    assert clock.now == 10
    assert sum(clock.given) == 10


def test_without_time_one_look_is_enough(systemd: Systemd, clock: Clock) -> None:
    systemd.units["c.service"] = up(1000.0)
    assert metis_unit.wait("c.service", _look(clock, ["carrier is absent"]), 0) == (
        "carrier is absent"
    )
    assert clock.given == [0]


def test_a_program_that_ends_again_and_again_is_not_waited_for(
    systemd: Systemd, clock: Clock
) -> None:
    # Restarts from before the wait do not count.
    unit = systemd.units["c.service"] = up(1000.0, restarts=100)

    def look(seconds: float) -> str:
        clock.now += seconds
        unit.restarts += 2
        return "carrier is absent"

    wrong = metis_unit.wait("c.service", look, 600)
    assert wrong == "carrier is absent, and c.service ended 6 times meanwhile"
    assert clock.now < 60


# Ports


def test_a_port_that_a_program_or_its_child_has_is_not_missing() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(type=socket.SOCK_DGRAM) as udp,
    ):
        udp.bind(("127.0.0.1", 0))
        own = [["tcp", tcp.getsockname()[1]], ["udp", udp.getsockname()[1]]]
        assert metis_unit.missing_ports([os.getpid()], own) == []
        assert metis_unit.missing_ports([os.getppid()], own) == []


def test_a_port_that_nobody_has_is_missing(closed: dict[str, Any]) -> None:
    wanted = [["tcp", closed["port"]], ["udp", closed["port"]]]
    assert metis_unit.missing_ports([os.getpid()], wanted) == [
        f"tcp port {closed['port']}",
        f"udp port {closed['port']}",
    ]
    # A program that has just ended.
    assert len(metis_unit.missing_ports([2**22 + 1], wanted)) == 2


def test_a_port_that_another_program_has_is_missing_and_it_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, subprocess.Popen(["sleep", "60"]) as other:
        try:
            port = tcp.getsockname()[1]
            (said,) = metis_unit.missing_ports([other.pid], [["tcp", port]])
        finally:
            other.kill()
    assert said.startswith(f"tcp port {port}, which ")
    assert said.endswith(f" (process {os.getpid()}) has")


def test_of_each_port_it_is_told_who_listens(closed: dict[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp:
        port = tcp.getsockname()[1]
        wanted = [["tcp", port], ["tcp", closed["port"]]]
        mine, free = metis_unit.holders([os.getpid()], wanted)
        other, _ = metis_unit.holders([], wanted)
    assert mine == {"protocol": "tcp", "port": port, "own": True, "others": []}
    assert free == {"protocol": "tcp", "port": closed["port"], "own": False, "others": []}
    assert other["own"] is False
    (holder,) = other["others"]
    assert holder.endswith(f" (process {os.getpid()})")


def test_a_program_s_end_is_waited_for(run_all: Mock) -> None:
    def _is(program: subprocess.Popen[bytes]) -> None:
        _says(run_all, RUNS.replace("MainPID=117", f"MainPID={program.pid}"))

    with subprocess.Popen(["sleep", "60"]) as program:
        _is(program)
        assert metis_unit.wait_for_end("runs.service", 0.1) is False
        program.terminate()
        assert metis_unit.wait_for_end("runs.service", 30) is True
    assert metis_unit.wait_for_end("runs.service", 30) is True
