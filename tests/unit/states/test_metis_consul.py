"""The gates of consul, over the real consul: what they wait for, write, and say when it fails."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_consul as consul_module
from _states import metis_consul
from tests.unit.sandbox.running import call
from tests.unit.states.predicted import told_and_done
from tests.unit.systemd import Systemd, Unit, up

Agent = dict[str, Any]
Registers = Callable[..., dict[str, str]]
UNIT = "metis-consul.service"
JOURNAL = ["consul[7]: agent: failed to sync", "consul[7]: agent: no cluster leader"]


@pytest.fixture
def systemd() -> Systemd:
    found = Systemd()
    found.units[UNIT] = up(1000.0, journal=JOURNAL)
    return found


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], systemd: Systemd
) -> dict[ModuleType, dict[str, Any]]:
    return systemd.wired(metis_consul, opts, consul_module)


def _explained(done: dict[str, Any], *words: str) -> None:
    """A failure that has its cause, the unit's state and the end of its journal."""
    assert (done["result"], done["changes"]) == (False, {})
    cause, state, *journal = done["comment"].splitlines()
    for word in words:
        assert word in cause
    assert state == f"{UNIT} is active (running); the end of its journal:"
    assert journal == JOURNAL


def _predicted(opts: dict[str, Any], apply: Callable[[], dict[str, Any]], word: str) -> None:
    """In a dry run, what is not there yet may come."""
    opts["test"] = True
    told = apply()
    assert told["result"] is None
    assert told["changes"] == {}
    assert word in told["comment"]


# The cluster


def test_a_cluster_is_ready(opts: dict[str, Any], agent: Agent) -> None:
    done = told_and_done(
        opts, lambda: metis_consul.cluster_ready("c", agent, 1, UNIT), lambda: None
    )
    assert done["changes"] == {}
    assert "1 peers: 127.0.0.1:" in done["comment"]


def test_missing_peers_are_counted(opts: dict[str, Any], agent: Agent) -> None:
    def apply() -> dict[str, Any]:
        return metis_consul.cluster_ready("c", agent, 3, UNIT, timeout=0.1)

    _explained(apply(), "1 of 3 peers: 127.0.0.1:")
    _predicted(opts, apply, "1 of 3 peers")


def test_a_server_of_no_cluster_is_not_ready(opts: dict[str, Any], leaderless: Agent) -> None:
    def apply() -> dict[str, Any]:
        return metis_consul.cluster_ready("c", leaderless, 3, UNIT, timeout=0.1)

    _explained(apply(), "leader ''", "0 of 3 peers: none")
    _predicted(opts, apply, "0 of 3 peers")


def test_a_server_that_does_not_run_is_not_ready(opts: dict[str, Any], closed: Agent) -> None:
    def apply() -> dict[str, Any]:
        return metis_consul.cluster_ready("c", closed, 1, UNIT, timeout=0.1)

    _explained(apply(), f"consul at 127.0.0.1:{closed['port']} cannot be reached")
    _predicted(opts, apply, "cannot be reached")


# Keys


@pytest.fixture
def key() -> str:
    return f"metis/test{uuid.uuid4().hex[:8]}_ip_port"


def _kept(agent: Agent, key: str) -> tuple[int, str]:
    return call("GET", agent["port"], f"/v1/kv/{key}?raw")


def test_a_key_is_written_and_written_again_when_the_address_changes(
    opts: dict[str, Any], agent: Agent, key: str
) -> None:
    old = None
    for value in ("10.0.0.1_9090", "10.0.0.2_9090"):

        def apply(value: str = value) -> dict[str, Any]:
            return metis_consul.key_present(key, agent, value, UNIT)

        done = told_and_done(opts, apply, lambda: _kept(agent, key))
        assert done["changes"] == {key: {"old": old, "new": value}}
        assert _kept(agent, key) == (200, value)
        old = value


def test_without_a_leader_a_key_is_not_known(
    opts: dict[str, Any], systemd: Systemd, leaderless: Agent, key: str
) -> None:
    done = metis_consul.key_present(key, leaderless, "10.0.0.1_9090", UNIT)
    assert (done["result"], done["changes"]) == (False, {})
    assert "No cluster leader" in done["comment"]
    assert "the end of its journal:" in done["comment"]
    opts["test"] = True
    told = metis_consul.key_present(key, leaderless, "10.0.0.1_9090", UNIT)
    # consul was deployed, and keeps what was written then.
    assert (told["result"], told["changes"]) == (None, {})
    assert "No cluster leader" in told["comment"]
    del systemd.units[UNIT]
    told = metis_consul.key_present(key, leaderless, "10.0.0.1_9090", UNIT)
    assert told["changes"] == {key: {"old": None, "new": "10.0.0.1_9090"}}


# Registrations that must be


def test_a_service_passes(opts: dict[str, Any], agent: Agent, registers: Registers) -> None:
    service = registers("passing")
    done = told_and_done(
        opts, lambda: metis_consul.service_passing("s", agent, service, UNIT), lambda: None
    )
    assert done["comment"] == f"{service['id']} passes"


