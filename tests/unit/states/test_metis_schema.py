"""The schema of a release as a state."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_schema as module
from _states import metis_schema
from tests.unit.mariadb import NAME, MariaDB
from tests.unit.states.predicted import told_and_done


@pytest.fixture
def server() -> MariaDB:
    return MariaDB()


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], server: MariaDB
) -> dict[ModuleType, dict[str, Any]]:
    own = {"metis_mysql.ask": server.ask, "cmd.run_all": server.run_all}
    functions = {"metis_schema.seen": module.seen, "metis_schema.advance": module.advance}
    return {
        module: {"__salt__": own},
        metis_schema: {"__opts__": opts, "__salt__": functions},
    }


def _change(tmp_path: Path, text: str) -> list[dict[str, str]]:
    (tmp_path / "a.sql").write_text(text)
    return [{"name": "a", "file": str(tmp_path / "a.sql")}]


def test_a_database_is_brought_to_a_release_once(
    opts: dict[str, Any], server: MariaDB, tmp_path: Path
) -> None:
    changes = _change(tmp_path, "A")
    done = told_and_done(
        opts,
        lambda: metis_schema.current(NAME, "2", changes, str(tmp_path)),
        lambda: (server.content, server.rows, list(server.dumps)),
    )
    assert done["changes"] == {
        "release": {"old": None, "new": "2"},
        "a": {"old": None, "new": "made"},
    }
    assert f"{tmp_path}/{NAME}-unknown-" in done["comment"]


def test_a_change_that_fails_is_a_failure_without_changes(server: MariaDB, tmp_path: Path) -> None:
    done = metis_schema.current(NAME, "2", _change(tmp_path, "FAILS"), str(tmp_path))
    assert (done["result"], done["changes"]) == (False, {})
    assert "the schema change a" in done["comment"]
    assert "is what it was before" in done["comment"]
    assert server.content == "as created"


def test_a_database_that_would_be_created_needs_no_change(
    opts: dict[str, Any], server: MariaDB, tmp_path: Path
) -> None:
    server.there = False
    opts["test"] = True
    done = metis_schema.current(NAME, "2", _change(tmp_path, "A"), str(tmp_path))
    assert (done["result"], done["changes"]) == (True, {})
    opts["test"] = False
    assert metis_schema.current(NAME, "2", [], str(tmp_path))["result"] is False


def test_a_server_that_cannot_be_asked_is_a_failure(
    opts: dict[str, Any], server: MariaDB, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def silent(words: list[str]) -> str:
        raise CommandExecutionError("MariaDB cannot be asked: no server")

    monkeypatch.setitem(vars(module)["__salt__"], "metis_mysql.ask", silent)
    assert metis_schema.current(NAME, "2", [], str(tmp_path))["result"] is False
    opts["test"] = True
    assert metis_schema.current(NAME, "2", [], str(tmp_path))["result"] is None
