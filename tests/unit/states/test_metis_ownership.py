"""Marks are set before something is made, and go when it has gone."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_absence, metis_claims, metis_mysql
from _modules import metis_ownership as module
from _states import metis_ownership
from tests.unit.machine import Machine
from tests.unit.states.predicted import told_and_done


@pytest.fixture
def pillar() -> dict[str, Any]:
    return {}


@pytest.fixture
def configure_loader_modules(
    machine: Machine, opts: dict[str, Any], pillar: dict[str, Any]
) -> dict[ModuleType, dict[str, Any]]:
    wired = machine.wired()
    own = {"__salt__": wired[metis_absence]["__salt__"], "__opts__": opts, "__pillar__": pillar}
    return wired | {metis_ownership: own}


def test_everything_is_marked_once(
    machine: Machine, opts: dict[str, Any], pillar: dict[str, Any]
) -> None:
    pillar["metis"] = machine.view("data")
    done = told_and_done(opts, lambda: metis_ownership.marked("a"), machine.files)
    assert machine.path("/etc/metis/data") in done["changes"]["marked"]["new"]


def test_a_host_of_another_organization_is_not_marked(
    machine: Machine, pillar: dict[str, Any]
) -> None:
    pillar["metis"] = machine.view("data")
    metis_ownership.marked("a")
    pillar["metis"]["org"] = "other"
    done = metis_ownership.marked("a")
    assert done["result"] is False
    assert "mark of the organization acme" in done["comment"]


def _renamed(machine: Machine) -> dict[str, Any]:
    """The view of a host where admin got another account, which a deploy has just made."""
    machine.deploy(machine.view("admin"))
    view = machine.view("admin", admin={"mysql_user": "acme_console"})
    module.mark(view)
    machine.accounts += ["acme_console", "shop"]
    return view


def test_an_account_that_admin_had_goes_with_its_mark(
    machine: Machine, opts: dict[str, Any], pillar: dict[str, Any]
) -> None:
    view = pillar["metis"] = _renamed(machine)
    done = told_and_done(
        opts,
        lambda: metis_ownership.former_accounts_absent("a"),
        lambda: (list(machine.accounts), module.known(view)),
    )
    assert done["changes"] == {"metis_admin": {"old": "there", "new": None}}
    assert machine.accounts == ["acme_console", "shop"]
    assert {c["name"] for c in module.known(view) if c["kind"] == "account"} == {"acme_console"}
    # And back.
    view = pillar["metis"] = machine.view("admin")
    module.mark(view)
    assert list(metis_ownership.former_accounts_absent("a")["changes"]) == ["acme_console"]


def test_an_account_that_was_there_before_stays(machine: Machine, pillar: dict[str, Any]) -> None:
    Path(metis_mysql.FOLDER, "mysql").mkdir(parents=True)
    machine.accounts = ["metis_admin"]
    view = pillar["metis"] = _renamed(machine)
    before = module.known(view)
    done = metis_ownership.former_accounts_absent("a")
    assert (done["result"], done["changes"]) == (True, {})
    assert "metis_admin" in machine.accounts
    assert module.known(view) == before


def test_an_account_keeps_its_mark_where_it_cannot_be_dropped(
    machine: Machine, opts: dict[str, Any], pillar: dict[str, Any]
) -> None:
    view = pillar["metis"] = _renamed(machine)
    machine.silent = "MariaDB cannot be asked: no server"
    before = module.known(view)
    done = metis_ownership.former_accounts_absent("a")
    assert (done["result"], done["changes"], done["comment"]) == (False, {}, machine.silent)
    assert module.known(view) == before
    # A dry run is told all the same, as while MariaDB is stopped.
    opts["test"] = True
    told = metis_ownership.former_accounts_absent("a")
    assert (told["result"], list(told["changes"])) == (None, ["metis_admin"])


def test_marks_go_with_what_has_gone(
    machine: Machine, opts: dict[str, Any], pillar: dict[str, Any]
) -> None:
    view = pillar["metis"] = machine.view("data")
    module.mark(view)
    for claim in metis_claims.of(view):
        if claim["kind"] == "folder":
            Path(claim["name"]).mkdir(parents=True)
    done = told_and_done(opts, lambda: metis_ownership.released("a", {}), machine.files)
    assert machine.path("/etc/metis") in done["changes"]["folders"]["old"]
    assert module.known(view) == []


def test_what_is_still_there_keeps_its_mark(machine: Machine, pillar: dict[str, Any]) -> None:
    view = pillar["metis"] = machine.view("data")
    machine.deploy(view)
    done = metis_ownership.released("a", {})
    assert (done["result"], done["changes"]) == (False, {})
    assert "is still there" in done["comment"]
    assert module.known(view)
