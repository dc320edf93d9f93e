"""
The journals of the verbs' runs: one file of JSON lines a run.

``<folder of the master's log>/metis/<org>/<run>.jsonl``. Hosts, counts, times, results and what the
operator was told are in it, and never a secret: what an operator may not see is not told either.

Runs on the master.
"""

import datetime
import json
import os
import secrets
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_journal"

Entry = dict[str, Any]

_DEFAULT = "/var/log/salt"
# Of an organization, the newest are kept.
_KEPT = 500


def _folder(org: str) -> Path:
    # A log may go to a server of syslog, by its address.
    log = Path(__opts__["log_file"])
    return (log.parent if log.is_absolute() else Path(_DEFAULT)) / "metis" / org


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


def begin(org: str, entry: Entry) -> str:
    """
    Begin the journal of a run.

    org
        The organization.
    entry
        What is known at the beginning: ``verb``, ``asked``, ``test``, ``user``, ``pid``.

    Returns the run's id: when it began, and four characters more.
    """
    folder = _folder(org)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = sorted(folder.glob("*.jsonl"))[: -_KEPT + 1]
    for file in old:
        file.unlink(missing_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    run = f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    write(org, run, "begin", {"run": run, "org": org, **entry})
    return run


def write(org: str, run: str, event: str, entry: Entry) -> None:
    """
    Write an entry, whole, as the last of a journal.

    org
        The organization.
    run
        The run.
    event
        ``begin``, ``plan``, ``phase``, ``host``, ``told``, ``versions``, ``restarted``,
        ``exception``, ``phase-end`` or ``end``.
    entry
        What belongs to it; readable as JSON.
    """
    line = json.dumps({"time": _now(), "event": event, **entry}, ensure_ascii=False)
    path = _folder(org) / f"{run}.jsonl"
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, line.encode() + b"\n")
    finally:
        os.close(file)


def _entries(file: Path) -> list[Entry]:
    found = []
    for line in file.read_text("utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            # The machine went down while it was written; it is the last.
            break
    return found


def read(run: str | None = None, org: str | None = None) -> list[Entry]:
    """
    The entries of a run's journal.

    run
        The run; the last one where not given.
    org
        Of this organization.

    Raises ``CommandExecutionError`` where there is none.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_journal.read 20261125-140455-3f2a
    """
    top = _folder(org or "*")
    files = sorted(top.parent.glob(f"{top.name}/{run or '*'}.jsonl"), key=lambda file: file.name)
    if not files:
        wanted = f"run {run}" if run else "run"
        raise salt.exceptions.CommandExecutionError(
            f"there is no journal of a {wanted}{f' of {org}' if org else ''}: salt-run metis.runs"
        )
    return _entries(files[-1])


def runs(org: str | None = None, newest: int = 50) -> list[Entry]:
    """
    The runs that are known, the newest first.

    org
        Of this organization; of all where not given.
    newest
        How many at the most.

    Returns a mapping a run, of its ``begin`` with ``result`` (``done``, ``failed``, ``running``,
    ``interrupted``), ``reason`` (``""`` where it did not fail) and ``seconds`` (``None`` where it
    has no end).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_journal.runs acme
    """
    top = _folder(org or "*")
    files = sorted(top.parent.glob(f"{top.name}/*.jsonl"), key=lambda file: file.name)
    found = []
    for file in reversed(files[-newest:]):
        entries = _entries(file)
        if entries:
            found.append(summary(entries))
    return found


def summary(entries: list[Entry]) -> Entry:
    """
    What is to be known of a run at a glance.

    entries
        As ``read`` returns them.

    Returns a mapping as ``runs`` does.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_journal.summary '[{event: begin, run: x, org: acme}]'
    """
    begin, last = entries[0], entries[-1]
    if last["event"] == "end":
        end = {key: last[key] for key in ("result", "reason", "seconds")}
    else:
        holder = __salt__["metis_lock.holder"](begin["org"])
        running = bool(holder) and holder.get("run") == begin["run"]
        end = {"result": "running" if running else "interrupted", "reason": "", "seconds": None}
    return begin | end
