"""MariaDB's client: what it is asked, and what is made of its answers."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_mysql

SCHEMA = "DROP DATABASE IF EXISTS metis_admin; CREATE DATABASE metis_admin; -- and so on\n"


class Server:
    """Databases, and how reading a schema ends."""

    def __init__(self) -> None:
        self.databases = ["information_schema", "mysql"]
        self.fails = ""
        self.argv: list[list[str]] = []
        self.accounts = ""
        # What the schema makes.
        self.makes: list[str] = ["metis_admin"]

    def run_all(self, argv: list[str], **given: Any) -> dict[str, Any]:
        """Stand in for `cmd.run_all`."""
        assert given["python_shell"] is False
        assert given["timeout"] > 0
        self.argv.append(argv)
        text = given["stdin"] or argv[-1]
        out = ""
        if self.fails and self.fails in text:
            return {"retcode": 1, "stdout": "", "stderr": "ERROR 2002 (HY000): no server"}
        if text == "SHOW DATABASES":
            out = "\n".join(self.databases)
        elif text.endswith("FROM mysql.user"):
            out = self.accounts
        elif text == SCHEMA:
            self.databases += self.makes
        elif text.startswith("CREATE DATABASE IF NOT EXISTS "):
            self.databases = sorted({*self.databases, text.split()[-1]})
        elif text.startswith("DROP DATABASE "):
            self.databases.remove(text.split()[-1])
        return {"retcode": 0, "stdout": out, "stderr": ""}


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def configure_loader_modules(server: Server) -> dict[ModuleType, dict[str, Any]]:
    return {metis_mysql: {"__salt__": {"cmd.run_all": server.run_all}}}


@pytest.fixture
def schema(tmp_path: Path) -> str:
    (tmp_path / "admin.sql").write_text(SCHEMA)
    return str(tmp_path / "admin.sql")


def test_a_database_is_created_and_then_there(server: Server, schema: str) -> None:
    assert metis_mysql.has_schema("metis_admin") is False
    metis_mysql.create_schema("metis_admin", schema)
    assert metis_mysql.has_schema("metis_admin") is True
    assert "metis_importing" not in server.databases
    # As root, over the socket: nothing secret on a command line.
    assert {tuple(argv[:3]) for argv in server.argv} == {
        ("mariadb", "--batch", "--skip-column-names")
    }


def test_an_import_that_fails_is_seen_later(server: Server, schema: str) -> None:
    server.fails = "DROP DATABASE IF EXISTS"
    server.databases.append("metis_admin")
    with pytest.raises(CommandExecutionError, match="no server"):
        metis_mysql.create_schema("metis_admin", schema)
    assert metis_mysql.has_schema("metis_admin") is False


def test_a_server_that_cannot_be_asked_is_no_answer(server: Server) -> None:
    server.fails = "SHOW"
    with pytest.raises(CommandExecutionError, match="MariaDB cannot be asked: ERROR 2002"):
        metis_mysql.has_schema("metis_admin")


def test_a_schema_that_makes_another_database_is_an_error(server: Server, schema: str) -> None:
    server.makes = ["datum_admin"]
    with pytest.raises(CommandExecutionError, match="does not make a database metis_admin"):
        metis_mysql.create_schema("metis_admin", schema)


def test_a_schema_that_is_not_there_touches_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(CommandExecutionError, match="No such file"):
        metis_mysql.create_schema("metis_admin", str(tmp_path / "none.sql"))
    assert server.argv == []


def test_databases_are_seen_without_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_mysql, "FOLDER", str(tmp_path / "mysql"))
    assert metis_mysql.folders() == []
    # Nor are there accounts, and nobody is asked for them.
    assert metis_mysql.accounts() == []
    (tmp_path / "mysql/metis_admin").mkdir(parents=True)
    (tmp_path / "mysql/ibdata1").touch()
    assert metis_mysql.folders() == ["metis_admin"]
    assert metis_mysql.folder() == str(tmp_path / "mysql")


def test_accounts_are_those_of_a_host(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_mysql, "FOLDER", str(tmp_path))
    (tmp_path / "mysql").mkdir()
    server.accounts = "localhost\troot\n127.0.0.1\tshop\n127.0.0.1\tmetis_admin"
    assert metis_mysql.accounts() == ["metis_admin", "shop"]
    server.fails = "mysql.user"
    with pytest.raises(CommandExecutionError, match="MariaDB cannot be asked"):
        metis_mysql.accounts()


def test_an_account_is_dropped_where_it_is_there(server: Server) -> None:
    metis_mysql.drop_account("acme_console")
    (argv,) = server.argv
    assert argv[-1] == "DROP USER IF EXISTS 'acme_console'@'127.0.0.1'"
    server.fails = "DROP USER"
    with pytest.raises(CommandExecutionError, match="MariaDB cannot be asked"):
        metis_mysql.drop_account("acme_console")


def test_a_stopped_server_keeps_a_database_on_its_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metis_mysql, "FOLDER", str(tmp_path))
    assert not metis_mysql.kept_schema("metis_admin")
    (tmp_path / "metis_admin").mkdir()
    assert metis_mysql.kept_schema("metis_admin")
    # Its import was cut off.
    (tmp_path / "metis_importing").mkdir()
    assert not metis_mysql.kept_schema("metis_admin")
