"""What an inventory of the Ansible scripts becomes, and what is said of the rest."""

from __future__ import annotations

import itertools
import re
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from _modules import metis_inventory
from tests.unit import inventory

FILLED = inventory.filled()
ONE_MACHINE = dict.fromkeys(("consul", "carrier", "admin", "ice_via", "data", "compute"), "1")
LEAST = """
[consul]
10.0.0.1
[carrier]
10.0.0.1
[admin]
10.0.0.1
[all:vars]
cluster_name = acme
carrier_external_ip = 198.51.100.1
"""


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return inventory.wired()


def _made(text: str, org: str | None = None) -> dict[str, Any]:
    made = metis_inventory.convert(text, org)
    assert made["faults"] == []
    assert isinstance(made["text"], str)
    return made


def _file(text: str) -> dict[str, Any]:
    """What stands below `metis` in an inventory's organization file, which is a valid one."""
    made = _made(text)
    assert inventory.built(made)["faults"] == []
    file: dict[str, Any] = inventory.loaded(made["text"])["metis"]
    return file


def _instances(text: str) -> list[str]:
    made = inventory.built(_made(text))
    assert made["faults"] == []
    return [instance["id"] for instance in made["topology"]["instances"]]


def _faults(text: str) -> list[tuple[list[int], str]]:
    made = metis_inventory.convert(text)
    assert made["text"] is None
    assert made["faults"]
    return [(fault["lines"], f"{fault['what']} {fault['why']}") for fault in made["faults"]]


def _only_fault(text: str) -> str:
    (fault,) = _faults(text)
    return f"{fault[0]} {fault[1]}"


def _notes(text: str, what: str) -> list[str]:
    found = _made(text)["notes"]
    return [f"{note['lines']} {note['why']}" for note in found if what in note["what"]]


def _line(text: str, start: str) -> int:
    numbered = enumerate(text.splitlines(), 1)
    return next(number for number, line in numbered if line.startswith(start))


def _least(*lines: str) -> str:
    return LEAST + "\n".join(lines) + "\n"


# The scripts' own template


def test_the_template_that_nobody_filled_in_has_every_such_line_as_a_fault() -> None:
    faults = _faults(inventory.TEMPLATE)
    unfilled = [
        [number]
        for number, line in enumerate(inventory.TEMPLATE.splitlines(), 1)
        if re.match(r"\$\{|\w+_external_ip = \$", line)
    ]
    assert [lines for lines, _ in faults] == unfilled
    assert len(unfilled) == 8
    assert all("is not filled in" in text or "not filled in" in text for _, text in faults)


def test_the_filled_template_is_an_organization() -> None:
    made = _made(FILLED)
    assert made["org"] == "demo-cluster"
    built = inventory.built(made)
    assert built["faults"] == []
    topology = built["topology"]
    assert topology["cluster_name"] == "demo-cluster"
    assert topology["release"] == "0.3.0"
    assert topology["agent"] == {"host": "node-10-0-0-1", "address": "10.0.0.1", "port": 8500}
    assert topology["hosts"] == {f"node-10-0-0-{n}": f"10.0.0.{n}" for n in range(1, 10)}
    assert [instance["id"] for instance in topology["instances"]] == [
        "consul@node-10-0-0-1",
        "carrier@node-10-0-0-1",
        "consul@node-10-0-0-2",
        "admin@node-10-0-0-2",
        "consul@node-10-0-0-3",
        "ice_via@node-10-0-0-3",
        "data@node-10-0-0-4:8700",
        "data@node-10-0-0-5:8701",
        "data@node-10-0-0-6:8702",
        "compute@node-10-0-0-7:8700",
        "compute@node-10-0-0-8:8701",
        "compute@node-10-0-0-9:8702",
    ]
    ports = [i["settings"]["http_port"] for i in topology["instances"] if i["role"] == "consul"]
    assert ports == [8500, 8501, 8502]


def test_what_is_the_default_is_not_written() -> None:
    file = _file(FILLED)
    assert file["carrier"] == {"external_address": "198.51.100.1", "pprof_port": 10032}
    assert file["ice_via"] == {"external_address": "198.51.100.3"}
    assert file["admin"] == {
        "server_name": "metis-admin.demo.network",
        "mysql_password": inventory.PASSWORD,
    }
    assert file["hosts"]["node-10-0-0-1"]["roles"] == ["consul", "carrier"]
    assert not {"consul", "data"} & set(file)


