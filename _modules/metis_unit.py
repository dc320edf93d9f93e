"""
systemd units: what systemd and the journal know of them, and what they were started with.
"""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from socket import SOCK_STREAM
from typing import Any

import psutil
import salt.exceptions

__virtualname__ = "metis_unit"

_PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,MainPID,NRestarts,Result,"
    "ExecMainStatus,ExecMainStartTimestamp"
)
JOURNAL_LINES = 30
# A program that ended this often while it was waited for will not come.
CRASHES = 5
LOOK_AGAIN = 4.0
# A unit's own TimeoutStartSec and TimeoutStopSec end sooner; this only bounds a stuck systemd.
SYSTEMCTL_TIMEOUT = 180


def _run(arguments: list[str]) -> str:
    done = __salt__["cmd.run_all"](
        arguments, python_shell=False, timeout=SYSTEMCTL_TIMEOUT, ignore_retcode=True
    )
    if done["retcode"]:
        raise salt.exceptions.CommandExecutionError(
            f"{' '.join(arguments)} failed: {done['stderr'] or done['stdout']}"
        )
    return done["stdout"]


def facts(names: list[str]) -> dict[str, dict[str, Any]]:
    """
    What systemd knows of units, in one call.

    names
        Units, with their suffix.

    Returns unit name to ``{"state", "sub", "masked", "enabled", "needs_reload", "pid", "restarts",
    "result", "exit_status", "started"}``: ``state`` is systemd's ActiveState, or ``absent`` where
    there is no such unit; ``started`` is when the main process started, in seconds of the epoch, or
    ``None``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.facts '[metis-consul.service]'
    """
    if not names:
        return {}
    out = _run(["systemctl", "show", "--timestamp=us+utc", f"--property={_PROPERTIES}", *names])
    found = {}
    for name, block in zip(names, out.strip().split("\n\n"), strict=True):
        seen = dict(line.split("=", 1) for line in block.splitlines())
        absent = seen["LoadState"] == "not-found"
        started = seen["ExecMainStartTimestamp"]
        found[name] = {
            "state": "absent" if absent else seen["ActiveState"],
            "sub": seen["SubState"],
            "masked": seen["LoadState"] == "masked",
            "enabled": seen["UnitFileState"] in ("enabled", "enabled-runtime"),
            "needs_reload": seen["NeedDaemonReload"] == "yes",
            "pid": int(seen["MainPID"]),
            "restarts": int(seen["NRestarts"]),
            "result": seen["Result"],
            "exit_status": int(seen["ExecMainStatus"]),
            "started": _epoch(started) if started and started != "n/a" else None,
        }
    return found


def _epoch(text: str) -> float:
    # systemd's `us+utc` form: Sun 2026-11-22 17:34:32.123456 UTC
    moment = datetime.strptime(text, "%a %Y-%m-%d %H:%M:%S.%f UTC")
    return moment.replace(tzinfo=UTC).timestamp()


def newer_files(files: list[str], started: float) -> list[str]:
    """
    Which files were changed after a process started: it does not run with what they say now.

    files
        Absolute paths. A link counts itself, not what it points to. A missing file counts as
        changed.
    started
        Seconds of the epoch.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.newer_files '[/etc/metis/carrier/carrier.yml]' 1700000000
    """
    return [
        path for path in files if not os.path.lexists(path) or os.lstat(path).st_mtime > started
    ]


def wanted(instances: list[dict[str, Any]]) -> str:
    """
    Whether a highstate starts a role or leaves it stopped.

    ``metis.stop`` masks what it stops, so that neither a reboot nor a highstate starts it again.

    instances
        Of one role on this host, each with its ``units``.

    Returns ``stopped`` where every unit is masked, and else ``running``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.wanted '[{units: [metis-carrier.service]}]'
    """
    units = facts([unit for instance in instances for unit in instance["units"]])
    return "stopped" if all(unit["masked"] for unit in units.values()) else "running"


def act(verb: str, names: list[str] | None = None) -> None:
    """
    ``systemctl <verb> <unit>...``, waited for.

    verb
        start, stop, restart, enable, disable, mask, unmask, daemon-reload, reset-failed.
    names
        Units, with their suffix.

    Raises ``CommandExecutionError`` with systemctl's own words.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.act restart '[metis-carrier.service]'
    """
    _run(["systemctl", verb, *(names or [])])


