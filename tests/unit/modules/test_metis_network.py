"""Which host has to reach which, on which port."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from _modules import metis_findings, metis_network
from tests.unit import facts, orgs

Data = dict[str, Any]
Finding = dict[str, str]


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    pure = orgs.wired()
    functions = next(iter(pure.values()))["__salt__"]
    functions |= orgs.by_salts_name(metis_findings)
    return pure | {module: {"__salt__": functions} for module in (metis_findings, metis_network)}


@pytest.fixture
def topology() -> Data:
    return orgs.topology()


@pytest.fixture
def asked(topology: Data) -> dict[str, Data]:
    return facts.asked(topology)


def _ways(*roles: str) -> dict[tuple[str, str], set[str]]:
    """From and to -> ports, for the instances of these roles, or for all."""
    topology = orgs.topology()
    instances = [i for i in topology["instances"] if not roles or i["role"] in roles]
    found: dict[tuple[str, str], set[str]] = {}
    for flow in metis_network.flows(topology, instances):
        ports = found.setdefault((flow["from"], flow["to"]), set())
        assert f"{flow['port']}/{flow['protocol']}" not in ports
        ports.add(f"{flow['port']}/{flow['protocol']}")
    return found


RAFT = {"8200/tcp", "8300/tcp", "8300/udp", "8400/tcp", "8400/udp"}


def test_every_way_of_the_network_table_is_there_and_no_other() -> None:
    # h1 has consul, the agent of all, and carrier; h2 admin; h3 ice_via; h4 the fighters.
    assert _ways() == {
        ("h2", "h1"): RAFT | {"8500/tcp", "10033/tcp"},
        ("h3", "h1"): RAFT,
        ("h4", "h1"): {"8500/tcp", "10033/tcp"},
        ("h1", "h2"): RAFT | {"9090/tcp"},
        ("h3", "h2"): RAFT,
        ("h1", "h3"): RAFT,
        ("h2", "h3"): RAFT,
        ("h4", "h3"): {"10032/tcp"},
        ("h1", "h4"): {"8700/tcp", "8701/tcp", "8800/tcp"},
        ("h2", "h4"): {"8700/tcp", "8701/tcp"},
        ("h3", "h4"): {"31100/tcp", "41100/tcp"},
        ("h1", "the data center"): {"9090/tcp"},
    }


def test_a_filter_leaves_the_ways_to_and_from_what_is_meant() -> None:
    # Both ends are on hosts that the verb means: h1 for carrier, and h2 for admin.
    assert _ways("carrier", "admin") == {
        ("h2", "h1"): {"8500/tcp", "10033/tcp"},
        ("h1", "h2"): {"9090/tcp"},
        ("h1", "the data center"): {"9090/tcp"},
    }
    assert _ways("data") == {}


def test_who_listens_and_who_connects_is_told() -> None:
    topology = orgs.topology()
    flows = metis_network.flows(topology, topology["instances"])
    (way,) = [f for f in flows if (f["from"], f["port"]) == ("h4", 10033)]
    assert (way["of"], way["address"]) == ("carrier@h1", "10.0.0.1")
    assert way["by"] == ["data@h4:8700", "data@h4:8701", "compute@h4:8800"]


def test_a_role_that_is_switched_off_needs_nothing() -> None:
    topology = orgs.topology(orgs.org_file(carrier={"enabled": False}))
    flows = metis_network.flows(
        topology, [i for i in topology["instances"] if i["role"] != "carrier"]
    )
    assert "carrier@h1" not in {flow["of"] for flow in flows}
    assert "the data center" not in {flow["to"] for flow in flows}


# What has to be tried


def _probes(topology: Data, seen: dict[str, Data], whole: bool = False) -> dict[str, Data]:
    flows = metis_network.flows(topology, topology["instances"])
    args = (flows, topology["instances"], seen, whole)
    found: dict[str, Data] = metis_network.probes(*args)
    return found


def _all_run(topology: Data, seen: dict[str, Data]) -> None:
    for instance in topology["instances"]:
        seen[instance["host"]]["up"] += instance["units"]
    for found in seen.values():
        for port in found["ports"]:
            port["own"] = True


def test_before_the_first_start_every_way_is_tried_with_listeners(
    topology: Data, asked: dict[str, Data]
) -> None:
    tried = _probes(topology, facts.seen(asked))
    assert ["tcp", "10.0.0.1", 8500, True] in tried["h4"]["connect"]
    assert ["udp", "10.0.0.2", 8300, True] in tried["h1"]["connect"]
    assert ["tcp", 8500, "h4"] in tried["h1"]["expect"]
    assert ["tcp", 31100, "h3"] in tried["h4"]["expect"]
    # The data center is there already.
    assert ["tcp", "10.0.0.100", 9090, False] in tried["h1"]["connect"]
    assert {host: own["address"] for host, own in tried.items()} == topology["hosts"]


def test_of_what_runs_a_deploy_tries_nothing(topology: Data, asked: dict[str, Data]) -> None:
    seen = facts.seen(asked)
    _all_run(topology, seen)
    assert _probes(topology, seen) == {}


def test_a_check_connects_to_what_runs_and_listens_nowhere(
    topology: Data, asked: dict[str, Data]
) -> None:
    seen = facts.seen(asked)
    _all_run(topology, seen)
    tried = _probes(topology, seen, whole=True)
    assert all(own["expect"] == [] for own in tried.values())
    connect = [entry for own in tried.values() for entry in own["connect"]]
    assert ["tcp", "10.0.0.1", 8500, False] in connect
    # A running consul gives nothing back over udp, and running fighters need their task ports.
    assert {entry[0] for entry in connect} == {"tcp"}
    assert not {31100, 41100} & {entry[2] for entry in connect}


def test_a_new_instance_s_ways_are_tried_and_no_others(
    topology: Data, asked: dict[str, Data]
) -> None:
    seen = facts.seen(asked)
    _all_run(topology, seen)
    seen["h4"]["up"].remove("metis-compute@8800.service")
    for port in seen["h4"]["ports"]:
        port["own"] = port["port"] != 8800
    tried = _probes(topology, seen)
    assert tried["h4"]["connect"] == [
        ["tcp", "10.0.0.1", 8500, False],
        ["tcp", "10.0.0.1", 10033, False],
        ["tcp", "10.0.0.3", 10032, False],
    ]
    assert tried["h4"]["expect"] == [["tcp", 8800, "h1"], ["tcp", 41100, "h3"]]
    assert tried["h1"]["connect"] == [["tcp", "10.0.0.4", 8800, True]]
    assert "h2" not in tried


def test_nobody_listens_in_the_way_of_a_program_that_systemd_starts_again(
    topology: Data, asked: dict[str, Data]
) -> None:
    seen = facts.seen(asked)
    seen["h1"]["up"] = ["metis-carrier.service"]
    seen["h2"]["up"] = ["mariadb.service"]
    tried = _probes(topology, seen)
    assert 10033 not in {port for _, port, _ in tried["h1"]["expect"]}
    # Who brought a MariaDB along has no admin for that.
    assert ["tcp", 9090, "h1"] in tried["h2"]["expect"]


def test_a_stranger_s_port_is_not_tried(topology: Data, asked: dict[str, Data]) -> None:
    seen = facts.seen(asked)
    for port in seen["h1"]["ports"]:
        port["others"] = ["nc (process 7)"] if port["port"] == 8500 else []
    assert ["tcp", 8500, "h4"] not in _probes(topology, seen)["h1"]["expect"]


def _reached(topology: Data, seen: dict[str, Data], **wrong: Data) -> list[Finding]:
    flows = metis_network.flows(topology, topology["instances"])
    tried = _probes(topology, seen)
    answers: dict[str, Data] = {
        host: {"unreached": [], "taken": []} | wrong.get(host, {}) for host in tried
    }
    found: list[Finding] = metis_network.reached(flows, tried, answers)
    return found


def test_ways_that_are_open_are_told_by_pairs_of_hosts(
    topology: Data, asked: dict[str, Data]
) -> None:
    found = _reached(topology, facts.seen(asked))
    assert {one["result"] for one in found} == {"ok"}
    (way,) = [one for one in found if (one["host"], one["what"]) == ("h4", "way to h1")]
    assert way["found"] == "8500/tcp, 10033/tcp"


def test_a_blocked_port_is_a_failure_with_both_hosts(
    topology: Data, asked: dict[str, Data]
) -> None:
    blocked = {"unreached": [["tcp", "10.0.0.3", 10032, "no answer"]]}
    found = [
        one for one in _reached(topology, facts.seen(asked), h4=blocked) if one["result"] != "ok"
    ]
    assert found == [
        {
            "host": "h4",
            "what": "way to h3",
            "result": "failure",
            "found": "none on 10032/tcp: no answer",
            "advice": "open 10032/tcp of 10.0.0.3 to h4 in every firewall between",
        }
    ]


def test_ports_of_one_way_that_are_blocked_alike_are_one_finding(
    topology: Data, asked: dict[str, Data]
) -> None:
    ports = [("tcp", 8200), ("tcp", 8300), ("udp", 8300)]
    blocked = {"unreached": [[p, "10.0.0.2", n, "no answer"] for p, n in ports]}
    failures = [o for o in _reached(topology, facts.seen(asked), h1=blocked) if o["result"] != "ok"]
    assert [one["found"] for one in failures] == ["none on 8200/tcp, 8300/tcp, 8300/udp: no answer"]


def test_the_data_center_that_is_not_there_is_a_failure(
    topology: Data, asked: dict[str, Data]
) -> None:
    away = {"unreached": [["tcp", "10.0.0.100", 9090, "Connection refused"]]}
    (one,) = [o for o in _reached(topology, facts.seen(asked), h1=away) if o["result"] != "ok"]
    assert (one["host"], one["what"]) == ("h1", "way to the data center")


def test_a_way_that_could_not_be_tried_is_called_so(topology: Data, asked: dict[str, Data]) -> None:
    taken = {"taken": [["tcp", 31100, "Address already in use"]]}
    refused = {"unreached": [["tcp", "10.0.0.4", 31100, "Connection refused"]]}
    found = _reached(topology, facts.seen(asked), h4=taken, h3=refused)
    (one,) = [one for one in found if one["result"] != "ok"]
    assert (one["host"], one["what"], one["result"]) == ("h4", "port 31100/tcp", "warning")