def test_everything_that_is_not_the_default_is_written() -> None:
    file = _file(
        inventory.changed(
            FILLED,
            cluster_name="acme",
            amin_user="acme_console",
            admin_web_port="9191",
            carrier_pprof_port="20037",
            carrier_rpc_port="20033",
            carrier_grpc_gateway_port="20034",
            carrier_p2p_udp_port="20035",
            carrier_p2p_tcp_port="20036",
            ice_glacier2_port="20031",
            ice_grid_port="20032",
            enable_deploy_data="False",
        )
    )
    assert file["cluster_name"] == "acme"
    assert file["admin"]["mysql_user"] == "acme_console"
    assert file["admin"]["web_port"] == 9191
    assert file["carrier"] == {
        "external_address": "198.51.100.1",
        "pprof_port": 20037,
        "rpc_port": 20033,
        "grpc_gateway_port": 20034,
        "p2p_udp_port": 20035,
        "p2p_tcp_port": 20036,
    }
    assert file["ice_via"] == {
        "external_address": "198.51.100.3",
        "glacier2_port": 20031,
        "grid_port": 20032,
    }
    assert file["data"] == {"enabled": False}


def test_what_cannot_be_carried_is_said_with_its_lines_and_why() -> None:
    hosts = [n for n, line in enumerate(FILLED.splitlines(), 1) if line.startswith("10.")]
    (ssh,) = _notes(FILLED, "ansible_ssh_user")
    assert ssh.startswith(f"{hosts} not carried over")
    assert "keys" in ssh
    for what, words in (
        ("mysql_root_password", "local socket"),
        ("admin_ssl_protocols", "TLSv1, TLSv1.1 are too weak"),
        ("admin_ssl_ciphers", "DES-CBC3-SHA, HIGH are too weak"),
        ("admin_ssl_ciphers", "enable_tls is off"),
    ):
        number = _line(FILLED, what)
        assert any(words in note and str(number) in note for note in _notes(FILLED, what)), what
    assert any("id of the host's minion" in note for note in _notes(FILLED, "node-10-0-0-1"))


def test_no_password_is_said() -> None:
    made = _made(FILLED)
    assert inventory.PASSWORD in made["text"]
    for secret in (inventory.SSH_PASSWORD, inventory.SUDO_PASSWORD, "metis_root"):
        assert secret not in made["text"]
    for secret in (inventory.PASSWORD, inventory.SSH_PASSWORD, inventory.SUDO_PASSWORD):
        assert secret not in repr(made["notes"])
    broken = metis_inventory.convert(FILLED.replace("[admin]", "[admin"))
    assert broken["faults"]
    assert "-Pass-1" not in repr(broken)


def test_the_password_of_the_example_is_told() -> None:
    text = inventory.changed(FILLED, admin_password="admin_123456")
    (note,) = _notes(text, "admin_password")
    assert "everyone knows" in note


# Ports that clash on one host


def test_all_on_one_machine_is_one_host_where_nothing_clashes() -> None:
    arrays = {
        f"consul_{name}_port": f"[{port}]"
        for name, port in (
            ("server", 8200),
            ("serf_lan", 8300),
            ("serf_wan", 8400),
            ("http", 8500),
            ("dns", 8600),
        )
    }
    ports = {"data_port": "[8700]", "compute_port": "[8700]"}
    text = inventory.changed(inventory.filled(**ONE_MACHINE), **arrays, **ports)
    file = _file(text)
    assert file["hosts"] == {
        "node-10-0-0-1": {
            "address": "10.0.0.1",
            "roles": ["consul", "carrier", "admin", "ice_via", "data", "compute"],
        }
    }
    assert file["carrier"] == {"external_address": "198.51.100.1"}
    (profiler,) = _notes(text, "carrier_pprof_port")
    assert "10032 is ice_grid_port on the same host; it became 10037" in profiler
    (compute,) = _notes(text, "compute_port")
    assert "8700 on node-10-0-0-1, where data has the same; compute has 8800" in compute
    assert "compute@node-10-0-0-1:8800" in _instances(text)


def test_the_template_with_one_machine_for_every_group_is_one_host() -> None:
    text = inventory.filled(**ONE_MACHINE)
    assert "data_port = [8700, 8701, 8702]" in text
    assert _instances(text) == [
        "consul@node-10-0-0-1",
        "carrier@node-10-0-0-1",
        "admin@node-10-0-0-1",
        "ice_via@node-10-0-0-1",
        "data@node-10-0-0-1:8700",
        "compute@node-10-0-0-1:8800",
    ]
    assert not {"consul", "data", "compute"} & set(_file(text))
    left = [note for note in _made(text)["notes"] if "carried over without" in note["why"]]
    assert [note["what"] for note in left] == [
        *(f"consul_{name}_port" for name in ("server", "serf_lan", "serf_wan", "http", "dns")),
        "data_port",
        "compute_port",
    ]


