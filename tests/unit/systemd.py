"""A systemd in memory that answers `systemctl` and `journalctl` in the words of the real one."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import ModuleType
from typing import Any

from _modules import metis_unit
from tests.unit import orgs


@dataclass
class Unit:
    """A unit with a file.

    `alive` tells whether its program stays up when it is started, and `ends` with which status it
    ends when it is told to.
    """

    active: str = "inactive"
    sub: str = "dead"
    enabled: bool = False
    masked: bool = False
    reload: bool = False
    pid: int = 0
    restarts: int = 0
    result: str = "success"
    status: int = 0
    started: float | None = None
    alive: bool = True
    ends: int = 0
    journal: list[str] = field(default_factory=list)


def up(started: float, **others: Any) -> Unit:
    """Give a unit that runs and is enabled."""
    unit = Unit(active="active", sub="running", enabled=True, pid=117, started=started)
    return replace(unit, **others)


class Systemd:
    """Stands in for `cmd.run_all`; everything else than systemctl and journalctl is an error."""

    def __init__(self, now: float = 2_000_000_000) -> None:
        self.units: dict[str, Unit] = {}
        self.now = now
        self.ordered: list[str] = []

    def look(self) -> tuple[dict[str, Unit], list[str]]:
        """Give the units and what was ordered up to now, to compare with later."""
        return copy.deepcopy(self.units), list(self.ordered)

    def wired(
        self, state: ModuleType, opts: dict[str, Any], *modules: ModuleType
    ) -> dict[ModuleType, dict[str, Any]]:
        """Wire a state module that asks metis_unit about the units, and other modules."""
        functions = orgs.by_salts_name(metis_unit, *modules) | {"cmd.run_all": self.run_all}
        return {
            metis_unit: {"__salt__": functions},
            state: {"__salt__": functions, "__opts__": opts},
        }

    def run_all(
        self, cmd: list[str], python_shell: bool, timeout: float, ignore_retcode: bool
    ) -> dict[str, Any]:
        """Run one command, as `cmd.run_all` does it for metis_unit."""
        assert not python_shell
        assert timeout > 0
        if cmd[0] == "journalctl":
            return _done(self._journal(cmd))
        assert cmd[0] == "systemctl", cmd
        if cmd[1] == "show":
            names = [part for part in cmd[2:] if not part.startswith("--")]
            assert "--timestamp=us+utc" in cmd
            (wanted,) = (part for part in cmd if part.startswith("--property="))
            keys = wanted.partition("=")[2].split(",")
            return _done("\n\n".join(self._show(name, keys) for name in names))
        self.ordered.append(" ".join(cmd[1:]))
        for name in cmd[2:]:
            if error := self._act(cmd[1], name):
                return _done("", error)
        if cmd[1] == "daemon-reload":
            for unit in self.units.values():
                unit.reload = False
        return _done("")

    def _act(self, verb: str, name: str) -> str:
        if name not in self.units:
            return f"Failed to {verb} {name}: Unit {name} not found."
        unit = self.units[name]
        if verb in ("start", "restart"):
            if unit.masked:
                return f"Failed to {verb} {name}: Unit {name} is masked."
            self.now += 1
            unit.started = self.now
            if not unit.alive:
                unit.active, unit.sub, unit.result, unit.status = "failed", "failed", "exit-code", 1
                unit.pid = 0
                return f"Job for {name} failed because the control process exited with error code."
            unit.active, unit.sub, unit.result, unit.status = "active", "running", "success", 0
            unit.pid = 118
        elif verb == "stop":
            unit.pid = 0
            if unit.ends and unit.active != "failed":
                unit.active, unit.sub, unit.result = "failed", "failed", "exit-code"
                unit.status = unit.ends
            elif unit.active != "failed":
                unit.active, unit.sub = "inactive", "dead"
        elif verb in ("mask", "unmask"):
            unit.masked = verb == "mask"
        elif verb in ("enable", "disable"):
            if unit.masked:
                return f"Failed to {verb} unit: Unit file /etc/systemd/system/{name} is masked."
            unit.enabled = verb == "enable"
        elif verb == "reset-failed":
            unit.active, unit.sub, unit.result, unit.status = "inactive", "dead", "success", 0
        else:
            raise AssertionError(verb)
        return ""

    def _show(self, name: str, keys: list[str]) -> str:
        unit = self.units.get(name, Unit())
        load, file = "loaded", "enabled" if unit.enabled else "disabled"
        if name not in self.units:
            load, file = "not-found", ""
        elif unit.masked:
            load, file = "masked", "masked"
        started = ""
        if unit.started is not None:
            moment = datetime.fromtimestamp(unit.started, UTC)
            started = moment.strftime("%a %Y-%m-%d %H:%M:%S.%f UTC")
        known = {
            "MainPID": unit.pid,
            "Result": unit.result,
            "NRestarts": unit.restarts,
            "ExecMainStartTimestamp": started,
            "ExecMainStatus": unit.status,
            "Id": name,
            "LoadState": load,
            "ActiveState": unit.active,
            "SubState": unit.sub,
            "UnitFileState": file,
            "NeedDaemonReload": "yes" if unit.reload else "no",
        }
        return "\n".join(f"{key}={value}" for key, value in known.items() if key in keys)

    def _journal(self, cmd: list[str]) -> str:
        name, lines = cmd[cmd.index("--unit") + 1], int(cmd[cmd.index("--lines") + 1])
        unit = self.units.get(name)
        said = unit.journal[-lines:] if unit else []
        return "\n".join(said) or "-- No entries --"


def _done(out: str, error: str = "") -> dict[str, Any]:
    return {"pid": 1, "retcode": 1 if error else 0, "stdout": out, "stderr": error}
