"""Who runs where, under which name and on which port."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from _modules import metis_topology
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


def test_every_instance_has_a_name_units_and_a_service() -> None:
    found = {i["id"]: i for i in orgs.topology()["instances"]}
    assert {
        name: (i["host"], i["address"], i["units"], i["service"]) for name, i in found.items()
    } == {
        "consul@h1": ("h1", "10.0.0.1", ["metis-consul.service"], None),
        "carrier@h1": (
            "h1",
            "10.0.0.1",
            ["metis-carrier.service"],
            {
                "id": "carrierService_10.0.0.1_10033",
                "name": "carrierService",
                "tag": "carrier",
                "port": 10033,
                "unit_id": "carrierService_10.0.0.1_10033",
            },
        ),
        "consul@h2": ("h2", "10.0.0.2", ["metis-consul.service"], None),
        "admin@h2": (
            "h2",
            "10.0.0.2",
            ["mariadb.service", "metis-admin.service", "nginx.service"],
            {
                "id": "adminService_10.0.0.2_9090",
                "name": "adminService",
                "tag": "admin",
                "port": 9090,
                "unit_id": "adminService_10.0.0.2_9090",
            },
        ),
        "consul@h3": ("h3", "10.0.0.3", ["metis-consul.service"], None),
        "ice_via@h3": (
            "h3",
            "10.0.0.3",
            ["metis-icegrid.service", "metis-glacier2.service"],
            None,
        ),
        "data@h4:8700": (
            "h4",
            "10.0.0.4",
            ["metis-data@8700.service"],
            {
                "id": "dataService_10.0.0.4_8700",
                "name": "dataService",
                "tag": "data",
                "port": 8700,
                "unit_id": "dataService_10.0.0.4_%i",
            },
        ),
        "data@h4:8701": (
            "h4",
            "10.0.0.4",
            ["metis-data@8701.service"],
            {
                "id": "dataService_10.0.0.4_8701",
                "name": "dataService",
                "tag": "data",
                "port": 8701,
                "unit_id": "dataService_10.0.0.4_%i",
            },
        ),
        "compute@h4:8800": (
            "h4",
            "10.0.0.4",
            ["metis-compute@8800.service"],
            {
                "id": "jobService_10.0.0.4_8800",
                "name": "jobService",
                "tag": "job",
                "port": 8800,
                "unit_id": "jobService_10.0.0.4_%i",
            },
        ),
    }


def test_all_programs_use_the_agent_of_the_first_consul_host() -> None:
    hosts = {
        "h9": {"address": "10.0.0.9", "roles": ["carrier"]},
        "h5": {"address": "10.0.0.5", "roles": [{"consul": {"http_port": 18500}}]},
    }
    found = orgs.topology(orgs.org_file(hosts=hosts, admin={"enabled": False}))
    assert found["agent"] == {"host": "h5", "address": "10.0.0.5", "port": 18500}


def test_the_cluster_is_called_as_the_organization_where_the_file_does_not_say() -> None:
    assert orgs.topology()["cluster_name"] == "acme-cluster"
    assert orgs.topology(orgs.org_file(cluster_name=None))["cluster_name"] == "acme"


def test_a_switched_off_role_is_left_to_itself_by_verbs() -> None:
    found = orgs.topology(orgs.org_file(data={"enabled": False}))
    assert "data@h4:8700" in {i["id"] for i in found["instances"]}
    assert [i["id"] for i in metis_topology.instances(found) if i["host"] == "h4"] == [
        "compute@h4:8800"
    ]


def test_one_instance_alone_can_be_switched_off() -> None:
    found = orgs.topology(orgs.one_host("data", {"data": {"enabled": False}}))
    assert [i["id"] for i in metis_topology.instances(found, ["data"])] == ["data@h1:8700"]


def test_instances_of_some_roles_come_in_the_order_of_the_file() -> None:
    found = metis_topology.instances(orgs.topology(), ["compute", "consul", "data"])
    assert [i["id"] for i in found] == [
        "consul@h1",
        "consul@h2",
        "consul@h3",
        "data@h4:8700",
        "data@h4:8701",
        "compute@h4:8800",
    ]


def test_an_organization_may_be_one_host_with_every_role() -> None:
    found = orgs.topology(orgs.one_host("admin", "ice_via", "data", "data", "compute"))
    assert len(found["instances"]) == 7


@pytest.mark.parametrize(
    ("host", "server_name", "names"),
    [
        ("h2", "_", ["DNS:h2"]),
        ("h2", "console.acme.example", ["DNS:console.acme.example", "DNS:h2"]),
        ("h2", "*.acme.example", ["DNS:*.acme.example", "DNS:h2"]),
        # A minion may be called so, and no certificate can hold it.
        ("my_host", "_", []),
        ("a..b", "_", []),
        ("12345", "_", []),
        ("x" * 64, "_", []),
    ],
)
def test_a_certificate_names_what_it_can(host: str, server_name: str, names: list[str]) -> None:
    file = orgs.org_file(admin={"server_name": server_name})
    file["hosts"][host] = file["hosts"].pop("h2")
    admin = next(i for i in orgs.topology(file)["instances"] if i["role"] == "admin")
    assert metis_topology.server_names(admin) == [*names, "IP:10.0.0.2"]