def test_the_template_with_a_machine_for_each_group_is_six_hosts() -> None:
    groups = {group: str(number) for number, group in enumerate(ONE_MACHINE, 1)}
    assert _instances(inventory.filled(**groups)) == [
        "consul@node-10-0-0-1",
        "carrier@node-10-0-0-2",
        "admin@node-10-0-0-3",
        "ice_via@node-10-0-0-4",
        "data@node-10-0-0-5:8700",
        "compute@node-10-0-0-6:8700",
    ]


def test_the_example_s_equal_ports_of_data_and_compute_are_parted() -> None:
    text = inventory.filled(data="4 5 6", compute="4 5 6")
    assert [name for name in _instances(text) if name.startswith("compute")] == [
        "compute@node-10-0-0-4:8800",
        "compute@node-10-0-0-5:8800",
        "compute@node-10-0-0-6:8800",
    ]
    (note,) = _notes(text, "compute_port")
    numbers = [_line(text, "data_port"), _line(text, "compute_port")]
    assert note.startswith(f"{numbers} not carried over: 8700 on node-10-0-0-4, 8701 on")


def test_data_has_its_port_where_the_inventory_says_none() -> None:
    text = _least("compute_port = [8700]", "[data]", "10.0.0.4", "[compute]", "10.0.0.4")
    assert _instances(text)[-2:] == ["data@node-10-0-0-4:8700", "compute@node-10-0-0-4:8800"]


def test_only_the_ports_that_clash_are_left_out() -> None:
    text = inventory.filled(data="4 5 6", compute="6 7 8")
    text = inventory.changed(text, compute_port="[8702, 8801, 8900]")
    assert [name for name in _instances(text) if name.startswith("compute")] == [
        "compute@node-10-0-0-6:8800",
        "compute@node-10-0-0-7:8801",
        "compute@node-10-0-0-8:8900",
    ]


def test_one_port_for_all_is_written_once() -> None:
    text = inventory.changed(
        FILLED, consul_http_port="[9500, 9500, 9500]", data_port="[9700, 9700, 9700]"
    )
    file = _file(text)
    assert file["consul"] == {"http_port": 9500}
    assert file["data"] == {"port": 9700}
    assert file["hosts"]["node-10-0-0-4"]["roles"] == ["data"]


@pytest.mark.parametrize("variable", ["consul_dns_port", "data_port", "compute_port"])
@pytest.mark.parametrize("value", ["[8600, 8601]", "8600"])
def test_a_port_too_few_is_a_fault(variable: str, value: str) -> None:
    text = inventory.changed(FILLED, **{variable: value})
    fault = _only_fault(text)
    assert fault.startswith(f"[{_line(text, variable)}] {variable} has ")
    assert fault.endswith(f"and [{variable.split('_')[0]}] has 3 hosts: give one for each host")


@pytest.mark.parametrize("variable", ["consul_dns_port", "data_port", "compute_port"])
def test_ports_beyond_the_hosts_are_left_out_and_told(variable: str) -> None:
    few = inventory.changed(FILLED, **{variable: "[9600, 9601, 9602]"})
    text = inventory.changed(FILLED, **{variable: "[9600, 9601, 9602, 9603, 9604]"})
    assert _file(text) == _file(few)
    (note,) = _notes(text, variable)
    assert note == (
        f"[{_line(text, variable)}] carried over without 9603, 9604: "
        f"[{variable.split('_')[0]}] has 3 hosts, and Ansible took the first ports too"
    )


# What people really have


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="Windows line ends"),
        pytest.param(lambda text: "\ufeff" + text, id="byte order mark"),
        pytest.param(lambda text: text.replace(" = ", ": "), id="colons"),
        pytest.param(lambda text: text.replace(" = ", "="), id="no spaces"),
        pytest.param(lambda text: re.sub(r"(\[8.*\])", r'"\1"', text), id="lists in quotes"),
        pytest.param(lambda text: re.sub(r"\[(8.*)\]", r"\1", text), id="lists without brackets"),
        pytest.param(lambda text: re.sub(r"(= \[8.*\])", r"\1 ; 端口", text), id="semicolons"),
        pytest.param(lambda text: re.sub(r"(= \[8.*\])", r"\1\t# 端口", text), id="tabs"),
        pytest.param(lambda text: text.replace("True", "yes"), id="yes"),
        pytest.param(lambda text: text.replace("True", "1"), id="1"),
        pytest.param(lambda text: text.replace("True", '"true"'), id="quoted flags"),
        pytest.param(lambda text: text.replace("amin_user", "admin_user"), id="spelled right"),
        pytest.param(lambda text: re.sub(r"(10\.0\.0\.\d)", r"\1:22", text), id="ssh ports"),
        pytest.param(lambda text: text.replace('"', "'"), id="other quotes"),
        pytest.param(lambda text: re.sub(r" ansible_\w+=\S+", "", text), id="no ssh"),
        pytest.param(lambda text: re.sub(r"#.*", "", text), id="no comments"),
        pytest.param(lambda text: text.replace("[ice_via]", "[via]"), id="the older group"),
        pytest.param(
            lambda text: text.replace("ice_via_external_ip", "via_external_ip").replace(
                "ice_glacier2_port", "via_port"
            ),
            id="the older variables",
        ),
        pytest.param(
            lambda text: (
                text.replace("10.0.0.4 ", "10.0.0.[4:6] ")
                .replace("10.0.0.5 ", "#")
                .replace("10.0.0.6 ", "#")
            ),
            id="a range",
        ),
        pytest.param(
            lambda text: text.replace("[carrier]", "[carrier:children]\ndispatch\n[dispatch]"),
            id="a group of groups",
        ),
        pytest.param(
            lambda text: text.replace("data_port", "[data:vars]\ndata_port"), id="vars of a group"
        ),
    ],
)
def test_what_is_written_otherwise_is_the_same_organization(change: Any) -> None:
    text = change(FILLED)
    assert text != FILLED
    assert _file(text) == _file(FILLED)


