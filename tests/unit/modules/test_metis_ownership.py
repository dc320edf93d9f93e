"""What carries the mark of an organization, and what was there before it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_mysql, metis_ownership
from tests.unit.machine import Machine

EVERYTHING = ("admin", "ice_via", "data", "data", "compute")


@pytest.fixture
def configure_loader_modules(machine: Machine) -> dict[ModuleType, dict[str, Any]]:
    return machine.wired()


@pytest.fixture
def view(machine: Machine) -> dict[str, Any]:
    return machine.view(*EVERYTHING)


def _before(view: dict[str, Any]) -> dict[tuple[str, str], str]:
    """Of each thing, whether it was there."""
    return {(c["kind"], c["name"]): c["before"] for c in metis_ownership.known(view)}


def test_on_a_host_without_anything_everything_is_the_organizations(
    machine: Machine, view: dict[str, Any]
) -> None:
    assert metis_ownership.known(view) == []
    assert metis_ownership.mark(view)
    assert set(_before(view).values()) == {"absent"}
    assert oct((machine.root / "var/lib/metis-ownership/record.json").stat().st_mode) == "0o100600"


def test_a_dry_run_tells_the_same_and_marks_nothing(view: dict[str, Any]) -> None:
    told = metis_ownership.mark(view, test=True)
    assert metis_ownership.known(view) == []
    assert metis_ownership.mark(view) == told


def test_what_is_marked_is_not_looked_at_again(machine: Machine, view: dict[str, Any]) -> None:
    machine.deploy(view)
    before = _before(view)
    assert metis_ownership.mark(view) == []
    assert _before(view) == before


def test_what_is_there_is_somebody_elses(machine: Machine, view: dict[str, Any]) -> None:
    (machine.root / "opt/metis").mkdir()
    carrier = machine.root / "etc/metis/carrier"
    carrier.mkdir(parents=True)
    (carrier / "mine").touch()
    (machine.root / "var/lib/metis/consul").mkdir(parents=True)
    machine.users["metis-data"] = 501
    machine.packages |= {"curl", "nginx-light"}
    machine.units["nginx.service"] = {"state": "active", "enabled": False, "pid": 1}
    (machine.root / "etc/nginx/sites-enabled").mkdir()
    (machine.root / "etc/nginx/sites-enabled/default").symlink_to("/etc/nginx/default")
    metis_ownership.mark(view)
    found = _before(view)
    assert {key for key, before in found.items() if before == "there"} == {
        ("folder", machine.path("/opt/metis")),
        ("folder", machine.path("/etc/metis")),
        ("folder", machine.path("/var/lib/metis")),
        ("tree", machine.path("/etc/metis/carrier")),
        ("user", "metis-data"),
        ("package", "curl"),
        ("package", "nginx-light"),
        ("service", "nginx.service"),
        ("link", machine.path("/etc/nginx/sites-enabled/default")),
    }
    assert found["tree", machine.path("/var/lib/metis/consul")] == "empty"
    (nginx,) = (
        c for c in metis_ownership.known(view) if c["name"] == "nginx.service" and "active" in c
    )
    assert (nginx["active"], nginx["enabled"]) == (True, False)


def test_an_account_of_a_server_that_does_not_answer_may_be_somebody_elses(
    machine: Machine, view: dict[str, Any]
) -> None:
    Path(metis_mysql.FOLDER, "mysql").mkdir(parents=True)
    machine.silent = "MariaDB cannot be asked"
    metis_ownership.mark(view)
    assert _before(view)["account", "metis_admin"] == "unknown"


def test_folders_that_come_with_others_are_marked(machine: Machine) -> None:
    view = machine.view({"data": {"data_directory": "/srv/disk/fighters"}})
    metis_ownership.mark(view)
    assert _before(view)["folder", machine.path("/srv/disk")] == "absent"


def test_an_instance_more_is_marked_and_the_others_stay_as_they_are(machine: Machine) -> None:
    machine.deploy(machine.view("data"))
    view = machine.view("data", "data")
    assert metis_ownership.mark(view)
    claims = {(c["kind"], c["name"]): c for c in metis_ownership.known(view)}
    assert claims["user", "metis-data"]["before"] == "absent"
    assert claims["user", "metis-data"]["for"] == ["data@h1:8700", "data@h1:8701"]
    assert claims["tree", machine.path("/etc/metis/data/8701.yml")]["for"] == ["data@h1:8701"]


def test_a_deploy_from_before_there_were_marks_is_adopted(
    machine: Machine, view: dict[str, Any]
) -> None:
    machine.make(view)
    told = metis_ownership.known(view)
    metis_ownership.mark(view)
    assert metis_ownership.known(view) == told
    found = _before(view)
    unknown = {key for key, before in found.items() if before not in ("absent", "empty")}
    # Who brought these is not known, so they stay.
    assert {kind for kind, _ in unknown} == {"package", "service", "store"}
    assert {found[key] for key in unknown} == {"unknown"}


def test_files_of_another_hand_are_not_adopted(machine: Machine, view: dict[str, Any]) -> None:
    (machine.root / "opt/metis/carrier").mkdir(parents=True)
    (machine.root / "opt/metis/carrier/mine").touch()
    assert metis_ownership.known(view) == []
    metis_ownership.mark(view)
    assert _before(view)["tree", machine.path("/opt/metis/carrier")] == "there"


def test_a_host_of_another_organization_is_left_alone(view: dict[str, Any]) -> None:
    metis_ownership.mark(view)
    other = view | {"org": "other"}
    for look in (metis_ownership.mark, metis_ownership.known):
        with pytest.raises(CommandExecutionError, match="mark of the organization acme"):
            look(other)


def test_a_mark_that_cannot_be_read_is_no_mark_that_is_missing(
    machine: Machine, view: dict[str, Any]
) -> None:
    metis_ownership.mark(view)
    record = machine.root / "var/lib/metis-ownership/record.json"
    record.write_text(record.read_text()[:-20])
    with pytest.raises(CommandExecutionError, match=r"record\.json cannot be read"):
        metis_ownership.mark(view)


def test_the_mark_goes_with_the_last_claim(machine: Machine, view: dict[str, Any]) -> None:
    metis_ownership.mark(view)
    kept = metis_ownership.known(view)[:1]
    metis_ownership.keep(view, kept)
    record = machine.root / "var/lib/metis-ownership/record.json"
    assert json.loads(record.read_text()) == {"org": "acme", "claims": kept}
    metis_ownership.keep(view, [])
    metis_ownership.keep(view, [])
    assert not record.parent.exists()
