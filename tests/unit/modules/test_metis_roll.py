"""A roll over instances: who is asked for consul's leader, and who is next."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_ask, metis_roll, metis_run
from tests.unit import orgs
from tests.unit.states.fleet import Answer, Fleet, gone, returned


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def configure_loader_modules(fleet: Fleet) -> dict[ModuleType, dict[str, Any]]:
    pure = orgs.wired()
    functions = next(iter(pure.values()))["__salt__"]
    functions |= orgs.by_salts_name(metis_ask, metis_run) | {"metis_fleet.run": fleet.function}
    functions["metis_fleet.up"] = lambda addresses: dict.fromkeys(addresses, True)
    functions["metis_fleet.refused_keys"] = dict
    own = {"__salt__": functions, "__opts__": {"test": False}, "__context__": {}}
    return pure | dict.fromkeys((metis_ask, metis_roll, metis_run), own)


@pytest.fixture
def servers() -> list[dict[str, Any]]:
    metis_run.begin("restart", ["the last"])
    topology = orgs.topology()
    metis_run.now().update({"topology": topology, "org": "acme"})
    return [i for i in topology["instances"] if i["role"] == "consul"]


def _leads(address: str) -> Answer:
    return returned({"leader": f"{address}:8200" if address else "", "peers": []})


def test_the_leader_is_next_when_it_is_the_last(fleet: Fleet, servers: list[Any]) -> None:
    fleet.on("h1", "metis_consul.cluster", _leads(servers[0]["address"]))
    assert metis_roll.following(servers) is servers[1]
    assert metis_roll.following([servers[0], servers[2]]) is servers[2]
    fleet.jobs.clear()
    assert metis_roll.following([servers[0]]) is servers[0]
    assert fleet.jobs == []


def test_another_server_is_asked_where_one_does_not_know(fleet: Fleet, servers: list[Any]) -> None:
    fleet.on("h1", "metis_consul.cluster", gone("silent"))
    fleet.on("h2", "metis_consul.cluster", _leads(""))
    fleet.on("h3", "metis_consul.cluster", _leads("10.0.0.3"))
    assert metis_roll.leader() == "10.0.0.3:8200"
    fleet.on("h3", "metis_consul.cluster", _leads(""))
    with pytest.raises(CommandExecutionError) as raised:
        metis_roll.leader()
    for words in ("h1 does not answer", "consul@h2 knows no leader", "consul@h3 knows no leader"):
        assert words in str(raised.value)


def test_other_roles_go_in_their_order(fleet: Fleet, servers: list[Any]) -> None:
    fighters = [i for i in metis_run.now()["topology"]["instances"] if i["host"] == "h4"]
    assert metis_roll.following(fighters) is fighters[0]
    assert fleet.jobs == []


def test_quorum_is_of_all_servers(fleet: Fleet, servers: list[Any]) -> None:
    fleet.on("h2", "metis_consul.wait_for_quorum", returned(""))
    assert metis_roll.quorum(servers[1]) == []
    (_, hosts, asked) = fleet.jobs[-1]
    assert (hosts, asked["peers"]) == (["h2"], 3)
    fleet.on("h2", "metis_consul.wait_for_quorum", returned("consul_10.0.0.3 is failed"))
    assert metis_roll.quorum(servers[1]) == ["consul_10.0.0.3 is failed"]


def test_a_look_that_fails_names_each_host(fleet: Fleet, servers: list[Any]) -> None:
    fleet.on("h1", "metis_instance.status", returned([{"id": "consul@h1"}]))
    metis_roll.look(["h1"])
    assert metis_roll.found(servers[0]) == {"id": "consul@h1"}
    assert metis_roll.found(servers[1]) is None
    for host, how in (("h2", "silent"), ("h3", "missing")):
        fleet.on(host, "metis_instance.status", gone(how))
    with pytest.raises(CommandExecutionError) as raised:
        metis_roll.look(["h1", "h2", "h3"])
    assert "h2 does not answer" in str(raised.value)
    assert "h3 is not a minion of this master" in str(raised.value)