def test_groups_may_be_empty_or_missing() -> None:
    text = _least("[data]", "[compute]")
    assert list(_file(text)["hosts"]) == ["node-10-0-0-1"]
    assert _instances(text) == [
        "consul@node-10-0-0-1",
        "carrier@node-10-0-0-1",
        "admin@node-10-0-0-1",
    ]


def test_an_array_of_a_group_without_hosts_is_no_fault() -> None:
    (note,) = _notes(_least("data_port = [8700, 8701]"), "data_port")
    assert "[data] has no host" in note


def test_an_alias_is_the_host_s_name() -> None:
    text = LEAST.replace(
        "[consul]\n10.0.0.1", "acme1 ansible_host=10.0.0.1\n[consul]\nacme1"
    ).replace("[carrier]\n10.0.0.1", "[carrier]\nacme1 ansible_user=me")
    file = _file(text)
    assert file["hosts"] == {
        "acme1": {"address": "10.0.0.1", "roles": ["consul", "carrier", "admin"]}
    }
    (note,) = _notes(text, "acme1, 10.0.0.1")
    assert "one machine" in note


def test_one_machine_under_several_names_has_several_instances() -> None:
    text = _least(
        "data_port = [8700, 8710]",
        "[data]",
        'd1 ansible_ssh_host="10.0.0.4"',
        "d2 ansible_ssh_host='10.0.0.4'",
    )
    assert _file(text)["hosts"]["d1"] == {
        "address": "10.0.0.4",
        "roles": ["data", {"data": {"port": 8710}}],
    }


def test_a_host_twice_in_a_group_counts_once_and_is_told() -> None:
    text = _least("data_port = [8700]", "[data]", "10.0.0.4", "10.0.0.4")
    assert _file(text)["hosts"]["node-10-0-0-4"]["roles"] == ["data"]
    (note,) = [note for note in _notes(text, "10.0.0.4") if "again" in note]
    assert note.startswith(f"[{text.splitlines().index('10.0.0.4') + 2}]")


def test_a_host_of_no_role_is_told() -> None:
    (note,) = _notes(_least("[consuls]", "10.0.0.9"), "[consuls]")
    assert "10.0.0.9, in no group of a role: did you mean [consul]?" in note


@pytest.mark.parametrize(
    ("group", "meant"),
    [
        ("computes", ": did you mean [compute]?"),
        ("fighter", ": did you mean [data] or [compute]?"),
        ("Admin", ": did you mean [admin]?"),
        ("CONSUL", ": did you mean [consul]?"),
        ("monitoring", ""),
    ],
)
def test_a_group_of_no_role_is_told_where_its_hosts_have_roles_too(group: str, meant: str) -> None:
    text = _least("[data]", "10.0.0.1", "10.0.0.2", f"[{group}]", "10.0.0.1", "10.0.0.2  # both")
    assert _file(text)["hosts"]["node-10-0-0-2"]["roles"] == ["data"]
    first = _line(text, f"[{group}]") + 1
    assert _notes(text, f"[{group}]") == [
        f"[{first}, {first + 1}] is no group of a role, so 10.0.0.1, 10.0.0.2 got no role from it"
        f"{meant}"
    ]


def test_of_a_group_of_no_role_each_host_is_told_once() -> None:
    text = _least("[computes]", "10.0.0.1", "10.0.0.9")
    stray, idle = sorted(_notes(text, "[computes]"))
    assert "so 10.0.0.1 got no role" in stray
    assert "not carried over: 10.0.0.9, in no group of a role" in idle


