"""Running tasks have time to end."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from _modules import metis_tasks as module
from _states import metis_tasks

UNIT = "metis-data@8700.service"


@pytest.fixture
def tasks() -> Mock:
    return create_autospec(module)


@pytest.fixture
def configure_loader_modules(tasks: Mock, opts: dict[str, Any]) -> dict[ModuleType, dict[str, Any]]:
    functions = {"metis_tasks.running": tasks.running, "metis_tasks.wait": tasks.wait}
    return {metis_tasks: {"__salt__": functions, "__opts__": opts}}


def test_without_a_task_nothing_is_waited_for(tasks: Mock) -> None:
    tasks.running.return_value = []
    done = metis_tasks.ended(UNIT, 60)
    assert (done["result"], done["changes"]) == (True, {})
    assert "told" not in done
    tasks.wait.assert_not_called()


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (0, f"the tasks of {UNIT} have ended"),
        (1, f"1 tasks of {UNIT} ran still after 60 s, and end with it"),
    ],
)
def test_what_becomes_of_tasks_is_told(tasks: Mock, left: int, told: str) -> None:
    tasks.running.return_value = [7, 8]
    tasks.wait.return_value = left
    done = metis_tasks.ended(UNIT, 60)
    assert (done["result"], done["told"]) == (True, told)
    tasks.wait.assert_called_once_with(UNIT, 60)


def test_a_dry_run_waits_for_nothing(tasks: Mock, opts: dict[str, Any]) -> None:
    opts["test"] = True
    tasks.running.return_value = [7, 8]
    done = metis_tasks.ended(UNIT, 60)
    assert done["result"] is None
    assert done["told"] == f"{UNIT} runs 2 tasks, which would be given 60 s"
    tasks.wait.assert_not_called()
