"""Lines that say what is being done and how long it took."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


def _process_start() -> float:
    """The moment this process was started, on the clock that counts since boot."""
    # The name in the second field may hold spaces; what is counted here follows it.
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


class Progress:
    """Prints one line when a step begins and one when it ends, each with the process's age."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """
        Args:
            stream: where the lines go; standard error when None.
        """
        self._stream = sys.stderr if stream is None else stream
        # A process keeps its start when it goes on in another Python.
        self._began = _process_start()

    def say(self, text: str) -> None:
        """Print one line with the process's age before it."""
        elapsed = time.clock_gettime(time.CLOCK_BOOTTIME) - self._began
        self._stream.write(f"{elapsed:6.1f}s  {text}\n")
        self._stream.flush()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Say that `name` begins, and afterwards how long it took or that it failed."""
        self.say(f"{name} ...")
        began = time.monotonic()
        try:
            yield
        except BaseException:
            self.say(f"{name}: failed after {time.monotonic() - began:.1f} s")
            raise
        self.say(f"{name}: done in {time.monotonic() - began:.1f} s")
