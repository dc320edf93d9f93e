"""What one host sees: its own part of an organization, and of others what it needs."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest
import yaml

from _modules import metis_view
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


# What one host may know


def test_a_host_knows_itself_and_the_agent() -> None:
    found = orgs.views(orgs.topology())["h4"]
    assert {key: value for key, value in found.items() if key not in ("roles", "paths")} == {
        "org": "acme",
        "host": "h4",
        "address": "10.0.0.4",
        "release": "0.3.0",
        "store": {"address": None, "port": 8014},
        "releases_kept": 2,
        "agent": {"host": "h1", "address": "10.0.0.1", "port": 8500},
        "leaving": {},
    }


def test_a_host_sees_its_own_roles_only() -> None:
    views = orgs.views(orgs.topology())
    assert {host: list(view["roles"]) for host, view in views.items()} == {
        "h1": ["consul", "carrier"],
        "h2": ["consul", "admin"],
        "h3": ["consul", "ice_via"],
        "h4": ["data", "compute"],
    }
    assert [i["id"] for i in views["h4"]["roles"]["data"]["instances"]] == [
        "data@h4:8700",
        "data@h4:8701",
    ]


def test_nothing_of_other_hosts_roles_is_in_a_view() -> None:
    text = {host: yaml.safe_dump(view) for host, view in orgs.views(orgs.topology()).items()}
    # Where the one agent is, every program must know; and the servers must know each other.
    assert "10.0.0.1" in text["h4"]
    assert "10.0.0.2" not in text["h4"]
    assert "10.0.0.3" not in text["h4"]
    for word in ("carrier", "admin", "ice_via", "Glacier2", "mysql", "consul.zip"):
        assert word not in text["h4"], word
    for word in ("jobService", "dataService", "ice.acme.example_", "10.0.0.4", "jdbc"):
        assert word not in text["h3"], word
    assert "10.0.0.4" not in text["h1"] + text["h2"] + text["h3"]


@pytest.mark.parametrize("given_password", ["chosen-by-the-operator", None])
def test_only_admin_s_host_has_the_password_and_only_where_it_is_read(
    given_password: str | None,
) -> None:
    file = orgs.org_file()
    if given_password:
        file["admin"] = {"mysql_password": given_password}
    views = orgs.views(orgs.topology(file), "made-on-the-master")
    password = given_password or "made-on-the-master"
    text = {host: yaml.safe_dump(view) for host, view in views.items()}
    assert [host for host, view in text.items() if password in view] == ["h2"]
    assert text["h2"].count(password) == 1
    config = views["h2"]["roles"]["admin"]["instances"][0]["config"]
    assert config["spring"]["datasource"]["druid"]["password"] == password


def test_a_view_takes_nothing_from_the_topology() -> None:
    whole = orgs.topology(orgs.org_file(admin={"mysql_password": "chosen-by-the-operator"}))
    before = copy.deepcopy(whole)
    first = orgs.views(whole)
    assert whole == before
    assert orgs.views(whole) == first


def test_a_host_whose_roles_are_all_switched_off_sees_none() -> None:
    off = {"enabled": False}
    views = orgs.views(orgs.topology(orgs.org_file(data=off, compute=off)))
    assert views["h4"]["roles"] == {}


def test_a_role_has_a_user_and_directories_of_its_own() -> None:
    paths = {"programs": "/srv/p", "configuration": "/srv/c", "data": "/srv/d", "logs": "/srv/l"}
    views = orgs.views(orgs.topology(orgs.org_file(paths=paths)))
    ice = views["h3"]["roles"]["ice_via"]
    assert {key: ice[key] for key in ("user", "configuration", "data", "logs")} == {
        "user": "metis-ice-via",
        "configuration": "/srv/c/ice_via",
        "data": "/srv/d/ice_via",
        "logs": "/srv/l/ice_via",
    }
    data, compute = (views["h4"]["roles"][role] for role in ("data", "compute"))
    assert data["user"] != compute["user"]
    # One program with a kind.
    for role in (data, compute):
        assert role["releases"]["0.3.0"]["directory"] == "/srv/p/fighter/releases/0.3.0"
    # Switched to another release one by one.
    assert [i["link"] for i in data["instances"]] == ["/srv/p/data/8700", "/srv/p/data/8701"]
    assert [i["link"] for i in compute["instances"]] == ["/srv/p/compute/8800"]


def test_each_instance_has_its_own_release() -> None:
    whole = orgs.topology()
    after = copy.deepcopy(orgs.RELEASE) | {"release": "0.4.0"}
    after["fighter"]["data"] = "fighter_project.data_svc.main"
    whole["deployed"]["data@h4:8701"] = {"release": "0.4.0", "previous": "0.3.0"}
    secrets: dict[str, Any] = {"mysql_password": "x", "certificates": {}}
    releases = {"0.3.0": orgs.RELEASE, "0.4.0": after}
    data = metis_view.view(whole, releases, secrets, "h4")["roles"]["data"]
    assert [i["release"] for i in data["instances"]] == ["0.3.0", "0.4.0"]
    assert {n: r["facts"]["data"] for n, r in data["releases"].items()} == {
        "0.3.0": "metis.data_svc.main",
        "0.4.0": "fighter_project.data_svc.main",
    }
    files = data["instances"][1]["files"]["metis-data@8701.service"]
    assert any("/releases/0.4.0/" in file for file in files)
    assert not any("/releases/0.3.0/" in file for file in files)
    # What pruning leaves.
    assert data["kept"] == ["0.3.0", "0.4.0"]


@pytest.mark.parametrize(
    ("said", "path"),
    [
        ("/usr/bin/python3", "/usr/bin/python3"),
        ("python/bin/python3.7", "/opt/metis/fighter/releases/0.3.0/python/bin/python3.7"),
    ],
)
def test_an_interpreter_of_the_release_is_below_it(said: str, path: str) -> None:
    release = copy.deepcopy(orgs.RELEASE)
    release["fighter"] |= {"python": said, "libraries": "lib/psi_c"}
    secrets = {"mysql_password": "", "certificates": {}}
    view = metis_view.view(orgs.topology(), {"0.3.0": release}, secrets, "h4")
    facts = view["roles"]["compute"]["releases"]["0.3.0"]["facts"]
    assert facts["python"] == path
    assert facts["libraries"] == "/opt/metis/fighter/releases/0.3.0/env/lib/psi_c"


def test_a_role_has_its_own_artifacts_and_facts() -> None:
    views = orgs.views(orgs.topology())
    admin = views["h2"]["roles"]["admin"]
    assert admin["releases"]["0.3.0"]["artifacts"] == {
        "admin_jar": {
            "kind": "jar",
            "file": "admin.jar",
            "sha256": orgs.SHA256,
            "stored": "0.3.0/admin.jar",
            "builds": None,
            "unpacks": None,
            "into": "",
        }
    }
    assert admin["releases"]["0.3.0"]["facts"] == orgs.RELEASE["admin"]
    assert list(views["h4"]["roles"]["data"]["releases"]["0.3.0"]["artifacts"]) == ["metis_dcv"]
    facts = views["h4"]["roles"]["data"]["releases"]["0.3.0"]["facts"]
    assert facts | orgs.RELEASE["fighter"] == facts


def test_an_instance_may_keep_its_data_elsewhere() -> None:
    file = orgs.org_file(carrier={"data_directory": "/mnt/a", "external_address": "198.51.100.1"})
    file["hosts"]["h4"]["roles"] = ["data", {"data": {"data_directory": "/mnt/b"}}, "compute"]
    views = orgs.views(orgs.topology(file))
    carrier = views["h1"]["roles"]["carrier"]
    assert carrier["data"] == carrier["instances"][0]["config"]["datadir"] == "/mnt/a"
    assert carrier["writable"] == ["/var/log/metis/carrier", "/mnt/a"]
    data = views["h4"]["roles"]["data"]
    assert [i["directory"] for i in data["instances"]] == [
        "/var/lib/metis/data/8700",
        "/mnt/b/8701",
    ]
    assert data["instances"][1]["config"]["data_root"] == "/mnt/b/8701/data_root"
    # Another instance's folder is no reason to start one again.
    assert data["writable"] == ["/var/log/metis/data", "/var/lib/metis/data"]
    assert [i["writable"] for i in data["instances"]] == [None, "/mnt/b/8701"]
    first, second = (i["files"][i["units"][0]] for i in data["instances"])
    drop_in = "/usr/local/lib/systemd/system/metis-data@8701.service.d/metis.conf"
    assert drop_in in second
    assert "/usr/local/lib/systemd/system/metis-data@8700.service.d/metis.conf" not in first


# What is leaving


def test_a_host_s_view_has_what_is_leaving_it() -> None:
    file = orgs.org_file()
    file["hosts"]["h4"]["roles"] = ["data", "compute"]
    seen = orgs.views(orgs.left(file))["h4"]
    assert list(seen["leaving"]) == ["data"]
    (instance,) = seen["leaving"]["data"]["instances"]
    assert (instance["id"], instance["units"]) == ("data@h4:8701", ["metis-data@8701.service"])
    assert instance["directory"] == "/var/lib/metis/data/8701"
    assert instance["agent"] == {"host": "h1", "address": "10.0.0.1", "port": 8500}
    assert [i["id"] for i in seen["roles"]["data"]["instances"]] == ["data@h4:8700"]


@pytest.mark.parametrize(("servers", "stays"), [({"h1": ["consul", "carrier"]}, True), ({}, False)])
def test_what_is_leaving_says_whether_its_agent_stays(
    servers: dict[str, list[str]], stays: bool
) -> None:
    file = orgs.org_file()
    file["hosts"]["h4"]["roles"] = ["data", "compute"]
    others = {"h1": ["carrier"], "h2": ["consul", "admin"], "h3": ["ice_via"]}
    others |= servers and {"h2": ["admin"]} | servers
    for host, roles in others.items():
        file["hosts"][host]["roles"] = roles
    (instance,) = orgs.views(orgs.left(file))["h4"]["leaving"]["data"]["instances"]
    assert instance["agent_stays"] is stays


def test_a_host_that_was_left_has_a_view_still() -> None:
    file = orgs.org_file()
    del file["hosts"]["h4"]
    seen = metis_view.view(orgs.left(file), {"0.3.0": orgs.RELEASE}, {}, "h4")
    assert (seen["address"], seen["roles"]) == ("10.0.0.4", {})
    assert list(seen["leaving"]) == ["compute", "data"]


def test_the_view_of_what_is_leaving_has_no_password() -> None:
    file = orgs.org_file()
    file["hosts"]["h2"]["roles"] = ["consul"]
    file["hosts"]["h3"]["roles"] = ["consul", "ice_via", "admin"]
    seen = orgs.views(orgs.left(file))["h2"]
    admin = seen["leaving"]["admin"]
    assert admin["releases"]["0.3.0"]["facts"]["database"] == "metis_admin"
    assert orgs.MADE not in str(admin)


def test_servers_that_are_leaving_are_peers_until_they_have_left() -> None:
    file = orgs.org_file()
    file["hosts"]["h2"]["roles"], file["hosts"]["h3"]["roles"] = ["admin"], ["ice_via"]
    for whole, peers in ((orgs.left(file), 3), (orgs.topology(file), 1)):
        (server,) = orgs.views(whole)["h1"]["roles"]["consul"]["instances"]
        assert (server["peers"], server["config"]["bootstrap_expect"]) == (peers, 1)


def test_a_role_that_is_switched_off_is_not_leaving() -> None:
    file = orgs.org_file(data={"enabled": False})
    file["hosts"]["h4"]["roles"] = ["compute"]
    assert orgs.left(file)["leaving"] == []
