"""An account of MariaDB: its password goes from the pillar to the server and to nobody else."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from salt.exceptions import CommandExecutionError
from salt.modules import pillar as pillar_module
from saltext.mysql.states import mysql_user

from _modules import metis_mysql as module
from _modules import metis_schema
from _states import metis_mysql
from tests.unit.states.predicted import told_and_done

PASSWORD = "made-on-the-master"
PLACE = "metis:roles:admin:instances:0:config:spring:datasource:druid:password"
SOCKET = "/run/mysqld/mysqld.sock"


class Database:
    """A database that is there or not, on a server that answers or not."""

    def __init__(self) -> None:
        self.there = False
        self.error = ""
        self.kept = False

    def has(self, name: str) -> bool:
        """Stand in for `metis_mysql.has_schema`."""
        if self.error:
            raise CommandExecutionError(self.error)
        return self.there

    def create(self, name: str, file: str, then: str = "") -> None:
        """Stand in for `metis_mysql.create_schema`."""
        assert not self.there
        # What it says of itself is a part of it.
        assert "'0.3.1'" in then
        assert "'a'" in then
        self.there = True


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def pillar() -> Any:
    return create_autospec(pillar_module.get, return_value=PASSWORD)


@pytest.fixture
def present() -> Any:
    done = {"name": "metis_admin", "result": True, "changes": {}, "comment": "is there"}
    return create_autospec(mysql_user.present, return_value=done)


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], pillar: Mock, present: Mock, database: Database
) -> dict[ModuleType, dict[str, Any]]:
    functions = {
        "pillar.get": pillar,
        "metis_mysql.has_schema": create_autospec(module.has_schema, side_effect=database.has),
        "metis_mysql.create_schema": create_autospec(
            module.create_schema, side_effect=database.create
        ),
        "metis_mysql.kept_schema": create_autospec(
            module.kept_schema, side_effect=lambda name: database.kept
        ),
        "metis_schema.birth": metis_schema.birth,
    }
    own = {
        "__opts__": opts,
        "__salt__": functions,
        "__states__": {"mysql_user.present": present},
    }
    return {metis_mysql: own}


def _account() -> dict[str, Any]:
    return metis_mysql.account("metis_admin", "127.0.0.1", PLACE, SOCKET)


def test_an_account_has_the_password_of_the_pillar(pillar: Mock, present: Mock) -> None:
    assert _account() == present.return_value
    (call,) = present.call_args_list
    assert call.args == ("metis_admin",)
    assert call.kwargs["password"] == PASSWORD
    assert call.kwargs["host"] == "127.0.0.1"
    assert call.kwargs["connection_unix_socket"] == SOCKET
    (asked,) = pillar.call_args_list
    assert asked.args[0] == PLACE
    # Salt 3008 gives asterisks for what it takes for a secret.
    assert asked.kwargs["unmask"] is True


def test_a_dry_run_names_an_account_that_would_change(present: Mock) -> None:
    present.return_value |= {"result": None, "comment": "Password of metis_admin is set to change"}
    told = _account()
    assert told["changes"] == {
        "metis_admin": {"old": None, "new": "Password of metis_admin is set to change"}
    }


def test_a_minion_without_the_module_is_told_what_to_install(
    present: Mock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(metis_mysql)["__states__"], "mysql_user.present")
    done = _account()
    assert (done["result"], done["changes"]) == (False, {})
    assert "salt-pip install" in done["comment"]
    present.assert_not_called()


@pytest.mark.parametrize("nothing", ["", None])
def test_an_account_without_a_password_is_not_made(
    pillar: Mock, present: Mock, nothing: Any
) -> None:
    pillar.return_value = nothing
    done = _account()
    assert (done["result"], done["changes"]) == (False, {})
    assert PLACE in done["comment"]
    present.assert_not_called()


def test_a_database_is_created_once(opts: dict[str, Any], database: Database) -> None:
    done = told_and_done(
        opts,
        lambda: metis_mysql.schema_present("metis_admin", "/admin.sql", "0.3.1", ["a"]),
        lambda: database.there,
    )
    assert done["changes"] == {"metis_admin": {"old": None, "new": "created"}}


def test_a_server_that_cannot_be_asked_is_a_failure_and_touches_nothing(
    opts: dict[str, Any], database: Database
) -> None:
    database.error = "MariaDB cannot be asked: no server"
    done = metis_mysql.schema_present("metis_admin", "/admin.sql", "0.3.1", ["a"])
    assert (done["result"], done["changes"]) == (False, {})
    assert database.error in done["comment"]
    assert database.there is False
    opts["test"] = True
    told = metis_mysql.schema_present("metis_admin", "/admin.sql", "0.3.1", ["a"])
    assert (told["result"], list(told["changes"])) == (None, ["metis_admin"])


def test_a_database_of_a_stopped_server_is_not_expected_to_be_created(
    opts: dict[str, Any], database: Database
) -> None:
    database.error, database.kept = "MariaDB cannot be asked: no server", True
    opts["test"] = True
    told = metis_mysql.schema_present("metis_admin", "/admin.sql", "0.3.1", ["a"])
    assert (told["result"], told["changes"]) == (None, {})
