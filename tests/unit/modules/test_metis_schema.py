"""A database from release to release, and back from what failed."""

from __future__ import annotations

import time
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_host, metis_schema, metis_unit
from tests.unit.mariadb import NAME, MariaDB


@pytest.fixture
def server() -> MariaDB:
    return MariaDB()


@pytest.fixture
def act() -> Any:
    return create_autospec(metis_unit.act)


@pytest.fixture
def alone() -> Any:
    return create_autospec(metis_host.alone)


@pytest.fixture
def configure_loader_modules(
    server: MariaDB, act: Mock, alone: Mock
) -> dict[ModuleType, dict[str, Any]]:
    functions = {
        "metis_mysql.ask": server.ask,
        "cmd.run_all": server.run_all,
        "metis_unit.act": act,
        "metis_host.alone": alone,
    }
    return {metis_schema: {"__salt__": functions}}


@pytest.fixture
def backups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    moments = iter(range(100))
    # Each dump has a second of its own.
    monkeypatch.setattr(metis_schema.time, "gmtime", lambda: time.localtime(next(moments)))
    return tmp_path / "backups"


def _changes(folder: Path, **texts: str) -> list[dict[str, str]]:
    made = []
    for name, text in texts.items():
        (folder / f"{name}.sql").write_text(text)
        made.append({"name": name, "file": str(folder / f"{name}.sql")})
    return made


def _seen() -> dict[str, Any]:
    found = metis_schema.seen(NAME)
    assert found is not None
    return found


def test_there_may_be_no_database(server: MariaDB, tmp_path: Path) -> None:
    server.there = False
    assert metis_schema.seen(NAME) is None
    with pytest.raises(CommandExecutionError, match="there is no database"):
        metis_schema.advance(NAME, "2", [], str(tmp_path))


def test_a_new_database_has_every_change(server: MariaDB, backups: Path, tmp_path: Path) -> None:
    server._write(metis_schema.birth(NAME, "2", ["a", "b"]))
    assert (_seen()["release"], set(_seen()["changes"])) == ("2", {"a", "b"})
    changes = _changes(tmp_path, a="A", b="B", c="C")
    metis_schema.advance(NAME, "3", changes, str(backups))
    assert server.content == "as created, C"


def test_changes_are_made_once_and_after_a_dump(
    server: MariaDB, backups: Path, tmp_path: Path
) -> None:
    changes = _changes(tmp_path, a="A", b="B")
    first = metis_schema.advance(NAME, "2", changes, str(backups))
    assert server.content == "as created, A, B"
    # Nothing is known of the release before.
    assert Path(first).name.startswith(f"{NAME}-unknown-")
    assert server.dumps[Path(first).name] == ("as created", None)
    assert backups.stat().st_mode & 0o777 == 0o700
    assert _seen()["release"] == "2"
    assert _seen()["changes"] == {"a": first, "b": first}
    second = metis_schema.advance(NAME, "2", changes, str(backups))
    assert server.content == "as created, A, B"
    assert Path(second).name.startswith(f"{NAME}-2-")


def test_a_server_that_ends_at_the_last_statement_leaves_nothing_half(
    server: MariaDB, backups: Path, tmp_path: Path
) -> None:
    metis_schema.advance(NAME, "1", [], str(backups))
    changes = _changes(tmp_path, a="A", b="B")
    server.ends = "DELETE"
    with pytest.raises(CommandExecutionError, match="gone away"):
        metis_schema.advance(NAME, "2", changes, str(backups))
    server.ends = ""
    assert metis_schema.retreat(NAME, "2", "1", "metis-admin.service")
    assert server.content == "as created"
    assert (_seen()["release"], _seen()["changes"], _seen()["begun"]) == ("1", {}, {})
    # The same, but gone on with.
    server.ends = "DELETE"
    with pytest.raises(CommandExecutionError, match="gone away"):
        metis_schema.advance(NAME, "2", changes, str(backups))
    server.ends = ""
    metis_schema.advance(NAME, "2", changes, str(backups))
    assert server.content == "as created, A, B"
    assert metis_schema.retreat(NAME, "2", "1", "metis-admin.service")
    assert server.content == "as created"