def test_groups_that_a_role_s_group_is_in_or_has_in_it_are_not_told() -> None:
    text = _least(
        "[acme:children]",
        "consul",
        "carrier",
        "[acme]",
        "10.0.0.1",
        "[data:children]",
        "racks",
        "[racks:children]",
        "rack1",
        "[rack1]",
        "10.0.0.4",
        "[all]",
        "10.0.0.4",
    )
    assert _file(text)["hosts"]["node-10-0-0-4"]["roles"] == ["data"]
    assert not any("got no role" in note["why"] for note in _made(text)["notes"])


def test_a_cluster_s_name_is_made_one_that_consul_takes() -> None:
    text = LEAST.replace("= acme", "= Acme_Cluster 1")
    assert _file(text)["cluster_name"] == "acme-cluster-1"
    assert _made(text)["org"] == "acme-cluster-1"
    (note,) = _notes(text, "cluster_name")
    assert "became acme-cluster-1" in note


def test_an_organization_may_be_named() -> None:
    assert _made(LEAST, "other")["org"] == "other"
    assert _made(LEAST.replace("= acme", "= 组织"), "other")["org"] == "other"
    for text in (LEAST.replace("= acme", "= 组织"), LEAST.replace("cluster_name = acme", "")):
        assert "org=..." in _only_fault(text)
    assert "is not filled in" in _only_fault(LEAST.replace("= acme", "= ${name}"))
    (fault,) = metis_inventory.convert(LEAST, "../up")["faults"]
    assert fault["what"] == "org"


def test_a_data_center_that_somebody_put_there_is_carried() -> None:
    text = _least("dataCenter_ip = 203.0.113.7", "dataCenter_port = 9091")
    assert _file(text)["data_center"] == {"address": "203.0.113.7", "port": 9091}


def test_what_a_role_lacks_that_is_switched_off_is_no_fault() -> None:
    text = _least("enable_deploy_ice_via = False", "ice_via_external_ip = ${IP}")
    assert _file(text)["ice_via"] == {"enabled": False}
    (note,) = _notes(text, "ice_via_external_ip")
    assert "ice_via is switched off" in note


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (["[data]", "${IP} ansible_ssh_user=a"], "[data]"),
        (["[data:children]", "racks", "[racks]", "${IP}"], "[racks]"),
        (["[data]", "acme4 ansible_host=${IP}"], "ansible_host of acme4"),
    ],
)
def test_a_host_that_is_not_filled_in_is_no_fault_where_its_role_is_switched_off(
    lines: list[str], what: str
) -> None:
    text = _least("enable_deploy_data = False", *lines)
    file = _file(text)
    assert (set(file["hosts"]), file["data"]) == ({"node-10-0-0-1"}, {"enabled": False})
    (note,) = _notes(text, what)
    assert note.startswith(f"[{_line(text, lines[-1])}] ")
    assert "not filled in, and data is switched off" in note
    assert "not filled in: write" in _only_fault(text.replace("[data", "[compute"))


def test_a_host_that_is_not_filled_in_is_a_fault_where_one_of_its_roles_is_on() -> None:
    lines = ["[data:children]", "racks", "[compute:children]", "racks", "[racks]", "${IP}"]
    assert "[racks] has a host" in _only_fault(_least("enable_deploy_data = False", *lines))
    off = _least("enable_deploy_data = False", "enable_deploy_compute = False", *lines)
    (note,) = _notes(off, "[racks]")
    assert "data and compute are switched off" in note


def test_an_unknown_variable_is_told_with_the_nearest() -> None:
    text = _least("carrier_rcp_port = 1", "frobnicate = 2")
    (near,) = _notes(text, "carrier_rcp_port")
    assert near.startswith(f"[{_line(text, 'carrier_rcp')}] not carried over")
    assert "did you mean carrier_rpc_port?" in near
    (far,) = _notes(text, "frobnicate")
    assert "did you mean" not in far


def test_the_last_of_two_counts_and_it_is_told() -> None:
    text = _least("admin_web_port = 9191", "admin_web_port = 9292")
    assert _file(text)["admin"]["web_port"] == 9292
    (note,) = _notes(text, "admin_web_port")
    first, second = (_line(text, f"admin_web_port = {port}") for port in (9191, 9292))
    assert note == f"[{first}] not carried over: admin_web_port on line {second} counts"
    text = _least("[admin:vars]", "admin_web_port = 9191", "[all:vars]", "admin_web_port = 9292")
    assert _file(text)["admin"]["web_port"] == 9191


# The highest last, as Ansible ranks them for a host of admin.
_RANKED = ["[data:vars]", "[all:vars]", "[node:vars]", "[admin:vars]", "[consoles:vars]"]


