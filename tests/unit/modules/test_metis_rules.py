"""What an organization may be, by itself and beside others, and every fault of one that may not."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_orgfile, metis_rules, metis_topology
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


def _faults(file: dict[str, Any], release: dict[str, Any] = orgs.RELEASE) -> list[dict[str, Any]]:
    made = orgs.built(file, release)
    assert (made["topology"] is None) == bool(made["faults"])
    found: list[dict[str, Any]] = made["faults"]
    return found


def _only_fault(file: dict[str, Any]) -> dict[str, Any]:
    faults = _faults(file)
    assert len(faults) == 1, faults
    return faults[0]


@pytest.mark.parametrize(("servers", "wrong"), [(0, True), (1, False), (2, True), (3, False)])
def test_consul_has_an_odd_number_of_servers(servers: int, wrong: bool) -> None:
    file = orgs.org_file()
    for number, host in enumerate(("h1", "h2", "h3")):
        if number >= servers:
            file["hosts"][host]["roles"].remove("consul")
            file["hosts"][host]["roles"].append("compute")
    faults = _faults(file)
    assert bool(faults) is wrong
    if wrong:
        assert f"has {servers} consul servers" in faults[0]["problem"]
        assert "1, 3 or 5" in faults[0]["fix"]
    if servers == 2:
        assert faults[0]["place"] == "hosts.h1.roles[0], hosts.h2.roles[0]"


@pytest.mark.parametrize("role", ["carrier", "admin", "ice_via"])
def test_two_of_what_an_organization_has_once_are_named_both(role: str) -> None:
    file = orgs.org_file()
    file["hosts"]["h4"]["roles"] = [role]
    first = next(host for host, of in file["hosts"].items() if role in of["roles"])
    fault = _only_fault(file)
    assert fault["place"] == f"hosts.{first}.roles[1], hosts.h4.roles[0]"
    assert f"has 2 instances of {role}" in fault["problem"]


@pytest.mark.parametrize("role", ["carrier", "admin"])
def test_what_is_missing_can_be_switched_off(role: str) -> None:
    file = orgs.org_file()
    for host in file["hosts"].values():
        if role in host["roles"]:
            host["roles"].remove(role)
    fault = _only_fault(file)
    assert fault["place"] == "hosts"
    assert f"has 0 instances of {role}" in fault["problem"]
    assert f"{role}.enabled to false" in fault["fix"]
    assert _faults(file | {role: {"enabled": False}}) == []


def test_an_organization_can_do_without_ice_via() -> None:
    file = orgs.org_file()
    file["hosts"]["h3"]["roles"] = ["consul"]
    assert _faults(file) == []


@pytest.mark.parametrize("role", ["consul", "ice_via"])
def test_a_host_has_a_role_but_for_fighters_once(role: str) -> None:
    ports = {
        key: port + 100
        for key, port in metis_orgfile.read({"metis": orgs.org_file()})["org"][role].items()
        if key.endswith("_port")
    }
    file = orgs.one_host(role, {role: ports}, "consul", ice_via={"enabled": role != "ice_via"})
    file["ice_via"] |= {"external_address": "10.0.0.1"}
    seconds = [fault for fault in _faults(file) if f"is a second {role}" in fault["problem"]]
    assert "hosts.h1.roles[3]" in {fault["place"] for fault in seconds}


@pytest.mark.parametrize("whole", [True, False])
def test_consul_servers_are_switched_on_or_off_together(whole: bool) -> None:
    file = orgs.org_file(consul={"enabled": whole})
    file["hosts"]["h2"]["roles"] = [{"consul": {"enabled": not whole}}, "admin"]
    fault = _only_fault(file)
    assert fault["place"] == "hosts.h2.roles[0]"
    assert "where consul is not" in fault["problem"]


@pytest.mark.parametrize("role", ["carrier", "ice_via"])
def test_an_outside_address_must_be_given(role: str) -> None:
    fault = _only_fault(orgs.org_file(**{role: {}}))
    assert fault["place"] == f"{role}.external_address"
    assert "is missing" in fault["problem"]
    assert ("h1" if role == "carrier" else "h3") in fault["fix"]


def test_what_is_switched_off_needs_no_outside_address() -> None:
    assert _faults(orgs.org_file(ice_via={"enabled": False})) == []
    off = orgs.org_file(carrier={"enabled": False}, data_center=None)
    assert _faults(off) == []


@pytest.mark.parametrize("role", ["carrier", "admin", "ice_via"])
def test_what_is_switched_on_for_an_instance_alone_is_looked_at_all_the_same(role: str) -> None:
    file = orgs.org_file(**{role: {"enabled": False}})
    file["hosts"]["h4"]["roles"] = [{role: {"enabled": True}}]
    problems = [fault["problem"] for fault in _faults(file)]
    assert any(f"has 2 instances of {role}" in problem for problem in problems), problems


def test_a_carrier_that_is_switched_on_alone_needs_its_data_center_too() -> None:
    own = {"carrier": {"enabled": True, "external_address": "a.example"}}
    file = orgs.one_host(carrier={"enabled": False}, data_center=None)
    file["hosts"]["h1"]["roles"] = ["consul", own]
    assert _only_fault(file)["place"] == "data_center"


def test_an_outside_address_can_stand_at_the_instance() -> None:
    file = orgs.one_host({"ice_via": {"external_address": "a.example"}}, ice_via={})
    assert _faults(file) == []


def test_carrier_needs_a_data_center() -> None:
    file = orgs.org_file()
    del file["data_center"]
    fault = _only_fault(file)
    assert fault["place"] == "data_center"
    assert "address: ..., port: ..." in fault["fix"]


def test_two_hosts_with_one_address_are_named_both() -> None:
    file = orgs.org_file()
    file["hosts"]["h4"]["address"] = "10.0.0.2"
    fault = _only_fault(file)
    assert (fault["place"], fault["value"]) == ("hosts.h4.address", "10.0.0.2")
    assert "hosts.h2" in fault["problem"]


def test_an_address_that_is_at_fault_itself_is_nobody_s() -> None:
    file = orgs.org_file()
    # What stands in for it while the rest is looked at.
    file["hosts"]["h2"]["address"] = "192.0.2.1"
    del file["hosts"]["h1"]["address"]
    assert _only_fault(file)["place"] == "hosts.h1.address"


@pytest.mark.parametrize(
    ("paths", "place", "problem"),
    [
        ({"data": "/etc"}, "paths.data", "is a folder of the system"),
        ({"logs": "/var/log"}, "paths.logs", "is a folder of the system"),
        ({"programs": "/opt"}, "paths.programs", "is a folder of the system"),
        ({"programs": "/usr/local/lib"}, "paths.programs", "is a folder of the system"),
        ({"programs": "/home/metis"}, "paths.programs", "lies in /home, which is hidden"),
        ({"data": "/tmp/metis"}, "paths.data", "lies in /tmp, which is emptied"),
        ({"logs": "/run/metis"}, "paths.logs", "lies in /run, which is emptied at every boot"),
        ({"data": "/var/lib/mysql"}, "paths.data", "lies in /var/lib/mysql, which is MariaDB's"),
        ({"data": "/opt/metis"}, "paths.data", "is paths.programs too"),
        ({"logs": "/var/lib/metis/logs"}, "paths.logs", "lies in paths.data, which is /var"),
        ({"data": "/usr/metis"}, "paths.data", "lies in /usr, which is for programs"),
        ({"logs": "/etc/passwd"}, "paths.logs", "lies in /etc, which is for settings"),
        ({"programs": "/usr/bin/x"}, "paths.programs", "lies in /usr/bin, which is for commands"),
        ({"configuration": "/etc/apt"}, "paths.configuration", "lies in /etc/apt, which says"),
        ({"data": "/var/lib/metis-store/a"}, "paths.data", "which is the master's store"),
        ({"logs": "/srv", "data": "/srv/a"}, "paths.logs", "is a folder of the system"),
        ({"logs": "/srv/a", "data": "/srv/a/b"}, "paths.logs", "holds paths.data, which is /srv"),
    ],
)
def test_each_kind_of_file_has_a_folder_of_its_own(
    paths: dict[str, str], place: str, problem: str
) -> None:
    faults = _faults(orgs.org_file(paths=paths))
    assert {fault["place"] for fault in faults} == {place}
    assert problem in faults[0]["problem"]
    assert faults[0]["value"] == paths[place.split(".")[1]]


@pytest.mark.parametrize(
    "paths",
    [
        {"data": "/srv/metis", "logs": "/srv/metis-logs"},
        {"programs": "/usr/lib/metis", "data": "/data", "logs": "/var/log/a/b"},
        {"configuration": "/usr/local/etc/metis", "data": "/var/lib/metis-stores"},
        {"data": "/tmpfs", "logs": "/homes/metis"},
    ],
)
def test_a_folder_that_only_begins_like_another_is_no_clash(paths: dict[str, str]) -> None:
    assert _faults(orgs.org_file(paths=paths)) == []


def test_a_folder_that_is_at_fault_itself_clashes_with_none() -> None:
    # It would be /var/lib/metis where nothing is given.
    paths = {"data": "srv", "logs": "/var/lib/metis/logs"}
    assert _only_fault(orgs.org_file(paths=paths))["place"] == "paths.data"


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        ("/etc", "is a folder of the system"),
        ("/home/x", "lies in /home"),
        ("/opt/metis", "is not apart from paths.programs"),
        ("/opt", "is a folder of the system"),
        ("/etc/passwd", "lies in /etc, which is for settings"),
        ("/usr/x", "lies in /usr, which is for programs"),
        ("/lib64/x", "lies in /lib64"),
        ("/var/lib/dpkg", "lies in /var/lib/dpkg, which says what is installed"),
        ("/var/cache/metis", "lies in /var/cache, which may be emptied"),
        ("/var/lib/metis/consul", "is not apart from the data of hosts.h1.roles[0]"),
        ("/var/lib/metis/consul/x", "is not apart from the data of hosts.h1.roles[0]"),
    ],
)
def test_a_folder_for_data_is_for_it_alone(own: str, problem: str) -> None:
    carrier = {"data_directory": own, "external_address": "198.51.100.1"}
    fault = _only_fault(orgs.org_file(carrier=carrier))
    assert fault["place"] == "hosts.h1.roles[1] (data_directory)"
    assert fault["problem"].startswith(problem)


@pytest.mark.parametrize("role", ["carrier", "data"])
@pytest.mark.parametrize("own", ["/srv/metis/data", "/srv/metis"])
def test_a_folder_for_data_is_not_the_one_that_roles_have_theirs_in(role: str, own: str) -> None:
    file = orgs.org_file(paths={"data": "/srv/metis/data"})
    # Nobody else on its host has data there.
    file["hosts"]["h5"] = {"address": "10.0.0.5", "roles": [{role: {"data_directory": own}}]}
    file["hosts"]["h1"]["roles"] = ["consul"] if role == "carrier" else ["consul", "carrier"]
    fault = _only_fault(file)
    assert fault["place"] == "hosts.h5.roles[0] (data_directory)"
    assert fault["problem"] in ("is paths.data too", "holds paths.data, /srv/metis/data")
    file["hosts"]["h5"]["roles"] = [{role: {"data_directory": "/srv/metis/data/disk2"}}]
    assert _faults(file) == []


def test_a_public_port_is_that_of_one_host() -> None:
    shared = {"external_address": "Node.acme.example"}
    file = orgs.org_file(
        carrier={"external_address": "node.acme.example"},
        ice_via=shared | {"glacier2_port": 10036},
    )
    fault = _only_fault(file)
    assert (fault["place"], fault["value"]) == ("hosts.h3.roles[1] (glacier2_port)", 10036)
    assert "tcp port 10036 of node.acme.example" in fault["problem"]
    assert "p2p_tcp_port of hosts.h1.roles[1]" in fault["problem"]
    # Discovery is UDP.
    assert _faults(file | {"ice_via": shared | {"glacier2_port": 10035}}) == []
    assert _faults(file | {"ice_via": {"external_address": "b", "glacier2_port": 10036}}) == []
    assert _faults(file | {"ice_via": {"enabled": False, **file["ice_via"]}}) == []


def test_on_one_host_a_public_port_is_one_fault() -> None:
    file = orgs.one_host("ice_via")
    file["ice_via"] = file["carrier"] | {"glacier2_port": 10036}
    assert _only_fault(file)["place"] == "hosts.h1.roles[2] (glacier2_port)"


def test_a_port_is_used_once_on_a_host() -> None:
    fault = _only_fault(orgs.one_host({"data": {"port": 8500}}))
    assert fault["place"] == "hosts.h1.roles[2] (port)"
    assert fault["value"] == 8500
    assert "http_port of hosts.h1.roles[0]" in fault["problem"]
    assert "`- data: {port: ...}`" in fault["fix"]


def test_the_same_port_on_two_hosts_is_no_clash() -> None:
    assert _faults(orgs.org_file(compute={"port": 8500})) == []


def test_two_instances_of_one_role_can_clash_too() -> None:
    fault = _only_fault(orgs.one_host({"data": {"port": 9000}}, {"data": {"port": 9000}}))
    assert fault["place"] == "hosts.h1.roles[3] (port)"
    assert "port of hosts.h1.roles[2]" in fault["problem"]


def test_udp_and_tcp_are_apart() -> None:
    # carrier's discovery is UDP: a TCP port of that number is another port.
    assert _faults(orgs.one_host(carrier={"external_address": "a", "p2p_udp_port": 8200})) == []
    dns = orgs.one_host(carrier={"external_address": "a", "p2p_udp_port": 8600})
    assert "is udp port 8600" in _only_fault(dns)["problem"]
    tcp = orgs.one_host(carrier={"external_address": "a", "p2p_tcp_port": 8600})
    assert "is tcp port 8600" in _only_fault(tcp)["problem"]


# Who listens where: service contract 1, 2, 5, 6 and 7.
LISTENS = {
    "consul": {
        "server_port": "tcp",
        "serf_lan_port": "tcp udp",
        "serf_wan_port": "tcp udp",
        "http_port": "tcp",
        "dns_port": "tcp udp",
    },
    "carrier": {
        "rpc_port": "tcp",
        "grpc_gateway_port": "tcp",
        "p2p_tcp_port": "tcp",
        "p2p_udp_port": "udp",
        "pprof_port": "tcp",
    },
    "admin": {"web_port": "tcp", "http_port": "tcp", "https_port": "tcp", "mysql_port": "tcp"},
    "ice_via": {"glacier2_port": "tcp", "grid_port": "tcp"},
    "compute": {"port": "tcp"},
}


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
@pytest.mark.parametrize(
    ("role", "setting"), [(role, setting) for role, own in LISTENS.items() for setting in own]
)
def test_every_port_counts_with_its_protocol(role: str, setting: str, protocol: str) -> None:
    file = orgs.one_host("admin", "ice_via", "compute", "data")
    file.setdefault(role, {})[setting] = 20000
    # A port that is off is free for others.
    file.setdefault("admin", {})["enable_tls"] = True
    file["carrier"]["pprof"] = True
    if protocol == "tcp":
        file["data"] = {"port": 20000}
        other = "hosts.h1.roles[5] (port)"
    elif setting == "p2p_udp_port":
        file["consul"] = {"dns_port": 20000}
        other = "hosts.h1.roles[1] (p2p_udp_port)"
    else:
        file["carrier"]["p2p_udp_port"] = 20000
        other = "hosts.h1.roles[1] (p2p_udp_port)"
    faults = [fault for fault in _faults(file) if f"is {protocol} port 20000" in fault["problem"]]
    clashes = protocol in LISTENS[role][setting].split()
    assert bool(faults) is clashes
    if clashes and role != "carrier":
        assert faults[0]["place"] == other


@pytest.mark.parametrize(("role", "setting"), [("carrier", "pprof_port"), ("admin", "https_port")])
def test_a_port_that_is_off_is_free_for_others(role: str, setting: str) -> None:
    file = orgs.one_host("admin", data={"port": 20000})
    file[role] = file.get(role, {}) | {setting: 20000}
    assert _faults(file) == []


def test_ports_of_one_instance_can_clash() -> None:
    fault = _only_fault(orgs.one_host(consul={"serf_wan_port": 8300}))
    assert fault["place"] == "hosts.h1.roles[0] (serf_wan_port)"
    assert fault["value"] == 8300


def test_a_port_that_is_set_for_all_can_be_set_for_one() -> None:
    file = orgs.one_host("ice_via", "compute", compute={"port": 10032})
    assert _only_fault(file)["value"] == 10032
    file["hosts"]["h1"]["roles"][2] = {"ice_via": {"grid_port": 20032}}
    assert _faults(file) == []


def test_task_ports_are_no_service_s() -> None:
    fault = _only_fault(orgs.one_host("data", data={"task_port_range": [8400, 8499]}))
    assert fault["place"] == "hosts.h1.roles[2] (task_port_range)"
    assert fault["value"] == [8400, 8499]
    assert "holds port 8400" in fault["problem"]
    elsewhere = orgs.org_file(data={"task_port_range": [8400, 8499]})
    assert _faults(elsewhere) == []


def test_task_ports_begin_at_the_lower() -> None:
    fault = _only_fault(orgs.one_host("data", data={"task_port_range": [31100, 31000]}))
    assert fault["place"] == "hosts.h1.roles[2] (task_port_range)"
    assert "lower port first" in fault["fix"]


@pytest.mark.parametrize("checksum", [None, ""])
def test_an_artifact_without_checksum_is_not_installed(checksum: str | None) -> None:
    release = copy.deepcopy(orgs.RELEASE)
    release["artifacts"]["admin_jar"]["sha256"] = checksum
    (fault,) = _faults(orgs.org_file(), release)
    assert (fault["place"], fault["value"]) == ("release", "admin.jar")
    assert "artifact admin_jar has no checksum" in fault["problem"]
    assert "salt-run metis.pin release=0.3.0 artifact=admin_jar" in fault["fix"]
    assert _faults(orgs.org_file(admin={"enabled": False}), release) == []


def test_a_file_s_name_that_consul_cannot_use_needs_a_cluster_name() -> None:
    form = metis_orgfile.read({"metis": orgs.org_file(cluster_name=None)})
    made = metis_topology.build("acme.prod", form, orgs.RELEASE)
    assert [fault["place"] for fault in made["faults"]] == ["cluster_name"]


def test_all_faults_are_listed_at_once() -> None:
    file = {
        "release": "0.3.0",
        "cluster_nam": "x",
        "data_center": {"address": "data_center", "port": 9090},
        "hosts": {
            "h1": {"address": "10.0.0.1", "roles": ["consul", "carrier"]},
            "h2": {"address": "10.0.0.1", "roles": ["consul", "carrier"]},
            "h3": {"address": "10.0.0.300", "roles": ["ice_via", {"data": {"port": 10032}}]},
        },
        "carrier": {"verbosity": "loud"},
    }
    found = {fault["place"]: fault["problem"] for fault in _faults(file)}
    assert set(found) == {
        "cluster_nam",
        "data_center.address",
        "hosts.h3.address",
        "carrier.verbosity",
        "hosts.h1.roles[0], hosts.h2.roles[0]",
        "hosts.h1.roles[1], hosts.h2.roles[1]",
        "hosts",
        "carrier.external_address",
        "ice_via.external_address",
        "hosts.h2.address",
        "hosts.h3.roles[1] (port)",
    }


def test_what_only_follows_from_a_fault_is_not_listed() -> None:
    misspelt = orgs.org_file()
    misspelt["hosts"]["h1"]["roles"] = ["consul", "carier"]
    assert _only_fault(misspelt)["place"] == "hosts.h1.roles[1]"
    assert _only_fault(orgs.org_file(carrier={"external_address": "a_b"}))["place"] == (
        "carrier.external_address"
    )
    assert _only_fault(orgs.org_file(data_center={"address": "a"}))["place"] == "data_center.port"
    nowhere = orgs.org_file()
    for host in ("h1", "h2"):
        del nowhere["hosts"][host]["address"]
    assert [fault["place"] for fault in _faults(nowhere)] == [
        "hosts.h1.address",
        "hosts.h2.address",
    ]


# Beside other organizations


def _clashes(**files: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    claims = {name: orgs.built(file)["claims"] for name, file in files.items()}
    found: dict[str, list[dict[str, Any]]] = metis_rules.clashes(claims)
    return found


def _elsewhere(number: int, **changes: Any) -> dict[str, Any]:
    """An organization that has nothing of another one's."""
    file = orgs.one_host("ice_via", **changes)
    file["hosts"] = {f"e{number}": file["hosts"]["h1"] | {"address": f"10.{number}.0.1"}}
    outside = {"external_address": f"198.51.100.{100 + number}"}
    return file | {"carrier": outside, "ice_via": outside}


