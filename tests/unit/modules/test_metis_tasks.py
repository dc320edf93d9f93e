"""The tasks of a fighter: real processes, and their end."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_tasks

UNIT = "metis-data@8700.service"


@pytest.fixture
def pid() -> list[int]:
    """The main process of the unit."""
    return [0]


@pytest.fixture
def configure_loader_modules(pid: list[int]) -> dict[ModuleType, dict[str, Any]]:
    facts = {"metis_unit.facts": lambda names: {name: {"pid": pid[0]} for name in names}}
    return {metis_tasks: {"__salt__": facts}}


@pytest.fixture
def fighter(pid: list[int]) -> Iterator[subprocess.Popen[str]]:
    """A program with a task for each line that it is given: so many seconds long."""
    script = 'while read -r seconds; do sleep "$seconds" & echo started; done; wait'
    pipe = subprocess.PIPE
    program = subprocess.Popen(["sh", "-c", script], stdin=pipe, stdout=pipe, text=True, bufsize=1)
    pid[0] = program.pid
    yield program
    subprocess.run(["pkill", "--parent", str(program.pid)], check=False)
    program.communicate()


def _begin(fighter: subprocess.Popen[str], seconds: float) -> None:
    assert fighter.stdin
    assert fighter.stdout
    fighter.stdin.write(f"{seconds}\n")
    fighter.stdout.readline()


def test_a_fighter_that_is_down_runs_no_task() -> None:
    assert metis_tasks.running(UNIT) == []
    assert metis_tasks.wait(UNIT, 60) == 0


def test_each_process_of_a_fighter_is_a_task(fighter: subprocess.Popen[str]) -> None:
    assert metis_tasks.running(UNIT) == []
    _begin(fighter, 60)
    _begin(fighter, 60)
    assert len(metis_tasks.running(UNIT)) == 2


def test_tasks_are_waited_for_and_no_longer(fighter: subprocess.Popen[str]) -> None:
    _begin(fighter, 0.5)
    begun = time.monotonic()
    assert metis_tasks.wait(UNIT, 60) == 0
    assert time.monotonic() - begun < 30


def test_tasks_that_do_not_end_in_time_are_counted(fighter: subprocess.Popen[str]) -> None:
    _begin(fighter, 60)
    _begin(fighter, 0.1)
    assert metis_tasks.wait(UNIT, 1) == 1
    assert metis_tasks.wait(UNIT, 0) == 1