@pytest.mark.parametrize(("low", "high"), itertools.combinations(_RANKED, 2))
def test_of_two_groups_the_one_counts_that_is_nearer_to_the_variable_s_role(
    low: str, high: str
) -> None:
    groups = ["[node:children]", "admin", "[admin:children]", "consoles", "[consoles]", "10.0.0.1"]
    below = [low, "admin_web_port = 9191"]
    above = [high, "admin_web_port = 9292"]
    for lines in ([*below, *above], [*above, *below]):
        text = _least(*groups, "[data]", "10.0.0.4", *lines)
        assert _file(text)["admin"]["web_port"] == 9292
        (note,) = _notes(text, "admin_web_port")
        line, other = (_line(text, f"admin_web_port = {port}") for port in (9191, 9292))
        assert note == f"[{line}] not carried over: admin_web_port on line {other} counts"


def test_what_only_a_group_of_another_role_says_counts() -> None:
    text = _least("[data]", "10.0.0.4", "[data:vars]", "admin_web_port = 9191")
    assert _file(text)["admin"]["web_port"] == 9191


def test_what_belongs_to_no_role_counts_where_it_is_read() -> None:
    lines = ["[carrier:vars]", "dataCenter_ip = 203.0.113.7", "dataCenter_port = 9091"]
    lines += ["[consul:vars]", "cluster_name = right", "dataCenter_ip = 203.0.113.8"]
    lines += ["[data:vars]", "cluster_name = wrong", "[via:vars]", "via_port = 20031"]
    file = _file(_least(*lines, "[data:vars]", "ice_glacier2_port = 20032"))
    assert file["data_center"] == {"address": "203.0.113.7", "port": 9091}
    assert file["cluster_name"] == "right"
    assert file["ice_via"] == {"glacier2_port": 20031}


def test_a_variable_on_the_line_of_the_only_host_is_carried() -> None:
    text = LEAST.replace("[admin]\n10.0.0.1", "[admin]\n10.0.0.1 admin_web_port=9191")
    assert _file(text)["admin"]["web_port"] == 9191
    text = LEAST.replace("[admin]\n10.0.0.1", "[admin]\n10.0.0.1 data_port=9191")
    (note,) = _notes(text, "data_port")
    assert "from a host's line" in note


@pytest.mark.parametrize(
    "password",
    [
        "pa#ss;word-1234",
        "'sp ace #1 and \" too'",
        '"quo\\"ted # pass"',
        "{{'".replace("{{", "{#") + "jinja-1234",
        "yes-vw2-pp0-Lq7",
        "7351942860417",
        "tr\u00e4um\u00b7密码密码密码密码",
    ],
)
def test_a_password_stays_what_it_is(password: str) -> None:
    file = _file(_least(f"admin_password = {password}"))
    plain = password[1:-1].replace('\\"', '"') if password[0] in "'\"" else password
    assert file["admin"] == {"mysql_password": plain}


def test_a_comment_behind_a_bare_password_is_told() -> None:
    text = _least("admin_password = kX9-vw2-pp0-Lq7  # changed in May")
    assert _file(text)["admin"] == {"mysql_password": "kX9-vw2-pp0-Lq7"}
    (note,) = _notes(text, "admin_password")
    assert "Ansible took the comment into the password" in note


# TLS


def test_tls_is_carried_without_what_is_weak() -> None:
    text = inventory.changed(FILLED, enable_tls="True", ice_protocol="ssl")
    file = _file(text)
    admin = file["admin"]
    assert admin["enable_tls"] is True
    assert admin["server_name"] == "metis-admin.demo.network"
    assert admin["ssl_protocols"] == ["TLSv1.2"]
    good = ["ECDHE-RSA-AES256-GCM-SHA384", "DHE-RSA-AES128-SHA", "!aNULL", "!RC4"]
    assert set(good) < {*admin["ssl_ciphers"].split(":")}
    # Neither these nor what HIGH selects have forward secrecy.
    (note,) = _notes(text, "admin_ssl_ciphers")
    for weak in ("AES256-GCM-SHA384", "AES128-SHA", "ECDHE-RSA-DES-CBC3-SHA", "HIGH"):
        assert weak not in admin["ssl_ciphers"].split(":")
        assert f" {weak}" in note
    assert file["ice_via"]["protocol"] == "ssl"
    assert any("without the certificate" in note for note in _notes(text, "enable_tls"))


def test_tls_that_is_the_default_is_not_written() -> None:
    text = inventory.changed(
        FILLED, enable_tls="on", admin_ssl_protocols="TLSv1.2 TLSv1.3", admin_ssl_ciphers="RC4-SHA"
    )
    assert set(_file(text)["admin"]) == {"enable_tls", "server_name", "mysql_password"}
    assert any("RC4-SHA is too weak" in note for note in _notes(text, "admin_ssl_ciphers"))


