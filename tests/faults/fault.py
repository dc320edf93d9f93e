"""Something that is broken, a verb that meets it, and the way back."""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.fleet.organization import NAME, Organization
from tests.lab.host import ENVIRONMENT

# Seconds that a verb may take, whatever is broken.
LIMIT = 150
# What an operator is never shown.
_NOISE = ("Traceback", "[ERROR", "[CRITICAL", "unclosed", "Failed to import")
# What a program wrote itself may have anything.
_JOURNAL = re.compile(r"^\d{4}-\d\d-\d\dT\S+ \S+ \S+\[\d+\]: .*$", re.MULTILINE)

Asked = dict[str, Any]


@dataclass(frozen=True)
class Fault:
    """A line of the matrix."""

    name: str
    # A host and what is done there, in the language of sh.
    breaks: tuple[str, str]
    mends: tuple[str, str]
    # What the verb has to say of it.
    words: tuple[str, ...]

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


@dataclass(frozen=True)
class Ended:
    """How a verb ended."""

    code: int
    out: str
    err: str
    states: list[dict[str, Any]] = field(repr=False)

    @property
    def reason(self) -> str:
        """The machine-readable reason of the phase that failed; empty where none did."""
        failed = [state for state in self.states if state["result"] is False]
        return str(failed[0]["reason"]) if failed else ""

    @property
    def told(self) -> str:
        """What the phase that failed says."""
        return "\n".join(s["comment"] for s in self.states if s["result"] is False)

    @property
    def done(self) -> list[str]:
        """The phases that held."""
        return [state["__id__"] for state in self.states if state["result"] is not False]


def _words(verb: str, asked: Asked, options: Sequence[str]) -> list[str]:
    pillar = f"pillar={json.dumps({'org': NAME} | asked)}"
    return ["salt-run", "state.orchestrate", f"metis.{verb}", pillar, "--out=json", *options]


def _ended(code: int, out: str, err: str) -> Ended:
    states: dict[str, dict[str, Any]] = {}
    # Where it was cut off, there is no result, or Salt's own word for that.
    if out.strip() and isinstance(data := json.loads(out)["data"], dict):
        (states,) = data.values()
    comments = [state["comment"] for state in states.values()]
    shown = _JOURNAL.sub("", "\n".join([*comments, err] if comments else [out, err]))
    for word in _NOISE:
        assert word not in shown, shown
    return Ended(code, out, err, sorted(states.values(), key=lambda state: state["__run_num__"]))


def tell(org: Organization, verb: str, asked: Asked | None = None, *options: str) -> Ended:
    """Run a verb to its end, with the organization's name in its pillar."""
    words = _words(verb, asked or {}, options)
    done = org.lab.master.run(words, check=False, timeout=LIMIT)
    return _ended(done.returncode, done.stdout, done.stderr)


def refused(org: Organization, reason: str, verb: str, asked: Asked | None = None) -> Ended:
    """Run a verb that has to fail for a reason, in its result and in the journal."""
    ended = tell(org, verb, asked)
    assert (ended.code, ended.reason) == (1, reason), ended.out + ended.err
    assert f"reason: {reason}" in ended.told
    assert newest(org)["result"] == reason
    return ended


def newest(org: Organization) -> dict[str, str]:
    """The row of the last run in `metis.runs`."""
    done = org.lab.salt_run(["metis.runs", f"org={NAME}", "--out=json"])
    rows: list[dict[str, str]] = json.loads(done.stdout)["data"]
    return rows[0]


@contextmanager
def broken(org: Organization, faults: Sequence[Fault]) -> Iterator[None]:
    """These faults at once."""
    begun = []
    try:
        for fault in faults:
            begun.append(fault)
            _do(org, *fault.breaks)
        yield
    finally:
        for fault in reversed(begun):
            _do(org, *fault.mends)


def _do(org: Organization, host: str, script: str) -> None:
    org.lab.host(host).run(["sh", "-ec", script])


def mended(org: Organization, verb: str, asked: Asked | None = None) -> Ended:
    """The same command again: now it has to succeed."""
    org.lab.await_minions()
    ended = tell(org, verb, asked)
    assert ended.code == 0, ended.out + ended.err
    assert newest(org)["result"] == "done"
    return ended


def met(
    org: Organization, faults: Sequence[Fault], reason: str, verb: str, asked: Asked | None = None
) -> Ended:
    """How a verb fails over these faults; once they are mended, the same command succeeds."""
    with broken(org, faults):
        ended = refused(org, reason, verb, asked)
    mended(org, verb, asked)
    return ended


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


class Running:
    """A verb that runs, at which something happens."""

    def __init__(self, org: Organization, verb: str, asked: Asked | None = None) -> None:
        """Begin it."""
        self._org = org
        self._verb = verb
        self._told: queue.Queue[str | None] = queue.Queue()
        self._heard: list[str] = []
        self._process = subprocess.Popen(
            org.lab.master.enter(_words(verb, asked or {}, [])),
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._out = ""
        self._threads = [threading.Thread(target=t) for t in (self._listen, self._collect)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        assert self._process.stderr
        for line in self._process.stderr:
            self._told.put(line)
        self._told.put(None)

    def _collect(self) -> None:
        assert self._process.stdout
        self._out = self._process.stdout.read()

    def until(self, words: str) -> None:
        """Wait until the operator was told these words."""
        end = time.monotonic() + LIMIT
        while not self._heard or words not in self._heard[-1]:
            line = self._told.get(timeout=max(0.1, end - time.monotonic()))
            assert line is not None, f"it ended without a word of {words}: {self._heard}"
            self._heard.append(line)

    def signal(self, number: signal.Signals) -> None:
        """Give the process of salt-run a signal, as a terminal or the kernel does."""
        pattern = f"^[^ ]*python.*salt-run .*metis.{self._verb}"
        pids = self._org.lab.master.run(["pgrep", "--full", pattern]).stdout.split()
        self._org.lab.master.run(["kill", f"-{number.name}", *pids])

    @contextmanager
    def held(self) -> Iterator[None]:
        """The process hangs."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)
            # nsenter stops with what it runs.
            self._process.send_signal(signal.SIGCONT)

    def ended(self) -> Ended:
        """Wait for its end."""
        try:
            code = self._process.wait(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            raise
        finally:
            for thread in self._threads:
                thread.join(10)
        while (line := self._told.get(timeout=10)) is not None:
            self._heard.append(line)
        return _ended(code, self._out, "".join(self._heard))