def test_a_change_that_fails_leaves_the_database_as_it_was(
    server: MariaDB, backups: Path, tmp_path: Path
) -> None:
    metis_schema.advance(NAME, "1", [], str(backups))
    changes = _changes(tmp_path, a="A", b="FAILS", c="C")
    with pytest.raises(CommandExecutionError) as caught:
        metis_schema.advance(NAME, "2", changes, str(backups))
    assert "the schema change b" in str(caught.value)
    assert "ERROR 1146" in str(caught.value)
    assert server.content == "as created"
    assert (_seen()["release"], _seen()["changes"], _seen()["begun"]) == ("1", {}, {})


def test_a_change_that_was_cut_off_is_undone_before_it_is_made(
    server: MariaDB, backups: Path, tmp_path: Path
) -> None:
    metis_schema.advance(NAME, "1", [], str(backups))
    changes = _changes(tmp_path, a="A", b="FAILS")
    server.dies = True
    with pytest.raises(CommandExecutionError, match="restoring"):
        metis_schema.advance(NAME, "2", changes, str(backups))
    assert _seen()["restoring"]
    server.fails = "nothing"
    metis_schema.advance(NAME, "2", changes, str(backups))
    assert server.content == "as created, A, FAILS"
    assert _seen()["restoring"] is None


def test_the_way_back_restores_what_was_changed(
    server: MariaDB, backups: Path, tmp_path: Path, act: Mock
) -> None:
    metis_schema.advance(NAME, "1", [], str(backups))
    made = metis_schema.advance(NAME, "2", _changes(tmp_path, a="A"), str(backups))
    assert metis_schema.retreat(NAME, "2", "1", "metis-admin.service") == made
    act.assert_called_once_with("stop", ["metis-admin.service"])
    assert (server.content, _seen()["release"]) == ("as created", "1")
    # There is nothing more to undo.
    assert metis_schema.retreat(NAME, "2", "1", "metis-admin.service") == ""
    act.assert_called_once()


def test_the_way_back_keeps_the_data_where_the_schema_was_not_changed(
    server: MariaDB, backups: Path
) -> None:
    metis_schema.advance(NAME, "1", [], str(backups))
    metis_schema.advance(NAME, "2", [], str(backups))
    server.content = "written since"
    assert metis_schema.retreat(NAME, "2", "1", "metis-admin.service") == ""
    assert (server.content, _seen()["release"]) == ("written since", "1")


def test_few_dumps_are_left(server: MariaDB, backups: Path) -> None:
    for number in range(metis_schema.KEPT + 3):
        metis_schema.advance(NAME, str(number), [], str(backups))
        time.sleep(0.01)
    left = sorted(file.name for file in backups.iterdir())
    assert len(left) == metis_schema.KEPT
    assert all(f"-{number}-" not in name for name in left for number in ("unknown", "0", "1"))


def test_a_dump_that_fails_changes_nothing(server: MariaDB, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandExecutionError, match="Not a directory"):
        metis_schema.advance(NAME, "2", _changes(tmp_path, a="A"), str(tmp_path / "file/backups"))
    assert (server.content, server.rows) == ("as created", None)


def test_a_dump_that_is_gone_is_said_before_anything_is_dropped(server: MariaDB) -> None:
    with pytest.raises(CommandExecutionError, match="/gone is not there"):
        metis_schema.restore(NAME, "/gone")
    assert server.there


@pytest.mark.parametrize("odd", ["a'; DROP DATABASE x", "a\\", "a`b", "a b"])
def test_names_are_no_statements(odd: str) -> None:
    with pytest.raises(CommandExecutionError, match="is no name"):
        metis_schema.birth(NAME, odd, [])


def test_nothing_is_undone_beside_another_job(server: MariaDB, act: Mock, alone: Mock) -> None:
    alone.side_effect = CommandExecutionError("another run is at work on this host")
    with pytest.raises(CommandExecutionError, match="another run is at work"):
        metis_schema.retreat(NAME, "2", "1", "metis-admin.service", __pub_jid="7")
    alone.assert_called_once_with("metis_schema.retreat", "7")
    act.assert_not_called()
