"""
How far downloads are, for whoever typed the command: a bar each on a terminal, lines elsewhere.

Runs on the master.
"""

import contextlib
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

__virtualname__ = "metis_progress"

Say = Callable[[str], None]

# Seconds between two lines about a download that takes long.
PATIENCE = 5.0


def __virtual__() -> str | tuple[bool, str]:
    # Found and not imported: that takes a moment, and only a download needs it.
    if importlib.util.find_spec("rich") is None:
        return False, "metis_progress runs on the master, whose Python needs rich"
    return __virtualname__


@contextlib.contextmanager
def shown(say: Say) -> Iterator[Callable[[str], "Progress"]]:
    """
    Show how far downloads are. While that lasts, what is written to standard error appears above
    the bars.

    say
        Called with a line for the operator, from several threads.

    Returns a context manager that gives a function: of what is fetched, what is to be told of its
    bytes, as ``metis_artifact.fetch`` does.
    """
    bars = _bars()
    if bars is None:
        yield lambda name: Progress(name, say)
        return
    with bars:
        yield lambda name: _Bar(name, say, bars)


def _bars() -> Any:
    """What shows bars, or ``None`` where they cannot be shown."""
    if not sys.stderr.isatty():
        return None
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    console = Console(stderr=True)
    if not console.is_interactive:
        # As TERM=dumb says: the cursor stays in its line.
        return None
    columns = [
        TextColumn("          {task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    ]
    # The line that follows a download says what the bar said.
    return Progress(*columns, console=console, transient=True, redirect_stdout=False)


class Progress:
    """Says every few seconds how far a download is, and in the end how long it took."""

    def __init__(self, name: str, say: Say) -> None:
        """Begin.

        name
            What is fetched.
        say
            Called with a line for the operator.
        """
        self._name = name
        self._say = say
        self._begun = self._told = time.monotonic()
        self._then: int | None = None

    def __call__(self, have: int, total: int | None) -> None:
        """Be told how far it is: bytes that are there, and that there will be."""
        now = time.monotonic()
        if self._then is None:
            self._then = have
        if now - self._told >= PATIENCE:
            rate = max(0, have - self._then) / (now - self._told)
            self._told, self._then = now, have
            of = f" of {size(total)} ({100 * have // total} %)" if total else ""
            self._say(f"  {self._name}: {size(have)}{of}, {size(rate)}/s")

    def ended(self, count: int) -> None:
        """Be told that all bytes are there."""
        took = time.monotonic() - self._begun
        rate = size(count / max(took, 0.001))
        self._say(f"  {self._name}: {size(count)} in {took:.1f} s, {rate}/s")

    def gone(self) -> None:
        """Be told that nothing more comes, whatever the reason."""


class _Bar(Progress):
    """A bar in place of the lines in between."""

    def __init__(self, name: str, say: Say, bars: Any) -> None:
        super().__init__(name, say)
        self._bars = bars
        self._task: Any = None

    def __call__(self, have: int, total: int | None) -> None:
        if self._task is None:
            # What was there before is no part of the rate.
            self._task = self._bars.add_task(self._name, total=total, completed=have)
        self._bars.update(self._task, total=total, completed=have)

    def gone(self) -> None:
        if self._task is not None:
            self._bars.remove_task(self._task)
            self._task = None


def size(count: float) -> str:
    """
    A number of bytes, as an operator reads it.

    count
        Of bytes.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_progress.size 128000
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