def journal(name: str, lines: int = JOURNAL_LINES) -> str:
    """
    The last lines of a unit's journal.

    name
        A unit, with its suffix.
    lines
        How many at the most.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.journal metis-carrier.service
    """
    return _run(
        ["journalctl", "--unit", name, "--lines", str(lines), "--output=short-iso", "--no-pager"]
    )


def missing_ports(pids: list[int], wanted: list[list[Any]]) -> list[str]:
    """
    Which ports a program does not listen on, though it should. Some programs log that they could
    not have a port and go on without it.

    pids
        Its main processes; what they started counts too.
    wanted
        ``[protocol, port]`` pairs, with ``tcp`` or ``udp``.

    Returns a text for each port that is missing, with who holds it instead.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.missing_ports '[117]' '[[tcp, 10036]]'
    """
    missing = []
    for found in holders(pids, wanted):
        if not found["own"]:
            others = ", ".join(found["others"])
            said = f"{found['protocol']} port {found['port']}"
            missing.append(said + (f", which {others} has" if others else ""))
    return missing


def holders(pids: list[int], wanted: list[list[Any]]) -> list[dict[str, Any]]:
    """
    Who listens on ports.

    pids
        Main processes of our own; what they started is our own too.
    wanted
        ``[protocol, port]`` pairs, with ``tcp`` or ``udp``.

    Returns for each of them ``protocol``, ``port``, ``own`` (whether one of our own listens) and
    ``others`` (name and number of every other process that does).

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.holders '[117]' '[[tcp, 10036]]'
    """
    own: set[int] = set()
    for pid in pids:
        try:
            family = psutil.Process(pid).children(recursive=True)
        except psutil.NoSuchProcess:
            continue
        own |= {pid, *(child.pid for child in family)}
    listening: dict[tuple[str, int], set[int]] = {}
    for socket in psutil.net_connections(kind="inet"):
        protocol = "tcp" if socket.type == SOCK_STREAM else "udp"
        if socket.pid and (protocol == "udp" or socket.status == psutil.CONN_LISTEN):
            listening.setdefault((protocol, socket.laddr.port), set()).add(socket.pid)
    found = []
    for protocol, port in wanted:
        there = listening.get((protocol, port), set())
        others = [f"{_name(pid)} (process {pid})" for pid in sorted(there - own)]
        mine = bool(there & own)
        found.append({"protocol": protocol, "port": port, "own": mine, "others": others})
    return found


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return "another program"


def wait(name: str, look: Callable[[float], str], timeout: float) -> str:
    """
    Wait for what a unit's program shall do, but not for a program that ends again and again.

    name
        The unit, with its suffix.
    look
        Waits for as many seconds as it is given, and returns what is wrong then, or ``""``.
    timeout
        Seconds in all; 0 looks once.

    Returns what is wrong at the end, or ``""``.
    """
    end = time.monotonic() + timeout
    before = facts([name])[name]["restarts"]
    while True:
        left = max(0.0, end - time.monotonic())
        wrong = look(min(left, LOOK_AGAIN))
        if not wrong or time.monotonic() >= end:
            return f"{wrong} after {timeout:.0f} s" if wrong and timeout else wrong
        ended = facts([name])[name]["restarts"] - before
        if ended >= CRASHES:
            return f"{wrong}, and {name} ended {ended} times meanwhile"


def wait_for_end(name: str, timeout: float) -> bool:
    """
    Wait for a unit's program to end by itself.

    name
        The unit, with its suffix.
    timeout
        Seconds.

    Returns whether it has.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.wait_for_end metis-consul.service 30
    """
    pid = facts([name])[name]["pid"]
    try:
        if pid:
            psutil.Process(pid).wait(timeout)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def explain(cause: str, name: str) -> str:
    """
    A cause, what systemd says of the unit now, and the last lines of its journal.

    cause
        In a sentence.
    name
        A unit, with its suffix.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_unit.explain "carrier is absent" metis-carrier.service
    """
    seen = facts([name])[name]
    state = f"{name} is {seen['state']} ({seen['sub']})"
    if seen["restarts"]:
        state += f", restarted {seen['restarts']} times, last exit status {seen['exit_status']}"
    return f"{cause}\n{state}; the end of its journal:\n{journal(name)}"