def test_organizations_that_share_nothing_do_not_clash() -> None:
    assert _clashes(acme=orgs.org_file(), one=_elsewhere(1), two=_elsewhere(2)) == {}
    assert _clashes() == {}


def test_a_machine_is_in_one_organization_whatever_it_is_called_there() -> None:
    other = _elsewhere(1)
    other["hosts"]["e1"]["address"] = "10.0.0.2"
    found = _clashes(acme=orgs.org_file(), other=other)
    assert [fault["place"] for fault in found["acme"]] == ["hosts.h2.address"]
    assert "hosts.e1 of the organization other" in found["acme"][0]["problem"]
    assert [fault["place"] for fault in found["other"]] == ["hosts.e1.address"]
    assert "hosts.h2 of the organization acme" in found["other"][0]["problem"]
    assert found["other"][0]["value"] == "10.0.0.2"


@pytest.mark.parametrize(
    ("own", "places"),
    [
        ({}, ["(p2p_tcp_port)", "(p2p_udp_port)", "(glacier2_port)"]),
        ({"carrier": {"p2p_tcp_port": 20036}}, ["(p2p_udp_port)", "(glacier2_port)"]),
        ({"ice_via": {"enabled": False}}, ["(p2p_tcp_port)", "(p2p_udp_port)"]),
        (
            {
                "carrier": {"p2p_tcp_port": 20036, "p2p_udp_port": 20035},
                "ice_via": {"glacier2_port": 10036},
            },
            ["(glacier2_port)"],
        ),
    ],
)
def test_a_public_port_is_that_of_one_organization(own: dict[str, Any], places: list[str]) -> None:
    other = _elsewhere(1)
    second = _elsewhere(2)
    for role in ("carrier", "ice_via"):
        second[role] = other[role] | own.get(role, {})
    found = _clashes(other=other, second=second)
    assert [fault["place"].split(" ")[1] for fault in found["second"]] == places
    assert len(found["other"]) == len(places)
    for fault in found["second"]:
        assert "of 198.51.100.101 to others" in fault["problem"]
        assert "of the organization other too" in fault["problem"]