def test_a_program_that_registered_another_address_is_named(
    agent: Agent, registers: Registers
) -> None:
    there = registers("passing")
    other = {"id": f"{there['name']}_10.0.0.9_1", "name": there["name"]}
    body = {"ID": f"{there['name']}_172.17.0.1_1", "Name": there["name"]}
    call("PUT", agent["port"], "/v1/agent/service/register", json.dumps(body))
    done = metis_consul.service_passing("s", agent, other, UNIT, timeout=0.2)
    where = f"on the agent 127.0.0.1:{agent['port']}"
    _explained(done, f"{other['id']} is absent {where}; registered are {body['ID']}")


def test_a_service_that_does_not_pass_is_explained(
    opts: dict[str, Any], agent: Agent, registers: Registers
) -> None:
    service = registers("critical")

    def apply() -> dict[str, Any]:
        return metis_consul.service_passing("s", agent, service, UNIT, timeout=0.1)

    wrong = f"{service['id']} is critical on the agent 127.0.0.1:{agent['port']}"
    _explained(apply(), f"{wrong} after 0 s")
    _predicted(opts, apply, wrong)


def test_a_service_whose_agent_is_gone_is_explained(opts: dict[str, Any], closed: Agent) -> None:
    def apply() -> dict[str, Any]:
        return metis_consul.service_passing("s", closed, {"id": "x_1", "name": "x"}, UNIT, 0.1)

    _explained(apply(), "cannot be reached")
    _predicted(opts, apply, "cannot be reached")


# Registrations that must not be


def _services(agent: Agent) -> set[str]:
    return set(consul_module.services(agent))


@pytest.mark.parametrize("state", ["passing", "critical"])
def test_a_registration_is_taken_away(
    opts: dict[str, Any], systemd: Systemd, agent: Agent, registers: Registers, state: str
) -> None:
    systemd.units[UNIT] = Unit()
    service, other = registers(state), registers(state)
    done = told_and_done(
        opts,
        lambda: metis_consul.service_absent(service["id"], agent, UNIT),
        lambda: _services(agent),
    )
    assert done["changes"] == {service["id"]: {"old": state, "new": None}}
    assert service["id"] not in _services(agent)
    assert other["id"] in _services(agent)


def test_a_program_that_runs_is_expected_to_take_its_registration_along(
    opts: dict[str, Any], agent: Agent, registers: Registers
) -> None:
    service = registers("passing")
    opts["test"] = True
    told = metis_consul.service_absent(service["id"], agent, UNIT)
    assert (told["result"], told["changes"]) == (True, {})
    assert UNIT in told["comment"]


def test_a_stopped_consul_tells_nobody_of_a_registration(
    opts: dict[str, Any], closed: Agent
) -> None:
    done = told_and_done(
        opts, lambda: metis_consul.service_absent("x_1", closed, UNIT), lambda: None
    )
    assert done["comment"] == "consul is stopped"


def test_a_stopped_consul_that_stays_may_still_have_a_registration(
    opts: dict[str, Any], closed: Agent
) -> None:
    # A program that was killed is registered again when it starts, from its disk.
    for test in (True, False):
        opts["test"] = test
        done = metis_consul.service_absent("x_1", closed, outlived=True)
        assert (done["result"], done["changes"]) == (False, {})
        assert "may have x_1 on its disk: start it first, with metis.start" in done["comment"]


def test_a_silent_consul_may_still_have_a_registration(opts: dict[str, Any], silent: Agent) -> None:
    # Its host accepts connections, so that consul is not stopped.
    done = metis_consul.service_absent("x_1", silent, UNIT)
    assert (done["result"], done["changes"]) == (False, {})
    assert "does not answer" in done["comment"]
    opts["test"] = True
    assert metis_consul.service_absent("x_1", silent, UNIT)["result"] is None


# Out of the cluster


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch, systemd: Systemd) -> list[Agent]:
    """The agents that were told to leave; a program that leaves ends."""
    told: list[Agent] = []

    def leave(agent: Agent) -> None:
        # Nothing is to start it again meanwhile.
        assert systemd.units[UNIT].masked
        told.append(agent)
        systemd.units[UNIT].active = "failed"

    functions = metis_consul.__salt__  # type: ignore[attr-defined]
    monkeypatch.setitem(functions, "metis_consul.leave", leave)
    monkeypatch.setitem(
        functions,
        "metis_unit.wait_for_end",
        lambda name, timeout: systemd.units[name].active == "failed",
    )
    return told


def test_a_server_leaves_once(
    opts: dict[str, Any], systemd: Systemd, left: list[Agent], closed: Agent
) -> None:
    done = told_and_done(opts, lambda: metis_consul.left(UNIT, closed), systemd.look)
    assert done["changes"] == {"state": {"old": "active", "new": "left"}}
    assert left == [closed]
    unit = systemd.units[UNIT]
    assert (unit.active in ("inactive", "failed"), unit.masked) == (True, False)


def test_a_server_that_does_not_end_is_explained(
    systemd: Systemd, left: list[Agent], closed: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions = metis_consul.__salt__  # type: ignore[attr-defined]
    monkeypatch.setitem(functions, "metis_unit.wait_for_end", lambda name, timeout: False)
    done = metis_consul.left(UNIT, closed, timeout=1)
    assert (done["result"], done["changes"]) == (False, {})
    assert "has not ended 1 s after it was told to leave" in done["comment"]


def test_a_server_that_does_not_answer_is_explained(closed: Agent) -> None:
    done = metis_consul.left(UNIT, closed)
    assert (done["result"], done["changes"]) == (False, {})
    assert "cannot be reached" in done["comment"]