@pytest.mark.parametrize(
    ("ciphers", "carried"),
    [
        ("HIGH:!aNULL:!kRSA:!PSK:!SRP", "HIGH:!aNULL:!kRSA:!PSK:!SRP"),
        ("-kRSA:HIGH:!aNULL:!PSK", None),
        ("ECDHE+AESGCM:+AES256", "ECDHE+AESGCM:+AES256"),
        ("ECDHE+AESGCM:-ECDHE", None),
        ("!aNULL:!MD5", None),
        ("ECDHE+AESGCM:ECDHE/AESGCM", "ECDHE+AESGCM"),
    ],
)
def test_ciphers_are_carried_as_far_as_the_file_may_have_them(
    ciphers: str, carried: str | None
) -> None:
    text = inventory.changed(FILLED, enable_tls="True", admin_ssl_ciphers=ciphers)
    assert _file(text)["admin"].get("ssl_ciphers") == carried
    told = [note for note in _notes(text, "admin_ssl_ciphers") if "not carried over" in note]
    assert bool(told) is (carried != ciphers)


# Comments


def test_comments_stand_where_what_they_are_about_went() -> None:
    text = "# of acme\n; since 2022\n" + _least(
        "# behind the firewall",
        "carrier_rpc_port = 20033   # moved",
        "admin_web_port = 9090 # as ever",
        "[data]",
        "# rented until March",
        "10.0.0.4  # rack 7",
    )
    lines = _made(text)["text"].splitlines()
    at = lines.index("metis:")
    assert lines[at - 2 : at] == ["# of acme", "# since 2022"]
    at = lines.index("    rpc_port: 20033  # moved")
    assert lines[at - 1] == "    # behind the firewall"
    at = lines.index("    node-10-0-0-4: {address: 10.0.0.4, roles: [data]}")
    assert lines[at - 2 : at] == ["    # rented until March", "    # rack 7"]
    assert lines[-2] == "# What else the inventory has in comments, by its lines:"
    assert lines[-1] == f"#   {_line(text, 'admin_web_port')}: as ever"


def test_every_comment_of_the_template_is_kept_once() -> None:
    made = _made(FILLED)["text"]
    said = [comment.strip() for comment in re.findall(r"#(.*)", FILLED)]
    assert len(said) > 20
    for comment in said:
        assert len(re.findall(rf"{re.escape(comment)}$", made, re.M)) == said.count(comment)


def test_a_comment_with_a_password_is_not_kept() -> None:
    lines = ["#10.0.0.9 ansible_ssh_pass=hunter2", "# 密码是 hunter2", "# the password is hunter2"]
    lines.append("data_port = 8700 # 旧密码\uff1ahunter2")
    made = _made(_least(*lines, "[data]", "10.0.0.4"))
    assert "hunter2" not in repr(made)
    assert [n["lines"] for n in made["notes"] if n["what"] == "a comment"] == [
        [_line(_least(*lines), line) for line in lines]
    ]


def test_a_comment_is_nothing_for_jinja() -> None:
    text = _least("# {{ boom }} {% raw %} {# no end", "carrier_rpc_port = 20033")
    assert _file(text)["carrier"]["rpc_port"] == 20033


# Faults


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("carrier_rpc_port = 1o033", "carrier_rpc_port is '1o033', and a port is a number"),
        ("carrier_rpc_port = 70000", "from 1 to 65535"),
        ("enable_deploy_data = perhaps", "is 'perhaps': write True or False"),
        ("ice_protocol = udp", "write tcp or ssl"),
        ("consul_http_port = [8500, x]", "consul_http_port is 'x'"),
        ("admin_password = ${ 密码 }", "admin_password is not filled in"),
        ("admin_password = {{ vault_password }}", "is for Ansible to fill in"),
        ('admin_password = "hunter2', "a quote that is not closed"),
        ("admin_password hunter2", "[all:vars] has a line that is not `name = value`"),
        ("[data", "is no group"),
        ("[data:host]", "is no group"),
        ("[data]\n10.0.0.4 ansible_ssh_pass=a b", "not name=value"),
        ('[data]\n10.0.0.4 ansible_ssh_pass="a', "a quote that is not closed"),
        ("[data]\nadmin_password = hunter2", "an assignment where hosts stand"),
        ("[data]\nadmin_password: hunter2", "an assignment where hosts stand"),
        ("[data]\nadmin_password=hunter2", "an assignment where hosts stand"),
        ("[data]\nacme4", "acme4 is no IPv4 address"),
        ("[data]\nacme4 ansible_host=acme4.example", "ansible_host of acme4 is no IPv4 address"),
        ("[data]\nacme4 ansible_host=${IP}", "ansible_host of acme4 is not filled in"),
        ("[data]\n10.0.0.400", "10.0.0.400 is no IPv4 address"),
        ("[data]\nfe80::1", "does not begin with a host's name"),
        ("[data]\n10.0.0.[9:4]", "ends before it begins"),
        ("[data]\n10.0.[0:255].[0:255]", "more than 256 hosts"),
        ("[data]\n10.0.0.[1:999999999]", "more than 256 hosts"),
        ("[data:children]\nnowhere", "names a group that is not there"),
        ("[data:children]\nx\n[x:children]\ndata", "in a circle"),
    ],
)
def test_what_cannot_be_read_has_its_line_and_why(line: str, words: str) -> None:
    text = _least(line)
    ((lines, fault),) = _faults(text)
    assert words in fault
    assert "hunter2" not in fault
    # The line is the last, but for the circle, which closes there.
    assert lines == [len(text.splitlines())] or "in a circle" in fault or "no group" in fault


