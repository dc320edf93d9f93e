"""What goes when instances leave a host, and what stays."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_absence, metis_claims, metis_mysql, metis_ownership
from tests.unit.machine import Machine

EVERYTHING = ("admin", "ice_via", "data", "data", "compute")
SURVEYED = (*metis_claims.PACKAGES, "data")


@pytest.fixture
def pillar() -> dict[str, Any]:
    return {}


@pytest.fixture
def configure_loader_modules(
    machine: Machine, pillar: dict[str, Any]
) -> dict[ModuleType, dict[str, Any]]:
    wired = machine.wired()
    wired[metis_absence]["__salt__"]["pillar.items"] = lambda unmask: pillar if unmask else {}
    return wired


def _survey(pillar: dict[str, Any], view: dict[str, Any], **more: Any) -> dict[str, Any]:
    pillar["metis"] = view
    return metis_absence.survey(more.pop("roles", {"h1": list(metis_claims.PACKAGES)}), **more)


def test_a_host_is_as_it_was_before(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    before = machine.files(), dict(machine.users), set(machine.packages)
    machine.deploy(view)
    assert (machine.files(), machine.users, machine.packages) != before
    machine.remove(view)
    assert (machine.files(), machine.users, machine.packages) == before
    assert machine.units == {}


def test_what_was_there_before_is_there_afterwards(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    files = ("opt/metis/mine", "etc/metis/carrier/mine", "etc/systemd/system/mine.service")
    for file in files:
        (machine.root / file).parent.mkdir(parents=True, exist_ok=True)
        (machine.root / file).write_text("mine")
    machine.users["metis-data"] = 501
    machine.packages |= {"curl", "nginx-light"}
    machine.units["nginx.service"] = {"state": "active", "enabled": True, "pid": 1}
    before = machine.files(), dict(machine.users), set(machine.packages)
    machine.deploy(view)
    machine.remove(view)
    assert (machine.files(), machine.users, machine.packages) == before
    assert all((machine.root / file).read_text() == "mine" for file in files)


def test_an_empty_folder_is_given_back_empty_and_to_its_owner(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    folder = machine.root / "var/lib/metis/consul"
    folder.mkdir(parents=True)
    folder.chmod(0o1750)
    owner = [folder.stat().st_uid, folder.stat().st_gid, "1750"]
    metis_ownership.mark(view)
    (folder / "raft").mkdir()
    assert metis_absence.shared(view)["owners"] == [{"name": str(folder), "owner": owner}]
    assert machine.remove(view)["paths"] == [str(folder / "raft")]
    assert list(folder.iterdir()) == []


def test_one_fighter_of_several_goes_with_what_is_its_own(machine: Machine) -> None:
    view = machine.view("data", "data", "compute")
    machine.deploy(view)
    gone = machine.remove(view, roles=["data"], only=["data@h1:8701"])
    unit = "metis-data@8701.service"
    systemd = "/etc/systemd/system"
    assert gone["units"] == [unit]
    assert gone["paths"] == [
        machine.path(path)
        for path in (
            "/etc/metis/data/8701.env",
            "/etc/metis/data/8701.yml",
            f"{systemd}/{unit}",
            f"{systemd}/multi-user.target.wants/{unit}",
            "/opt/metis/data/8701",
            f"/usr/local/lib/systemd/system/{unit}.d",
            "/var/lib/metis/data/8701",
        )
    ]
    assert (gone["users"], gone["packages"], gone["folders"]) == ([], [], [])
    # Its mark went with it, and the others' did not.
    assert metis_absence.going("data", view, {"only": ["data@h1:8701"]})["paths"] == []
    assert machine.remove(view, only=["data@h1:8700"])["users"] == ["metis-data"]


def test_what_data_and_compute_share_goes_with_the_last_of_both(machine: Machine) -> None:
    view = machine.view("data", "compute")
    machine.deploy(view)
    shared = machine.root / "opt/metis/fighter"
    gone = machine.remove(view, roles=["data"])
    assert (gone["users"], gone["packages"]) == (["metis-data"], [])
    assert shared.exists()
    gone = machine.remove(view, roles=["compute"])
    # carrier needs curl still.
    assert gone["packages"] == ["python3-venv"]
    assert not shared.exists()


def test_what_the_view_has_no_more_goes_too(machine: Machine) -> None:
    machine.deploy(machine.view("data", "compute"))
    before = machine.view("data")
    machine.remove(before)
    assert "metis-compute" not in machine.users
    assert not (machine.root / "etc/metis").exists()


@pytest.mark.parametrize(
    ("keep", "kept"),
    [
        ("data", {"var/lib/metis/consul/content", "etc/metis/carrier/p2p.key"}),
        ("logs", {"var/log/metis/carrier/content"}),
        ("database", {"var/lib/mysql/metis_admin", "etc/mysql/mariadb.conf.d/60-metis.cnf"}),
    ],
)
def test_what_is_kept_is_the_organizations_still(
    machine: Machine, keep: str, kept: set[str]
) -> None:
    view = machine.view(*EVERYTHING)
    before = machine.files()
    machine.deploy(view)
    gone = machine.remove(view, keep=[keep])
    left = machine.files() - before
    assert kept < left
    holders = ("var/l", "etc/metis", "etc/mysql", "etc/systemd/system/mariadb.service")
    assert [path for path in left if not path.startswith(holders)] == []
    assert not machine.root.joinpath("opt/metis").exists()
    assert ("mariadb-server" in gone["packages"]) is (keep != "database")
    # Files that are kept have their owner.
    assert ("metis-consul" in machine.users) is (keep in ("data", "logs"))
    # Nothing goes again, and the next deploy finds what is its own.
    assert not any(machine.remove(view, keep=[keep]).values())
    machine.deploy(view)
    machine.remove(view)
    assert machine.files() == before
    assert set(machine.users) == {"root"}


def test_a_server_that_others_use_stays_without_the_database(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    for folder in ("mysql", "performance_schema", "sys", "shop"):
        (Path(metis_mysql.FOLDER) / folder).mkdir()
    sites = Path(machine.path("/etc/nginx/conf.d"))
    (sites / "shop.conf").touch()
    found = metis_absence.going("admin", view)
    up = {"enabled": True, "active": True}
    assert found["services"] == {"mariadb.service": up, "nginx.service": up}
    assert (found["databases"], found["accounts"]) == (["metis_admin"], ["metis_admin"])
    gone = machine.remove(view)
    assert not {"mariadb-server", "nginx-light"} & set(gone["packages"])
    assert (Path(metis_mysql.FOLDER) / "shop").exists()
    assert not (Path(metis_mysql.FOLDER) / "metis_admin").exists()
    assert [site.name for site in sites.iterdir()] == ["shop.conf"]
    # Nobody is stopped by what `metis.stop` left.
    assert not Path(machine.path("/etc/systemd/system/mariadb.service")).exists()


def test_a_server_that_goes_takes_its_databases_along(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    found = metis_absence.going("admin", view)
    assert (found["databases"], found["accounts"], found["services"]) == ([], [], {})
    assert metis_mysql.FOLDER in metis_absence.shared(view)["paths"]


def test_a_service_that_was_there_is_given_back_as_it_was(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    machine.units["nginx.service"] = {"state": "inactive", "enabled": True, "pid": 0}
    example = machine.root / "etc/nginx/sites-enabled/default"
    example.parent.mkdir()
    example.symlink_to("/etc/nginx/sites-available/default")
    machine.deploy(view)
    example.unlink()
    found = metis_absence.going("admin", view)
    assert found["services"] == {"nginx.service": {"enabled": True, "active": False}}
    target = "/etc/nginx/sites-available/default"
    assert found["links"] == [{"name": str(example), "target": target}]


def test_a_strangers_file_keeps_its_folder(machine: Machine, pillar: dict[str, Any]) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    mine = machine.root / "etc/metis/mine"
    mine.touch()
    told = f"folder {mine.parent} holds what is not the organization's"
    assert told in _survey(pillar, view)["stays"]
    machine.remove(view)
    assert mine.exists()
    assert not (machine.root / "var/lib/metis-ownership").exists()


def test_what_did_not_go_keeps_its_mark(machine: Machine) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    before = metis_ownership.known(view)
    with pytest.raises(CommandExecutionError, match=r"is still there: .*/etc/metis/carrier"):
        metis_absence.release(view)
    assert metis_ownership.known(view) == before
    # As after a run that was cut off.
    shutil.rmtree(machine.root / "etc/metis")
    machine.remove(view)
    assert metis_ownership.known(view) == []


def test_a_dry_run_releases_nothing_and_tells_the_same(machine: Machine) -> None:
    view = machine.view("data", "data")
    machine.deploy(view)
    leaving = {"only": ["data@h1:8701"]}
    told = metis_absence.release(view, leaving, test=True)
    assert metis_ownership.known(view)
    machine.remove(view, **leaving)
    assert told["unmarked"] > 0
    assert metis_absence.release(view, leaving) == {"folders": [], "unmarked": 0}


def test_a_survey_tells_what_goes_and_then_nothing_of_it_is_left(
    machine: Machine, pillar: dict[str, Any]
) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    told = _survey(pillar, view)
    left = metis_absence.left({"h1": told})
    assert {text for text in left if " " not in text} == {*told["paths"], *told["folders"]}
    assert {"user metis-carrier", "package mariadb-server", "database metis_admin"} <= set(left)
    assert "unit metis-carrier.service" in left
    gone = machine.remove(view)
    assert sorted(told["paths"]) == sorted(gone["paths"])
    assert sorted(told["users"]) == sorted(gone["users"])
    assert told["packages"] == gone["packages"]
    assert told["folders"] == gone["folders"]
    machine.units.clear()
    shutil.rmtree(metis_mysql.FOLDER, ignore_errors=True)
    assert metis_absence.left({"h1": told}) == []


def test_processes_and_registrations_are_looked_for(
    machine: Machine, pillar: dict[str, Any], configure_loader_modules: Any
) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    told = _survey(pillar, view)
    machine.remove(view)
    machine.units.clear()
    other = type("Uids", (), {"real": told["users"]["metis-data"]})
    machine.processes = [{"pid": 7, "uids": other, "name": "python"}]
    functions = configure_loader_modules[metis_absence]["__salt__"]
    functions["metis_consul.listens"] = lambda agent: True
    functions["metis_consul.services"] = lambda agent: {told["registered"][0]: "critical"}
    assert metis_absence.left({"h1": told}) == [
        "python (process 7)",
        f"registration {told['registered'][0]}",
    ]


def test_what_runs_is_named(machine: Machine, pillar: dict[str, Any]) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    assert _survey(pillar, view)["running"] == []
    machine.units["metis-carrier.service"] = {"state": "active", "enabled": True, "pid": 5}
    machine.units["mariadb.service"] = {"state": "active", "enabled": True, "pid": 6}
    own = {"username": "metis-data", "name": "python", "ppid": 1, "pid": 7}
    of_a_unit = own | {"username": "metis-carrier", "pid": 5, "name": "carrier"}
    child = of_a_unit | {"pid": 8, "ppid": 5}
    machine.processes = [own, of_a_unit, child, own | {"username": "root", "pid": 9}]
    assert _survey(pillar, view)["running"] == [
        "metis-carrier.service",
        "mariadb.service",
        "python (process 7)",
    ]
    # Not what others use, nor what is not asked for.
    (Path(metis_mysql.FOLDER) / "shop").mkdir()
    assert "mariadb.service" not in _survey(pillar, view)["running"]
    assert _survey(pillar, view, roles={"h1": ["ice_via"]})["running"] == []


def test_the_identity_is_asked_for_where_the_database_goes(
    machine: Machine, pillar: dict[str, Any]
) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    machine.units["mariadb.service"] = {"state": "active", "enabled": True, "pid": 6}
    machine.joined = ["identity:1"]
    assert _survey(pillar, view)["identity"] == {"joined": ["identity:1"], "unknown": ""}
    assert _survey(pillar, view, roles={"h1": ["data"]})["identity"] is None


def test_a_host_without_a_view_says_so(machine: Machine, pillar: dict[str, Any]) -> None:
    with pytest.raises(CommandExecutionError, match="h1 is a host of no valid organization file"):
        metis_absence.survey({"h1": ["data"]})


def test_a_package_that_somebody_needs_stays(
    machine: Machine, pillar: dict[str, Any], configure_loader_modules: Any
) -> None:
    view = machine.view(*EVERYTHING)
    machine.deploy(view)
    functions = configure_loader_modules[metis_absence]["__salt__"]
    functions["metis_apt.purgeable"] = lambda own: {
        "packages": [name for name in own if name != "curl"],
        "needed": ["package curl is needed by shop"],
    }
    told = _survey(pillar, view)
    assert "package curl is needed by shop" in told["stays"]
    assert "curl" not in told["packages"]