def test_three_organizations_with_one_host_are_told_of_each_other() -> None:
    found = _clashes(**dict.fromkeys(("a", "b", "c"), orgs.org_file()))
    hosts = [fault["problem"] for fault in found["b"] if fault["place"] == "hosts.h1"]
    assert len(hosts) == 2
    assert "organization a too" in hosts[0]
    assert "organization c too" in hosts[1]


def test_what_is_at_fault_itself_clashes_with_nobody() -> None:
    other = _elsewhere(1)
    del other["hosts"]["e1"]["address"]
    acme = orgs.org_file()
    acme["hosts"]["h1"]["address"] = "192.0.2.1"
    assert _clashes(acme=acme, other=other, third={"hosts": {}}) == {}


def test_a_host_is_another_organization_s_once_nothing_is_leaving_it() -> None:
    file = orgs.org_file()
    del file["hosts"]["h4"]
    leaving = orgs.left(file)["leaving"]
    claims = {"acme": {"hosts": {"h1": "10.0.0.1"}}, "other": {"hosts": {"h4": "10.0.0.4"}}}
    (fault,) = metis_rules.held(claims, {"acme": leaving, "other": []})["other"]
    assert fault["place"] == "hosts.h4"
    assert "data@h4:8700" in fault["problem"]
    assert """'{"org": "acme", "hosts": "h4"}'""" in fault["fix"]
    assert metis_rules.held(claims, {"acme": [], "other": []}) == {}