def test_all_faults_are_told_at_once_in_order() -> None:
    text = _least("carrier_rpc_port = x", "what is this", "[data]", "${IP}", "[compute", "1 2 3")
    first = len(LEAST.splitlines()) + 1
    assert [lines for lines, _ in _faults(text)] == [[first + n] for n in (0, 1, 3, 4)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "[1] the file has no [group]"),
        ("all:\n  hosts:\n", "has no [group]"),
        ("$ANSIBLE_VAULT;1.1;AES256\n6162\n", "ansible-vault decrypt"),
        ("[all:vars]\ncluster_name = acme\n", "has no host in a group of a role"),
    ],
)
def test_what_is_no_inventory_is_told(text: str, words: str) -> None:
    assert words in _only_fault(text)


def test_what_the_rest_of_the_project_objects_to_does_not_keep_the_file_back() -> None:
    made = _made(_least("admin_password = short", "[consul]", "10.0.0.2"))
    places = {fault["place"] for fault in inventory.built(made)["faults"]}
    assert "admin.mysql_password" in places
    assert any("roles" in place for place in places)


# Whatever is in it

_CHARACTERS = st.sampled_from([*"[]:=#;\"'\\${}%,\n\r\t 09aZ_-.", "\ufeff", "\u2028", "组", "\0"])


@st.composite
def _mangled(draw: st.DrawFn) -> str:
    lines = FILLED.splitlines()
    for _ in range(draw(st.integers(1, 8))):
        at = draw(st.integers(0, len(lines) - 1))
        how = draw(st.sampled_from(["drop", "copy", "swap", "cut", "put", "replace"]))
        other = draw(st.integers(0, len(lines) - 1))
        place = draw(st.integers(0, len(lines[at])))
        if how == "drop" and len(lines) > 1:
            del lines[at]
        elif how == "copy":
            lines.insert(other, lines[at])
        elif how == "swap":
            lines[at], lines[other] = lines[other], lines[at]
        elif how == "cut":
            lines[at] = lines[at][:place]
        elif how == "put":
            text = draw(st.text(_CHARACTERS, max_size=6))
            lines[at] = lines[at][:place] + text + lines[at][place:]
        else:
            lines[at] = draw(st.text(_CHARACTERS | st.characters(), max_size=30))
    return "\n".join(lines)


def _holds(text: str) -> None:
    made = metis_inventory.convert(text, "acme")
    assert bool(made["faults"]) == (made["text"] is None)
    last = len(re.split(r"\r\n|\r|\n", text))
    for said in (*made["faults"], *made["notes"]):
        assert all(1 <= line <= last for line in said["lines"])
        assert said["what"]
        assert said["why"]
    if made["text"] is not None:
        for fault in inventory.built(made)["faults"]:
            assert fault["place"]


_common = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_common
@given(_mangled())
@example("[consul]\n10.0.0.[1:1]" + "[1:1]" * 2000)
@example("[all:vars]\ndata_port = " + "9" * 5000 + "\n[data]\n10.0.0.1")
@example("\n".join(f"[a{n}:children]\na{n + 1}" for n in range(2000)) + "\n[a2000]\n10.0.0.1")
@example("[data]\n" + "[" * 1000 + "\n10.0.0.1 " + "\\" * 7)
def test_a_mangled_inventory_is_a_file_or_has_faults(text: str) -> None:
    _holds(text)


@_common
@given(st.text(_CHARACTERS | st.characters(exclude_categories=["Cs"])))
def test_any_text_is_a_file_or_has_faults(text: str) -> None:
    _holds(text)
    _holds(LEAST + text)
    _holds("[data]\n10.0.0.1 " + text)
