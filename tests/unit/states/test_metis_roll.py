"""What runs is restarted or reloaded: who, in which order, and what ends it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from _modules import metis_deployed, metis_journal
from _states import metis
from _states import metis_roll as state_module
from tests.unit.states.fleet import (
    INSTANCES,
    RELEASED,
    Answer,
    Fleet,
    Modules,
    State,
    gone,
    instance,
    problems,
    returned,
    states,
)

EVERY = [name for names in INSTANCES.values() for name in names]
ROLES = (["consul"], ["carrier"], ["admin"], ["ice_via"], ["data", "compute"])


class Hosts(Fleet):
    """Hosts whose instances are well, but for what a test says."""

    def __init__(self) -> None:
        super().__init__()
        self.found = {name: instance(name) for name in EVERY}
        self.leader = "10.0.0.1:8200"
        self.quorum = ""
        # Host to the states that would change.
        self.differ: dict[str, dict[str, State]] = {}

    def answer(self, host: str, fun: str, kwarg: dict[str, Any]) -> Answer:
        """Give what a host answers of which a test said nothing."""
        own = [self.found[name] for name in INSTANCES[host]]
        if fun == "metis_host.reach":
            answer = states(instances=own)
            answer["return"] |= self.differ.get(host, {})
            return answer
        if fun == "metis_instance.restart":
            return returned(self.found[kwarg["instance"]] | {"since": 3000.0})
        told = {
            "metis_host.ready": True,
            "metis_instance.status": own,
            "metis_consul.cluster": {"leader": self.leader, "peers": []},
            "metis_consul.wait_for_quorum": self.quorum,
        }
        return returned(told[fun])

    def restarted(self) -> list[str]:
        """Instances in the order in which they were restarted."""
        return [kwarg["instance"] for fun, _, kwarg in self.jobs if fun == "metis_instance.restart"]

    def reached(self) -> list[tuple[str, list[str]]]:
        """Hosts that were told to run what differs, and the instances that were meant."""
        return [
            (hosts[0], kwarg["only"])
            for fun, hosts, kwarg in self.jobs
            if fun == "metis_host.reach" and not kwarg["test"]
        ]


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def configure_loader_modules(
    verb: Callable[..., Modules], hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> Modules:
    wired = verb(hosts, state_module)
    monkeypatch.setitem(vars(metis)["__low__"], "__sls__", "metis.restart")
    # Runs of one second are in the order in which they began.
    numbers = itertools.count()
    monkeypatch.setattr(metis_journal.secrets, "token_hex", lambda size: f"{next(numbers):04}")
    return wired


@pytest.fixture
def recorded(acme: dict[str, Any]) -> None:
    """Everything was deployed."""
    metis_deployed.keep("acme", {name: {"release": "0.3.0"} for name in RELEASED})


def _looked() -> State:
    assert metis.guarded("guard")["result"] is True
    return state_module.looked("What runs is known")


def _restart() -> list[State]:
    _looked()
    return [state_module.restarted(f"{roles} restarted", roles) for roles in ROLES]


def _reload() -> list[State]:
    _looked()
    shown = state_module.shown("What differs is shown")
    return [shown, *(state_module.reloaded(f"{roles} run", roles) for roles in ROLES)]


def _failed(done: list[State]) -> tuple[list[str], list[State]]:
    """What the one phase says that failed, and the phases before it."""
    results = [phase["result"] for phase in done]
    number = results.index(False)
    assert all(phase["comment"].startswith("not tried") for phase in done[number + 1 :])
    return problems(done[number]), done[:number]


# Who takes part


@pytest.mark.usefixtures("recorded")
def test_what_was_stopped_stays_out_and_is_named(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("data@h4:8701", "admin@h2"):
        hosts.found[name] |= {"state": "stopped", "healthy": False, "cause": "stopped"}
    done = _restart()
    assert all(phase["result"] is True for phase in done)
    assert set(hosts.restarted()) == {*EVERY} - {"data@h4:8701", "admin@h2"}
    assert done[2]["comment"] == "nothing of it is to be restarted"
    said = capsys.readouterr().err
    assert "stopped, and staying so: admin@h2, data@h4:8701" in said
    # Nor does it keep the verb from passing.
    assert metis.passing("all")["result"] is True


@pytest.mark.parametrize("how", ["new in the file", "absent"])
def test_what_was_not_deployed_yet_ends_it_before_anything_is_touched(
    hosts: Hosts, recorded: None, how: str
) -> None:
    if how == "absent":
        hosts.found["ice_via@h3"] |= {"state": "absent", "healthy": False}
        name = "ice_via@h3"
    else:
        name = "data@h4:8701"
        metis_deployed._edit("acme", lambda known: known.pop(name))
    for verb in (_restart, _reload):
        hosts.jobs.clear()
        verb()
        assert hosts.restarted() == hosts.reached() == []
    done = _looked()
    assert problems(done) == [f"{name} is not deployed yet: run metis.deploy"]


@pytest.mark.usefixtures("recorded")
def test_a_host_that_does_not_answer_ends_it(hosts: Hosts) -> None:
    hosts.on("h3", "metis_instance.status", gone("silent"))
    done = _looked()
    assert (done["result"], done["reason"]) == (False, "hosts-missing")
    assert "h3 does not answer" in done["comment"]


# Restarted


@pytest.mark.usefixtures("recorded")
@pytest.mark.parametrize("leader", ["h1", "h2", "h3"])
def test_all_are_restarted_one_by_one_and_the_leader_last(hosts: Hosts, leader: str) -> None:
    hosts.leader = f"10.0.0.{leader[1]}:8200"
    done = _restart()
    servers = [f"consul@{h}" for h in ("h1", "h2", "h3") if h != leader] + [f"consul@{leader}"]
    rest = [name for roles in ROLES[1:] for name in EVERY if name.partition("@")[0] in roles]
    assert hosts.restarted() == servers + rest
    assert [len(phase["changes"]) for phase in done] == [3, 1, 1, 1, 3]
    assert all(len(told) == 1 for told in hosts.acted("metis_instance.restart"))


@pytest.mark.usefixtures("recorded")
def test_consul_is_looked_at_before_each_server_and_after_the_last(hosts: Hosts) -> None:
    _restart()
    order = [
        fun
        for fun, _, _ in hosts.jobs
        if fun in ("metis_consul.wait_for_quorum", "metis_instance.restart")
    ]
    assert order[:7] == ["metis_consul.wait_for_quorum", "metis_instance.restart"] * 3 + [
        "metis_consul.wait_for_quorum"
    ]
    assert "metis_consul.wait_for_quorum" not in order[7:]


@pytest.mark.usefixtures("recorded")
def test_fighters_that_are_left_without_the_agent_are_named(
    hosts: Hosts, asked: dict[str, Any]
) -> None:
    asked |= {"roles": "consul"}
    consul = _restart()[0]
    assert consul["comment"].endswith(
        "after a restart of their own: data@h4:8700, data@h4:8701, compute@h4:8800"
    )
    asked |= {"hosts": "h2"}
    assert _restart()[0]["comment"] == "1 restarted"


@pytest.mark.usefixtures("recorded")
def test_without_all_servers_no_server_that_runs_is_touched(hosts: Hosts) -> None:
    hosts.quorum = "consul_10.0.0.3 is failed, after 60 s"
    told, before = _failed(_restart())
    assert hosts.restarted() == before == []
    assert told[0].startswith("consul@h2 was not touched: consul_10.0.0.3 is failed")


@pytest.mark.usefixtures("recorded")
def test_one_that_does_not_come_back_ends_the_roll_with_its_journal(hosts: Hosts) -> None:
    hosts.on(
        "h4",
        "metis_instance.restart",
        returned(instance("data@h4:8700", healthy=False, cause="dataService_x is critical")),
    )
    told, before = _failed(_restart())
    assert told[0] == "data@h4:8700 did not come back: dataService_x is critical"
    assert "the journal" in told
    assert told[-1] == "not restarted in this step: data@h4:8701, compute@h4:8800"
    # Of data, the other one is up still.
    assert hosts.restarted()[-1] == "data@h4:8700"
    assert len(before) == 4


@pytest.mark.usefixtures("recorded")
def test_the_same_restart_goes_on_where_it_failed(
    hosts: Hosts, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    hosts.leader = "10.0.0.3:8200"
    hosts.on("h2", "metis_instance.restart", returned(instance("consul@h2", since=3000.0)))
    hosts.on("h3", "metis_instance.restart", gone("silent"))
    told, _ = _failed(_restart())
    assert told[0].startswith("h3 does not answer")
    assert hosts.restarted() == ["consul@h1", "consul@h2", "consul@h3"]
    # consul@h1 runs since then, and consul@h2 was started again by somebody else.
    hosts.found["consul@h1"]["since"] = 3000.0
    hosts.found["consul@h2"]["since"] = 3500.0
    del hosts.answers["h3", "metis_instance.restart"], hosts.answers["h2", "metis_instance.restart"]
    # One that came to nothing between the two is no end of the first.
    hosts.on("h4", "metis_host.ready", gone("silent"))
    assert metis.guarded("guard")["result"] is False
    del hosts.answers["h4", "metis_host.ready"]
    hosts.jobs.clear()
    done = _restart()
    assert hosts.restarted()[:2] == ["consul@h2", "consul@h3"]
    assert list(done[0]["changes"]) == ["consul@h2", "consul@h3"]
    said = capsys.readouterr().err
    assert "consul@h1: was restarted before, and is healthy" in said
    metis.passing("the last")
    # That one ended, and another is a restart of everything.
    hosts.jobs.clear()
    _restart()
    assert len(hosts.restarted()) == len(EVERY)


@pytest.mark.usefixtures("recorded")
def test_another_restart_begins_anew(hosts: Hosts, asked: dict[str, Any]) -> None:
    hosts.leader = "10.0.0.3:8200"
    hosts.on("h2", "metis_instance.restart", gone("silent"))
    _failed(_restart())
    hosts.found["consul@h1"]["since"] = 3000.0
    del hosts.answers["h2", "metis_instance.restart"]
    hosts.jobs.clear()
    asked["roles"] = "consul"
    _restart()
    assert hosts.restarted() == ["consul@h1", "consul@h2", "consul@h3"]


@pytest.mark.usefixtures("recorded")
def test_one_that_is_down_comes_before_one_that_runs(hosts: Hosts) -> None:
    hosts.found["data@h4:8701"] |= {"state": "down", "healthy": False}
    well = instance("data@h4:8701")
    hosts.on(
        "h4",
        "metis_instance.restart",
        returned(well),
        returned(instance("data@h4:8700")),
        returned(instance("compute@h4:8800")),
    )
    _restart()
    assert hosts.restarted()[-3:] == ["data@h4:8701", "data@h4:8700", "compute@h4:8800"]


@pytest.mark.usefixtures("recorded")
def test_filters_hold_and_a_dry_run_restarts_nothing(
    hosts: Hosts,
    opts: dict[str, Any],
    asked: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    opts["test"] = True
    asked |= {"roles": "admin"}
    done = _restart()
    assert hosts.restarted() == []
    assert [list(phase["changes"]) for phase in done if phase["changes"]] == [["admin@h2"]]
    assert [phase["result"] for phase in done].count(None) == 1
    units = "mariadb.service, metis-admin.service, nginx.service would be restarted"
    assert f"admin@h2: {units}" in capsys.readouterr().err


# Reloaded


def _differs(hosts: Hosts, host: str, identity: str, sls: str, unit: str = "", **more: Any) -> None:
    changes = {"restarted": {"old": None, "new": "x"}} if unit else {"diff": "-a\n+b"}
    state = {"__id__": identity, "__sls__": sls, "name": unit or f"/etc/{identity}"}
    state |= {"result": None, "comment": "", "changes": changes} | more
    module = "metis_unit" if unit else "file"
    tag = f"{module}_|-{identity}_|-{state['name']}_|-x"
    hosts.differ.setdefault(host, {})[tag] = state


@pytest.mark.usefixtures("recorded")
def test_where_nothing_differs_nothing_is_done(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    done = _reload()
    assert [phase["comment"] for phase in done] == ["nothing to do"] * 6
    assert hosts.reached() == []
    # All hosts were asked at once.
    assert hosts.acted() == [["h1", "h2", "h3", "h4"]]
    assert "shown: nothing to do" in capsys.readouterr().err


@pytest.mark.usefixtures("recorded")
def test_only_what_differs_is_told_and_it_is_shown_first(
    hosts: Hosts, capsys: pytest.CaptureFixture[str]
) -> None:
    _differs(hosts, "h1", "carrier is configured", "roles.carrier.configured")
    _differs(hosts, "h1", "carrier runs", "roles.carrier.running", "metis-carrier.service")
    done = _reload()
    assert hosts.reached() == [("h1", ["carrier@h1"])]
    assert done[0]["changes"] == {}
    assert done[2]["changes"] == {"h1": ["carrier is configured", "carrier runs"]}
    said = capsys.readouterr().err
    assert "h1: carrier is configured: /etc/carrier is configured\n" in said
    assert said.index("+b") < said.index("carrier'] run: 2 states changed")
    assert "metis-carrier.service would be restarted" in said


@pytest.mark.usefixtures("recorded")
def test_a_dry_run_shows_the_same_and_tells_no_host(hosts: Hosts, opts: dict[str, Any]) -> None:
    opts["test"] = True
    _differs(hosts, "h1", "carrier runs", "roles.carrier.running", "metis-carrier.service")
    done = _reload()
    assert (done[0]["result"], done[0]["changes"]) == (None, {"h1": ["carrier runs"]})
    assert not any(phase["changes"] for phase in done[1:])
    assert hosts.reached() == []


@pytest.mark.usefixtures("recorded")
def test_what_is_no_configuration_ends_it(hosts: Hosts) -> None:
    _differs(hosts, "h1", "carrier has its release", "roles.carrier.installed")
    told, _ = _failed(_reload())
    assert told == ["h1: carrier has its release: this is no configuration; run metis.deploy"]
    assert hosts.reached() == []


@pytest.mark.usefixtures("recorded")
def test_servers_and_fighters_take_turns(hosts: Hosts) -> None:
    for host in ("h1", "h2", "h3"):
        _differs(hosts, host, "consul runs", "roles.consul.running", "metis-consul.service")
    for port in (8700, 8701):
        unit = f"metis-data@{port}.service"
        _differs(hosts, "h4", f"data@h4:{port} runs", "roles.data.running", unit)
    _reload()
    assert hosts.reached() == [
        ("h2", ["consul@h2"]),
        ("h3", ["consul@h3"]),
        ("h1", ["consul@h1"]),
        ("h4", ["data@h4:8700"]),
        ("h4", ["data@h4:8701"]),
    ]
    dry = [kwarg for fun, _, kwarg in hosts.jobs if fun == "metis_host.reach" and kwarg["test"]]
    # Fighters were asked again, as they follow the consul agent.
    assert [bool(kwarg["agent_since"] > 4_000_000_000) for kwarg in dry] == [False, True]
    real = [kwarg for fun, _, kwarg in hosts.jobs if fun == "metis_host.reach"][2:]
    assert all(kwarg["agent_since"] < 4_000_000_000 for kwarg in real)


@pytest.mark.usefixtures("recorded")
def test_one_that_is_stopped_does_not_count_as_unwell(hosts: Hosts) -> None:
    hosts.found["data@h4:8701"] |= {"state": "stopped", "healthy": False, "cause": "stopped"}
    _differs(hosts, "h4", "data@h4:8700 runs", "roles.data.running", "metis-data@8700.service")
    assert all(phase["result"] is True for phase in _reload())
    assert hosts.reached() == [("h4", ["data@h4:8700"])]
    (dry,) = [kwarg for fun, _, kwarg in hosts.jobs if fun == "metis_host.reach" and kwarg["test"]]
    assert "data@h4:8701" not in dry["only"]


@pytest.mark.usefixtures("recorded")
def test_a_file_that_fighters_share_restarts_none_by_itself(hosts: Hosts) -> None:
    _differs(hosts, "h4", "the directories", "roles.data.configured")
    _reload()
    assert hosts.reached() == [("h4", [])]


@pytest.mark.usefixtures("recorded")
def test_one_that_is_not_healthy_afterwards_ends_it(hosts: Hosts) -> None:
    _differs(hosts, "h1", "carrier runs", "roles.carrier.running", "metis-carrier.service")
    _differs(hosts, "h2", "admin runs", "roles.admin.running", "metis-admin.service")
    _looked()
    shown = state_module.shown("shown")
    hosts.found["carrier@h1"] |= {"healthy": False, "explained": "it is critical\nthe journal"}
    done = [shown, *(state_module.reloaded(f"{roles}", roles) for roles in ROLES)]
    told, _ = _failed(done)
    assert told == ["carrier@h1: it is critical", "the journal"]
    assert hosts.reached() == [("h1", ["carrier@h1"])]
