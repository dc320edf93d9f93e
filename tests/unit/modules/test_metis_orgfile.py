"""How an organization file is read: its instances, and every fault of its form in words."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import salt.payload

from _modules import metis_orgfile
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


def _instances(*roles: Any, **changes: Any) -> list[dict[str, Any]]:
    read = metis_orgfile.read({"metis": orgs.one_host(*roles, **changes)})
    assert read["faults"] == []
    found: list[dict[str, Any]] = read["org"]["hosts"]["h1"]["instances"]
    return found


def test_a_setting_of_a_role_goes_to_each_of_its_instances_and_an_own_one_before_it() -> None:
    first, second = _instances(
        "data", {"data": {"thread_pool_size": 3}}, data={"thread_pool_size": 7, "chunk_size": 9}
    )[2:]
    assert (first["thread_pool_size"], second["thread_pool_size"]) == (7, 3)
    assert (first["chunk_size"], second["chunk_size"]) == (9, 9)


@pytest.mark.parametrize("role", ["data", "compute"])
def test_each_further_fighter_of_a_host_has_the_next_port(role: str) -> None:
    found = _instances(role, role, role, **{role: {"port": 20000}})
    assert [i["port"] for i in found if i["role"] == role] == [20000, 20001, 20002]


def test_a_fighter_with_a_port_of_its_own_keeps_it() -> None:
    found = _instances("data", {"data": {"port": 9999}}, "data")
    assert [i["port"] for i in found if i["role"] == "data"] == [8700, 9999, 8702]


def test_a_role_may_be_given_without_settings() -> None:
    assert [i["role"] for i in _instances({"data": None}, {"compute": {}})] == [
        "consul",
        "carrier",
        "data",
        "compute",
    ]


def test_an_instance_knows_its_place_in_the_file() -> None:
    assert [i["place"] for i in _instances("data")] == [f"hosts.h1.roles[{n}]" for n in range(3)]


def test_a_role_can_be_switched_off_as_a_whole_and_on_one_host() -> None:
    assert [i["enabled"] for i in _instances("data", data={"enabled": False})] == [
        True,
        True,
        False,
    ]
    assert [i["enabled"] for i in _instances("data", {"data": {"enabled": False}})][2:] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    ("change", "place", "near"),
    [
        ({"relase": "x"}, "relase", "release"),
        ({"carrier": {"rpc_prt": 1}}, "carrier.rpc_prt", "rpc_port"),
        ({"carrier": {"rpc port": 1}}, "carrier.rpc port", "rpc_port"),
        ({"paths": {"program": "/opt"}}, "paths.program", "programs"),
        (
            {"data_center": {"address": "a", "port": 1, "adress": "b"}},
            "data_center.adress",
            "address",
        ),
        (
            {"hosts": {"h1": {"adress": "x", "address": "10.0.0.1", "roles": ["consul"]}}},
            "hosts.h1.adress",
            "address",
        ),
        (
            {"hosts": orgs.hosts({"data": {"prt": 1}})},
            "hosts.h1.roles[2].data.prt",
            "port",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(
    change: dict[str, Any], place: str, near: str
) -> None:
    fault = orgs.only_form_fault(orgs.org_file(**change))
    assert fault["place"] == place
    assert fault["fix"] == f"did you mean {near}?"


def test_an_unknown_key_like_no_other_comes_with_all_that_are_known() -> None:
    fault = orgs.only_form_fault(orgs.org_file(data_center={"address": "a", "port": 1, "zzz": 1}))
    assert fault["fix"] == "known are: address, port"
    assert "hosts" in orgs.only_form_fault(orgs.org_file(**{"a b": 1}))["fix"]


def test_an_unknown_role_is_named_with_the_nearest_known_one() -> None:
    fault = orgs.only_form_fault(orgs.org_file(hosts=orgs.hosts("ice-via")))
    assert fault["place"] == "hosts.h1.roles[2]"
    assert fault["value"] == "ice-via"
    assert fault["fix"] == "did you mean ice_via?"
    assert (
        "consul, carrier, admin"
        in orgs.only_form_fault(orgs.org_file(hosts=orgs.hosts("x")))["fix"]
    )


@pytest.mark.parametrize(
    ("change", "problem", "fix"),
    [
        ({"consul": {"http_port": "8500"}}, "must be a whole number", "without quotes"),
        ({"consul": {"http_port": True}}, "must be a whole number", "without quotes"),
        ({"consul": {"http_port": 80}}, "is too small", "write 1025 or more"),
        ({"consul": {"http_port": 70000}}, "is too large", "write 65535 or less"),
        ({"consul": {"enabled": "yes"}}, "must be true or false", "without quotes"),
        ({"consul": None}, "has no value", "write one, or remove the line"),
        ({"consul": []}, "must be a mapping", "`setting: value`"),
        ({"hosts": []}, "must be a mapping", "`name: value`"),
        ({"hosts": {}}, "is empty", "at least one"),
        ({"release": 0.3}, "must be text", "in quotes"),
        ({"cluster_name": "\ud800"}, "holds what is no character", "anew"),
        ({"cluster_name": "A B"}, "must be lower-case", "acme-cluster"),
        ({"hosts": {"a b": orgs.hosts()["h1"]}}, "is not what a minion", "minion's id"),
        ({"hosts": {5: orgs.hosts()["h1"]}}, "is not what a minion", "minion's id"),
        ({"carrier": {"verbosity": "warning"}}, "must be one of trace, debug,", "mean warn?"),
        ({"carrier": {"bootstrap_nodes": {}}}, "must be a list", "`- ...`"),
        ({"carrier": {"bootstrap_nodes": ["x"]}}, "must be an ENR", "enr:"),
        ({"carrier": {"peers": ["/ip4/x"]}}, "must be the address of a peer", "/ip4/"),
        ({"data": {"task_port_range": 5}}, "must be two ports", "[31000, 31100]"),
        ({"paths": {"data": "srv"}}, "must be an absolute path", "/srv/metis/data"),
        ({"admin": {"thread_stack": "1k"}}, "is less than Java needs", "136k or more"),
        ({"admin": {"mysql_user": ""}}, "must be 1 to 32 letters", "metis_admin"),
    ],
)
def test_a_fault_says_in_words_what_is_wrong_and_what_to_do(
    change: dict[str, Any], problem: str, fix: str
) -> None:
    fault = orgs.only_form_fault(orgs.org_file(**change))
    assert problem in fault["problem"]
    assert fix in fault["fix"]


def test_a_fault_is_one_line_whatever_stands_in_the_file() -> None:
    file = orgs.org_file(
        **{"a\nb": 1, "x" * 1000: 1, "[key]": 1, "": 1},
        release="\ud800" * 1000,
        carrier={"max_peers": 16**6000, "bootstrap_nodes": ["a\nb"]},
        hosts={16**6000: 1, None: 1, "h1": {"address": b"\xff", "roles": [16**6000, b"x"]}},
    )
    faults = orgs.form_faults(file)
    assert len(faults) == 11, faults
    for fault in faults.values():
        assert len(repr(fault)) < 1000
        assert all(str(part).isprintable() for part in fault.values())
        # It goes to the verbs by this.
        assert salt.payload.loads(salt.payload.dumps(fault)) == fault


@pytest.mark.parametrize(
    ("entry", "place"),
    [
        (5, "hosts.h1.roles[2]"),
        (None, "hosts.h1.roles[2]"),
        (["data"], "hosts.h1.roles[2]"),
        ({}, "hosts.h1.roles[2]"),
        ({"data": None, "compute": None}, "hosts.h1.roles[2]"),
        ({"data": 8700}, "hosts.h1.roles[2].data"),
        ({"data": {None: 1}}, "hosts.h1.roles[2].data.None"),
        ({"data": {"port": "x"}}, "hosts.h1.roles[2].data.port"),
    ],
)
def test_an_entry_that_names_no_role_is_one_fault(entry: Any, place: str) -> None:
    assert orgs.only_form_fault(orgs.org_file(hosts=orgs.hosts(entry)))["place"] == place


@pytest.mark.parametrize("data", [None, [], "text", {}, {"metis": None}, {"metis": {}, "x": 1}])
def test_a_file_without_the_one_top_key_is_a_fault(data: Any) -> None:
    read = metis_orgfile.read(data)
    assert read["org"] is None
    assert [fault["place"] for fault in read["faults"]] == ["metis"]


@pytest.mark.parametrize("wrong", [None, {}, [], ["h1"], "h1", 5])
def test_without_a_host_there_is_nothing_to_look_at(wrong: Any) -> None:
    read = metis_orgfile.read({"metis": orgs.org_file(hosts=wrong)})
    assert [fault["place"] for fault in read["faults"]] == ["hosts"]
    assert read["org"] is None


def test_what_is_missing_is_named() -> None:
    assert set(orgs.form_faults({"hosts": {"h1": {}}})) == {
        "release",
        "hosts.h1.address",
        "hosts.h1.roles",
    }


def test_faults_of_every_part_are_found_at_once() -> None:
    file = orgs.org_file(
        relase="0.3.0",
        carrier={"rpc_port": 80},
        data_center={"address": "a_b"},
        hosts={
            "h 1": {"address": "10.0.0.1", "roles": ["consul"]},
            "h 2": {"address": "10.0.0.2", "roles": ["consul"]},
            "h3": {"address": "10.0.0.300", "roles": ["consl", {"data": {"prt": 1, "port": 2}}]},
            "h4": 5,
        },
    )
    assert set(orgs.form_faults(file)) == {
        "relase",
        "carrier.rpc_port",
        "data_center.address",
        "data_center.port",
        "hosts.h 1",
        "hosts.h 2",
        "hosts.h3.address",
        "hosts.h3.roles[0]",
        "hosts.h3.roles[1].data.prt",
        "hosts.h3.roles[1].data.port",
        "hosts.h4",
    }


def test_what_is_left_of_a_faulty_file_is_not_whole_where_an_instance_is_left_out() -> None:
    read = metis_orgfile.read({"metis": orgs.org_file(hosts=orgs.hosts("carier"))})
    assert [i["role"] for i in read["org"]["hosts"]["h1"]["instances"]] == ["consul", "carrier"]
    assert not read["whole"]
    wrong_port = metis_orgfile.read({"metis": orgs.org_file(carrier={"rpc_port": 1})})
    assert wrong_port["whole"]


def test_reading_leaves_the_data_as_it_was() -> None:
    file = orgs.org_file(hosts=orgs.hosts("data", 5), carrier={"rpc_port": 1}, x=1)
    before = repr(file)
    metis_orgfile.read({"metis": file})
    assert repr(file) == before


@pytest.mark.parametrize(
    "change",
    [
        {"admin": {"mysql_password": "hunter2"}},
        {"admin": {"mysql_pasword": "hunter2"}},
        {"admin": [{"mysql_password": "hunter2"}]},
        {"admin": [["hunter2"]]},
        {"hosts": orgs.hosts({"admin": {"mysql_password": "hunter2"}})},
        {"hosts": orgs.hosts({"admin": {"mysql_password": "hunter2"}, "data": {}})},
        {"hosts": orgs.hosts({"amin": {"mysql_password": "hunter2"}})},
        {"hosts": orgs.hosts({"admin": [{"mysql_password": "hunter2"}]})},
        {"hosts": [{"h1": {"roles": [{"admin": {"mysql_password": "hunter2"}}]}}]},
    ],
)
def test_no_fault_shows_a_password(change: dict[str, Any]) -> None:
    faults = orgs.form_faults(orgs.org_file(**change))
    assert faults
    assert "hunter2" not in repr(faults)
    assert {fault["value"] for fault in faults.values()} <= {None, "(not shown)", "amin"}


def test_a_fault_has_its_four_parts() -> None:
    assert metis_orgfile.fault("hosts.h1", "is wrong", "correct it", 5) == {
        "place": "hosts.h1",
        "value": 5,
        "problem": "is wrong",
        "fix": "correct it",
    }
