"""The identity of the organization, while MariaDB runs and afterwards."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_identity, metis_mysql
from tests.unit.machine import Machine

NAME = "metis_admin"
UP = {"state": "active", "enabled": True, "pid": 6}
DOWN = UP | {"state": "inactive"}


@pytest.fixture
def machine(machine: Machine) -> Machine:
    (Path(metis_mysql.FOLDER) / NAME).mkdir(parents=True)
    (Path(metis_mysql.FOLDER) / "ibdata1").write_text("as it is")
    machine.units["mariadb.service"] = UP
    machine.joined = ["identity:1"]
    return machine


@pytest.fixture
def configure_loader_modules(machine: Machine) -> dict[ModuleType, dict[str, Any]]:
    return machine.wired()


def _stop(machine: Machine) -> None:
    """As `metis.stop` does."""
    assert metis_identity.note(NAME) == ""
    machine.units["mariadb.service"] = DOWN
    machine.silent = "Can't connect to local server"
    metis_identity.seal()


def test_a_server_that_runs_is_asked(machine: Machine) -> None:
    assert metis_identity.known(NAME) == {"joined": ["identity:1"], "unknown": ""}
    machine.joined = []
    assert metis_identity.known(NAME) == {"joined": [], "unknown": ""}


def test_what_was_noted_counts_while_the_server_is_stopped(machine: Machine) -> None:
    _stop(machine)
    assert metis_identity.known(NAME) == {"joined": ["identity:1"], "unknown": ""}
    # A second stop has nobody to ask.
    assert metis_identity.note(NAME) == ""
    assert metis_identity.known(NAME)["joined"] == ["identity:1"]


def test_what_was_noted_does_not_count_after_the_server_ran(machine: Machine) -> None:
    _stop(machine)
    os.utime(Path(metis_mysql.FOLDER) / "ibdata1", (1, 1))
    assert "run metis.start and metis.stop" in metis_identity.known(NAME)["unknown"]


def test_a_stop_that_was_cut_off_leaves_nothing_that_counts(machine: Machine) -> None:
    metis_identity.note(NAME)
    machine.units["mariadb.service"] = DOWN
    assert metis_identity.known(NAME)["unknown"]


def test_a_note_that_is_broken_does_not_count(machine: Machine) -> None:
    _stop(machine)
    Path(metis_identity.NOTE).write_text("{")
    assert metis_identity.known(NAME)["unknown"]


def test_a_server_that_does_not_answer_is_no_server_without_an_identity(machine: Machine) -> None:
    machine.silent = "MariaDB cannot be asked: Table 'local_org' doesn't exist"
    assert metis_identity.known(NAME) == {"joined": [], "unknown": machine.silent}
    assert metis_identity.note(NAME) == machine.silent
    machine.units["mariadb.service"] = DOWN
    metis_identity.seal()
    assert metis_identity.known(NAME)["unknown"]


@pytest.mark.parametrize("state", [UP, DOWN])
def test_without_the_database_there_is_none(machine: Machine, state: dict[str, Any]) -> None:
    machine.units["mariadb.service"] = state
    machine.silent = "Unknown database"
    assert metis_identity.known("another") == {"joined": [], "unknown": ""}
