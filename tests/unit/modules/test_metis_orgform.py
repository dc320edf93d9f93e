"""The form of an organization file: what may stand in it, and its defaults."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest
import yaml

from _modules import metis_orgfile, metis_orgform
from tests.unit import orgs

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


def test_every_default_is_filled_in() -> None:
    read = metis_orgfile.read({"metis": {"release": "0.3.0", "hosts": orgs.hosts()}})
    assert read["faults"] == []
    assert read["whole"]
    org = read["org"]
    assert set(org) == {
        "cluster_name",
        "release",
        "releases_kept",
        "data_center",
        "hosts",
        "store",
        "paths",
        *metis_orgfile.ROLES,
    }
    assert org["releases_kept"] == 2
    assert org["paths"] == {
        "programs": "/opt/metis",
        "configuration": "/etc/metis",
        "data": "/var/lib/metis",
        "logs": "/var/log/metis",
    }
    on = {"enabled": True, "data_directory": None}
    fighter = on | {"thread_pool_size": 10, "total_bandwidth": 10_000_000}
    assert {role: org[role] for role in metis_orgfile.ROLES} == {
        "consul": on
        | {
            "server_port": 8200,
            "serf_lan_port": 8300,
            "serf_wan_port": 8400,
            "http_port": 8500,
            "dns_port": 8600,
        },
        "carrier": on
        | {
            # An outside address has no default that could be right.
            "external_address": None,
            "rpc_port": 10033,
            "grpc_gateway_port": 10034,
            "p2p_udp_port": 10035,
            "p2p_tcp_port": 10036,
            # Not the seed's 10032, which is IceGrid's too.
            "pprof_port": 10037,
            "pprof": False,
            "pprof_address": "127.0.0.1",
            "debug": False,
            "verbosity": "info",
            "bootstrap_nodes": [],
            "peers": [],
            "max_peers": 45,
        },
        "admin": on
        | {
            "web_port": 9090,
            "http_port": 80,
            "server_name": "_",
            "enable_tls": False,
            "https_port": 443,
            "ssl_protocols": ["TLSv1.2", "TLSv1.3"],
            "ssl_ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20",
            "certificate": None,
            "certificate_key": None,
            "mysql_port": 3306,
            "mysql_user": "metis_admin",
            "mysql_password": None,
            "heap": "1g",
            "metaspace": "512m",
            "thread_stack": "256k",
        },
        "ice_via": on
        | {
            "external_address": None,
            "glacier2_port": 10031,
            "grid_port": 10032,
            "protocol": "tcp",
            "certificate": None,
            "certificate_key": None,
        },
        "data": fighter
        | {"port": 8700, "task_port_range": (31000, 31100), "chunk_size": 1_048_576},
        "compute": fighter | {"port": 8800, "task_port_range": (41000, 41100)},
    }


def test_no_two_roles_have_the_same_default_port() -> None:
    org = metis_orgfile.read({"metis": orgs.org_file()})["org"]
    ports = [
        (role, key, value)
        for role in metis_orgfile.ROLES
        for key, value in org[role].items()
        if key == "port" or key.endswith("_port")
    ]
    assert len({port for *_, port in ports}) == len(ports), ports


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("carrier", "max_peers", 1),
        ("carrier", "verbosity", "trace"),
        ("carrier", "verbosity", "panic"),
        ("admin", "http_port", 1),
        ("admin", "http_port", 65535),
        ("admin", "mysql_port", 1025),
        ("admin", "heap", "512M"),
        ("admin", "server_name", "*.acme.example"),
        ("admin", "thread_stack", "136k"),
        ("admin", "thread_stack", "1M"),
        ("carrier", "peers", ["/ip4/198.51.100.7/tcp/10036/p2p/16Uiu2HAm", orgs.ENR]),
        ("carrier", "peers", ["/dns4/node.acme.example/tcp/10036/p2p/16Uiu2HAm"]),
        ("data", "chunk_size", 1),
        ("data", "thread_pool_size", 1),
        ("paths", "logs", "/srv/a.b/c_d-e"),
    ],
)
def test_a_value_at_its_limit_is_no_fault(section: str, key: str, value: Any) -> None:
    assert orgs.form_faults(orgs.org_file(**{section: {key: value}})) == {}


@pytest.mark.parametrize("name", ["h1", "node1.acme.example", "Node_1"])
def test_a_host_may_be_called_whatever_a_minion_is(name: str) -> None:
    read = metis_orgfile.read(
        {"metis": orgs.org_file(hosts={name: {"address": "10.0.0.1", "roles": ["consul"]}})}
    )
    assert read["faults"] == []


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0",
        "10.0.0.256",
        "10.0.0.1/24",
        "h1",
        "",
        5,
        True,
        None,
        10.5,
        ["10.0.0.1"],
        "::1",
        "0.0.0.0",
        "127.0.0.1",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_a_host_needs_an_address_where_others_reach_it(address: Any) -> None:
    file = orgs.org_file(hosts={"h1": {"address": address, "roles": ["consul"]}})
    assert orgs.only_form_fault(file)["place"] == "hosts.h1.address"


@pytest.mark.parametrize("address", ["198.51.100.7", "node.acme.example", "n-1", "a", "10.0.0.1"])
def test_an_outside_address_may_be_a_name(address: str) -> None:
    assert orgs.form_faults(orgs.org_file(ice_via={"external_address": address})) == {}


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0",
        "10.0.0.256",
        "my_host",
        "-a",
        "a.",
        "a b",
        "a" * 64,
        ".".join(["a" * 63] * 4),
        "a..b",
        "a.-b",
        "",
        5,
        True,
        None,
        "ä.example",
    ],
)
def test_an_address_that_no_program_can_read_is_a_fault(address: Any) -> None:
    file = orgs.org_file(data_center={"address": address, "port": 9090})
    assert orgs.only_form_fault(file)["place"] == "data_center.address"


@pytest.mark.parametrize("role", ["carrier", "ice_via"])
@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.1.2.3",
        "0.0.0.0",
        "0.1.2.3",
        "169.254.1.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "localhost",
        "LocalHost",
        "a.localhost",
        "localhost.localdomain",
    ],
)
def test_an_outside_address_that_no_other_organization_reaches_is_a_fault(
    address: str, role: str
) -> None:
    fault = orgs.only_form_fault(orgs.org_file(**{role: {"external_address": address}}))
    assert (fault["place"], fault["value"]) == (f"{role}.external_address", address)
    assert "is an address that" in fault["problem"]


def test_the_data_center_may_be_on_carrier_s_own_host_in_a_trial() -> None:
    assert orgs.form_faults(orgs.org_file(data_center={"address": "127.0.0.1", "port": 9090})) == {}


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("metis_root", "is an example"),
        ("admin_123456", "is an example"),
        ("Admin_123456", "is an example"),
        ("correct horse battery staple", "is an example"),
        ("kX9-vw2", "less than 12 characters"),
        ("aaaaaaaaaaaaaaaa", "is easy to guess"),
        ("password1234!", "is easy to guess"),
        ("qwertyuiop12", "is easy to guess"),
        ("metis-metis-metis", "is easy to guess"),
        ("kX9-vw2-pp0-Lq7\n", "a line break"),
        ("Abc${foo}xyz-981273", "holds ${"),
        ("a" * 1000, "is easy to guess"),
    ],
)
def test_a_password_that_can_be_guessed_is_a_fault_and_not_shown(
    password: str, problem: str
) -> None:
    fault = orgs.only_form_fault(orgs.org_file(admin={"mysql_password": password}))
    assert fault["place"] == "admin.mysql_password"
    assert problem in fault["problem"]
    assert "remove the line: the master makes one" in fault["fix"]
    assert fault["value"] == "(not shown)"


@pytest.mark.parametrize("password", ["kX9-vw2-pp0-Lq7", "x7" + "kX9 vw2 ü" * 20])
def test_a_password_that_cannot_be_guessed_is_taken_as_it_is(password: str) -> None:
    read = metis_orgfile.read({"metis": orgs.org_file(admin={"mysql_password": password})})
    assert read["faults"] == []
    assert read["org"]["admin"]["mysql_password"] == password


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("consul", "http_port", 80),
        ("consul", "http_port", 65536),
        ("consul", "http_port", "8500"),
        ("consul", "http_port", 8500.0),
        ("consul", "http_port", True),
        ("consul", "enabled", "no"),
        ("carrier", "verbosity", "loud"),
        ("carrier", "max_peers", 0),
        ("carrier", "max_peers", 10**400),
        ("carrier", "bootstrap_nodes", "enr:x"),
        ("carrier", "peers", "enr:x"),
        ("admin", "server_name", "a; return 301"),
        ("admin", "metaspace", "1"),
        ("admin", "thread_stack", "135k"),
        ("admin", "thread_stack", "1g"),
        ("admin", "heap", "1"),
        ("admin", "heap", 1024),
        ("admin", "mysql_user", "a b"),
        ("admin", "mysql_user", "x" * 33),
        ("admin", "http_port", 0),
        ("admin", "server_name", "a; b"),
        ("admin", "ssl_ciphers", "NOTHING"),
        ("admin", "ssl_ciphers", "NULL"),
        ("admin", "ssl_ciphers", "ECDHE+AESGCM nonsense"),
        ("admin", "ssl_ciphers", "ECDHE+AESGCM;!aNULL"),
        ("admin", "ssl_ciphers", "ALL:@SECLEVEL=0"),
        ("admin", "ssl_ciphers", "AES128-SHA"),
        ("admin", "ssl_ciphers", "DEFAULT"),
        ("admin", "server_name", "-"),
        ("admin", "server_name", "a..b"),
        ("admin", "server_name", "999.1.1.1"),
        ("admin", "server_name", "12345"),
        ("admin", "server_name", "a" * 64 + ".example"),
        ("admin", "ssl_protocols", []),
        ("admin", "certificate", "server.crt"),
        ("ice_via", "protocol", "udp"),
        ("data", "chunk_size", 0),
        ("paths", "data", "var/lib"),
        ("paths", "logs", "/var/log/a b"),
        ("paths", "logs", "/var/log/../lib"),
        ("paths", "logs", "/var/./log"),
        ("paths", "logs", "/var/log/metis/"),
        ("paths", "logs", "/"),
        ("paths", "logs", None),
    ],
)
def test_a_value_that_cannot_be_is_shown_with_its_place(section: str, key: str, value: Any) -> None:
    fault = orgs.only_form_fault(orgs.org_file(**{section: {key: value}}))
    shown = value if value != 10**400 else f"1{'0' * 99}..."
    assert (fault["place"], fault["value"]) == (f"{section}.{key}", shown)
    assert fault["problem"]
    assert fault["fix"]


@pytest.mark.parametrize(
    ("port_range", "place"),
    [
        ([31000], "data.task_port_range"),
        ([31000, 31100, 31200], "data.task_port_range"),
        ("31000-31100", "data.task_port_range"),
        ([31000, "x"], "data.task_port_range[1]"),
        ([80, 31000], "data.task_port_range[0]"),
    ],
)
def test_a_range_has_two_ports(port_range: Any, place: str) -> None:
    faults = orgs.form_faults(orgs.org_file(data={"task_port_range": port_range}))
    # With one port only, pydantic says that the other is missing.
    assert [found for found in faults if found.startswith(place)], faults


@pytest.mark.parametrize(
    "peer",
    [
        "enr:-",
        "enr:x",
        "/ip4/999.1.1.1/tcp/10036/p2p/16Uiu2HAm",
        "/ip4/198.51.100.7/tcp/99999/p2p/16Uiu2HAm",
        "/ip4/198.51.100.7/tcp/0/p2p/16Uiu2HAm",
        "/ip6/198.51.100.7/tcp/10036/p2p/16Uiu2HAm",
        "/ip4/198.51.100.7/udp/10036/p2p/16Uiu2HAm",
        "198.51.100.7:10036",
    ],
)
def test_what_is_no_peer_is_a_fault(peer: str) -> None:
    fault = orgs.only_form_fault(
        orgs.org_file(carrier={"peers": [peer], "external_address": "1.2.3.4"})
    )
    assert (fault["place"], fault["value"]) == ("carrier.peers[0]", peer)
    assert "must be the address of a peer" in fault["problem"]


def test_an_editor_knows_every_key_by_the_schema() -> None:
    schema = metis_orgform.json_schema()
    org = schema["$defs"]["_Org"]
    assert set(org["required"]) == {"release", "hosts"}
    assert org["additionalProperties"] is False
    assert set(org["properties"]) == set(metis_orgfile.read({"metis": orgs.org_file()})["org"])
    assert set(schema["$defs"]["_Host"]["required"]) == {"address", "roles"}
    assert "title" not in repr(schema)


_EDITOR = jsonschema.Draft202012Validator(metis_orgform.json_schema())


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(metis_orgform.json_schema())


@pytest.mark.parametrize(
    "file",
    [
        yaml.safe_load((REPOSITORY / "pillar/orgs/demo.sls").read_text("utf-8")),
        {"metis": orgs.org_file()},
        {"metis": orgs.one_host("data", {"data": {"port": 8710, "task_port_range": [1100, 1200]}})},
        {"metis": orgs.one_host({"compute": None}, {"data": {}}, data_center=None)},
        {"metis": orgs.org_file(admin={"mysql_password": "x" * 12, "thread_stack": "1m"})},
    ],
)
def test_an_editor_has_nothing_against_a_valid_file(file: Any) -> None:
    assert list(_EDITOR.iter_errors(file)) == []


@pytest.mark.parametrize(
    ("file", "place"),
    [
        ({}, []),
        ({"metis": orgs.org_file(), "x": 1}, []),
        ({"metis": orgs.org_file(relase=1)}, ["metis"]),
        ({"metis": orgs.org_file(carrier={"rpc_prt": 1})}, ["metis", "carrier"]),
        ({"metis": orgs.org_file(data={"port": 80})}, ["metis", "data", "port"]),
        ({"metis": orgs.org_file(data={"task_port_range": [1100]})}, ["metis", "data"]),
        ({"metis": orgs.org_file(hosts={"a b": orgs.hosts()["h1"]})}, ["metis", "hosts"]),
        ({"metis": orgs.org_file(hosts=orgs.hosts("dta"))}, ["metis", "hosts", "h1", "roles", 2]),
        (
            {"metis": orgs.org_file(hosts=orgs.hosts({"data": {"prt": 1}}))},
            ["metis", "hosts", "h1", "roles", 2],
        ),
        (
            {"metis": orgs.org_file(hosts=orgs.hosts({"data": {}, "compute": {}}))},
            ["metis", "hosts", "h1", "roles", 2],
        ),
        ({"metis": orgs.org_file(hosts=orgs.hosts({}))}, ["metis", "hosts", "h1", "roles", 2]),
    ],
)
def test_an_editor_marks_what_is_wrong(file: Any, place: list[str | int]) -> None:
    errors = [list(error.absolute_path) for error in _EDITOR.iter_errors(file)]
    assert errors
    assert all(error[: len(place)] == place for error in errors), errors
