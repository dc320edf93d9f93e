"""How far a download is: a bar on a terminal, and lines elsewhere."""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_progress


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return {metis_progress: {}}


@pytest.fixture
def said() -> list[str]:
    return []


class Terminal:
    """What is written to a terminal."""

    def __init__(self, master: int) -> None:
        self._master = master
        self._text = ""

    def until(self, *words: str) -> str:
        """Wait for words in one line; give that line."""
        while True:
            for line in self._text.replace("\r", "\n").splitlines():
                if all(word in line for word in words):
                    return line
            assert select.select([self._master], [], [], 10)[0], (words, self._text)
            self._text += os.read(self._master, 1 << 16).decode()

    def is_untouched(self) -> bool:
        """Whether nothing was written."""
        return not select.select([self._master], [], [], 0)[0]


@contextmanager
def _terminal(monkeypatch: pytest.MonkeyPatch, kind: str = "xterm") -> Iterator[Terminal]:
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "100")
    master, slave = os.openpty()
    try:
        with open(slave, "w", encoding="utf-8") as opened, monkeypatch.context() as patch:
            patch.setattr(sys, "stderr", opened)
            yield Terminal(master)
    finally:
        os.close(master)


def test_elsewhere_a_long_download_is_told_every_few_seconds(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    now = [100.0]
    monkeypatch.setattr(metis_progress.time, "monotonic", lambda: now[0])
    with metis_progress.shown(said.append) as follow:
        told = follow("carrier")
        for second, have in enumerate(range(0, 10_000_000, 1_000_000)):
            now[0] = 100.0 + second
            told(have, 10_000_000)
        now[0] = 110.0
        told.gone()
        told.ended(10_000_000)
    assert said == [
        "  carrier: 5.0 MB of 10.0 MB (50 %), 1.0 MB/s",
        "  carrier: 10.0 MB in 10.0 s, 1.0 MB/s",
    ]
    assert stream.getvalue() == ""


def test_on_a_terminal_each_download_has_a_bar_with_bytes_and_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def say(text: str) -> None:
        print(text, file=sys.stderr)

    with _terminal(monkeypatch) as terminal:
        with metis_progress.shown(say) as follow:
            carrier, jar = follow("carrier"), follow("admin_jar")
            for have in (2_000_000, 3_000_000, 4_500_000):
                carrier(have, 10_000_000)
                jar(have, None)
            assert "B/s" in terminal.until("carrier", "4.5/10.0 MB")
            terminal.until("admin_jar", "4.5/? MB")
            jar.gone()
            carrier.gone()
            carrier.ended(10_000_000)
            # A line of its own, with no bar in it.
            assert "━" not in terminal.until("carrier: 10.0 MB in")
        # The cursor is seen again.
        terminal.until("\x1b[?25h")


def test_what_was_there_before_is_no_part_of_the_rate(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _terminal(monkeypatch) as terminal, metis_progress.shown(said.append) as follow:
        told = follow("carrier")
        told(900_000_000, 1_000_000_000)
        assert "B/s" not in terminal.until("carrier", "0.9/1.0 GB")
        told.gone()


def test_a_terminal_that_cannot_go_back_in_a_line_gets_lines(
    said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _terminal(monkeypatch, "dumb") as terminal:
        with metis_progress.shown(said.append) as follow:
            told = follow("carrier")
            told(1, 2)
            told.gone()
            told.ended(2)
        assert terminal.is_untouched()
    assert len(said) == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (128_000, "128.0 kB"), (2.5e9, "2.5 GB")],
)
def test_a_number_of_bytes_reads_well(count: float, text: str) -> None:
    assert metis_progress.size(count) == text
