"""From one release to another: who is switched when, and what becomes of one that fails."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from _modules import metis_deployed, metis_orgs, metis_store
from _states import metis, metis_upgrade
from tests.unit import orgs
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
    state,
    states,
)

OLD, NEW = "0.3.0", "0.4.0"


class Hosts(Fleet):
    """Hosts that run what the record says, but for instances that a test breaks."""

    def __init__(self, record: Callable[[], dict[str, Any]]) -> None:
        super().__init__()
        self._record = record
        # Instances that do not get well, by the release that they are to run.
        self.broken: set[tuple[str, str]] = set()
        self.leader = "10.0.0.1:8200"
        self.quorum = ""
        # Addresses in raft of servers that are alone at fault for it.
        self.failing: set[str] = set()
        self.restored = ""
        self.since: dict[str, float] = {}
        self.states: dict[str, str] = {}
        # What runs, where it is not what the record says.
        self.runs: dict[str, str] = {}
        self.down: set[str] = set()

    def _instances(self, host: str) -> list[dict[str, Any]]:
        found = []
        for name in INSTANCES[host]:
            release = self._record().get(name, {}).get("release")
            version = self.runs.get(name, None if name.startswith("ice_via") else release)
            made = instance(name, version=version, since=self.since.get(name, 2000.0))
            made["state"] = self.states.get(name, "running")
            if (name, version) in self.broken or name in self.down:
                made |= {"healthy": False, "cause": "it is critical", "explained": "the journal"}
            found.append(made)
        return found

    def answer(self, host: str, fun: str, kwarg: dict[str, Any]) -> Answer:
        """Give what a host answers of which a test said nothing."""
        own = self._instances(host)
        if fun == "metis_host.reach":
            return states(instances=own)
        if kwarg.get("without") in self.failing:
            return returned("")
        told = {
            "metis_instance.status": own,
            "metis_consul.cluster": {"leader": self.leader, "peers": []},
            "metis_consul.wait_for_quorum": self.quorum,
            "metis_schema.retreat": self.restored,
            "metis_schema.seen": {"dump": "/b/metis_admin-0.3.0.sql.gz"},
            "metis_releases.prune": [f"/opt/metis/{host}/releases/0.1.0"],
            "metis_unit.act": None,
            "saltutil.is_running": [],
        }
        return returned(told.get(fun, True))

    def switched(self) -> list[str]:
        """Instances in the order in which their hosts were told to run them."""
        return [
            kwarg["only"][0]
            for fun, _, kwarg in self.jobs
            if fun == "metis_host.reach" and kwarg["to"] == "running"
        ]


@pytest.fixture
def hosts() -> Hosts:
    return Hosts(lambda: metis_deployed.read("acme"))


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "acme.sls"
    file.write_text(f"metis:\n  release: {NEW}\n")
    return {"metis": {"orgs": {"acme": {"file": str(file)}}}}


@pytest.fixture
def releases() -> dict[str, Any]:
    new = copy.deepcopy(orgs.RELEASE) | {"release": NEW}
    return {OLD: orgs.RELEASE, NEW: new}


@pytest.fixture
def incomplete() -> list[str]:
    """What keeps the release from being complete."""
    return []


@pytest.fixture
def configure_loader_modules(
    verb: Callable[..., Modules],
    hosts: Hosts,
    asked: dict[str, Any],
    releases: dict[str, Any],
    incomplete: list[str],
) -> Modules:
    functions = {
        "metis_orgs.read": create_autospec(metis_orgs.read, return_value=asked["metis"]["orgs"]),
        "metis_orgs.release": create_autospec(metis_orgs.release, side_effect=releases.get),
        "metis_orgs.complete_release": create_autospec(
            metis_orgs.complete_release, return_value=incomplete
        ),
    }
    return verb(hosts, metis_upgrade, metis_store, functions=functions)


@pytest.fixture
def deployed(asked: dict[str, Any]) -> None:
    """The organization runs the old release, and wants the new one."""
    metis_deployed.keep("acme", {name: {"release": OLD} for name in RELEASED})
    _wants(asked, NEW)


def _wants(asked: dict[str, Any], release: str) -> None:
    form = orgs.org_file(release=release)
    made = orgs.built(form, copy.deepcopy(orgs.RELEASE) | {"release": release})
    assert made["faults"] == []
    made["topology"]["deployed"] = metis_deployed.of(made["topology"], metis_deployed.read("acme"))
    asked["metis"]["orgs"]["acme"] |= made


ROLES = (["consul"], ["carrier"], ["admin"], ["data", "compute"])


def _verb(back: bool = False) -> list[State]:
    """Run the phases as the verb's SLS does, up to the first that fails."""
    low = vars(metis)["__low__"]
    low["__sls__"] = "metis.rollback" if back else "metis.upgrade"
    phases: list[Callable[[], State]] = [
        lambda: metis.guarded("guard", takes=["release"]),
        lambda: metis_upgrade.prepared("prepared", back=back),
        lambda: metis_upgrade.laid_down("laid down"),
        *(lambda roles=roles: metis_upgrade.switched("switched", roles) for roles in ROLES),
        lambda: metis.passing("passing"),
        lambda: metis_upgrade.pruned("pruned"),
    ]
    done = []
    for phase in phases:
        done.append(phase())
        if done[-1]["result"] is False:
            break
    return done


def _record() -> dict[str, str]:
    return {name: entry["release"] for name, entry in metis_deployed.read("acme").items()}


@pytest.mark.usefixtures("deployed")
def test_instances_are_switched_one_by_one_and_the_leader_last(hosts: Hosts) -> None:
    done = _verb()
    assert [phase["result"] for phase in done] == [True] * 9, done[-1]["comment"]
    assert hosts.switched() == [
        "consul@h2",
        "consul@h3",
        "consul@h1",
        "carrier@h1",
        "admin@h2",
        "data@h4:8700",
        "data@h4:8701",
        "compute@h4:8800",
    ]
    assert set(_record().values()) == {NEW}
    assert {e["previous"] for e in metis_deployed.read("acme").values()} == {OLD}
    assert done[4]["changes"] == {"carrier@h1": {"old": OLD, "new": NEW}}
    laid = next((h, k) for fun, h, k in hosts.jobs if fun == "metis_host.reach")
    assert laid[0] == ["h1", "h2", "h3", "h4"]
    assert (laid[1]["to"], laid[1]["release"]) == ("laid_down", NEW)
    assert not any("ice_via" in roles for roles in laid[1]["roles"].values())
    assert done[-1]["changes"]["h1"] == ["/opt/metis/h1/releases/0.1.0"]


@pytest.mark.usefixtures("deployed")
def test_a_second_upgrade_touches_nothing(hosts: Hosts) -> None:
    _verb()
    hosts.jobs.clear()
    done = _verb()
    assert all(phase["result"] for phase in done)
    assert hosts.acted() == []
    assert not any(phase["changes"] for phase in done[:-1])


@pytest.mark.usefixtures("deployed")
def test_a_dry_run_tells_each_instance_and_changes_no_record(
    hosts: Hosts, opts: dict[str, Any]
) -> None:
    opts["test"] = True
    done = _verb()
    told = {name for phase in done[3:7] for name in phase["changes"]}
    assert told == set(RELEASED)
    assert [phase["result"] for phase in done[3:7]] == [None] * 4
    assert set(_record().values()) == {OLD}
    assert [kwarg["test"] for fun, _, kwarg in hosts.jobs if fun == "metis_host.reach"] == [True]


@pytest.mark.usefixtures("deployed")
def test_one_that_does_not_get_well_is_switched_back_and_ends_it(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], asked: dict[str, Any]
) -> None:
    asked["org"] = "acme"
    hosts.broken.add(("carrier@h1", NEW))
    done = _verb()
    assert len(done) == 5
    assert done[-1]["result"] is False
    words = done[-1]["comment"]
    assert words.startswith("carrier@h1: the journal")
    assert "carrier@h1 was switched back to 0.3.0, and is healthy" in words
    assert 'salt-run state.orchestrate metis.upgrade pillar=\'{"org": "acme"}\'' in words
    assert hosts.switched()[-2:] == ["carrier@h1", "carrier@h1"]
    assert _record() == {n: NEW if n.startswith("consul") else OLD for n in RELEASED}
    # As if it had never been tried.
    assert metis_deployed.read("acme")["carrier@h1"] == {"release": OLD}
    assert "carrier@h1: switching back to 0.3.0" in capsys.readouterr().err


@pytest.mark.usefixtures("deployed")
def test_a_failed_state_of_the_host_is_told_too(hosts: Hosts) -> None:
    failed = states(state("carrier passes", result=False, comment="it is absent\njournal"))
    well = states(instances=[instance("consul@h1"), instance("carrier@h1", version=OLD)])
    hosts.on(
        "h1",
        "metis_host.reach",
        states(),
        states(instances=[instance("consul@h1", version=NEW)]),
        failed,
        well,
    )
    done = _verb()
    assert done[-1]["comment"].startswith("h1: carrier passes: it is absent\njournal")
    assert "was switched back" in done[-1]["comment"]


@pytest.mark.usefixtures("deployed")
def test_one_that_cannot_be_switched_back_is_told(hosts: Hosts) -> None:
    down = states(instances=[instance("carrier@h1", healthy=False, cause="it is critical")])
    servers = _at("h1", NEW, "consul@h1")
    hosts.on("h1", "metis_host.reach", states(), servers, down, gone("silent"))
    done = _verb()
    words = done[-1]["comment"]
    assert "it is critical" in words
    assert "h1 does not answer" in words
    assert "switching carrier@h1 back to 0.3.0 failed too, it may be down" in words
    # The record says what it shall be.
    assert _record()["carrier@h1"] == OLD


@pytest.mark.usefixtures("deployed")
def test_one_whose_host_is_silent_is_not_switched_back_under_its_hands(hosts: Hosts) -> None:
    hosts.on("h2", "metis_host.reach", states(), *[_at("h2", NEW, "consul@h2")], gone("late"))
    done = _verb()
    assert done[-1]["reason"] == "hosts-missing"
    assert "admin@h2 was not switched back, as its host may be at work still" in done[-1]["comment"]
    assert [fun for fun, _, _ in hosts.jobs if fun == "metis_schema.retreat"] == []
    # The same command goes on with it.
    assert _record()["admin@h2"] == NEW


def _at(host: str, release: str, *names: str) -> Answer:
    return states(instances=[instance(name, version=release) for name in names])


@pytest.mark.usefixtures("deployed")
def test_admin_goes_back_with_its_database(hosts: Hosts) -> None:
    hosts.broken.add(("admin@h2", NEW))
    hosts.restored = "/b/metis_admin-0.3.0-x.sql.gz"
    done = _verb()
    assert "with its database as in /b/metis_admin-0.3.0-x.sql.gz" in done[-1]["comment"]
    (asked,) = [kwarg for fun, _, kwarg in hosts.jobs if fun == "metis_schema.retreat"]
    assert asked == {
        "database": "metis_admin",
        "release": NEW,
        "back_to": OLD,
        "unit": "metis-admin.service",
    }


@pytest.mark.usefixtures("deployed")
def test_without_all_servers_consul_is_not_touched(hosts: Hosts) -> None:
    hosts.quorum = "consul_10.0.0.3 is failed"
    done = _verb()
    assert done[-1]["comment"].startswith("consul@h2 was not touched: consul_10.0.0.3 is failed")
    assert hosts.switched() == []
    assert set(_record().values()) == {OLD}


@pytest.mark.usefixtures("deployed")
def test_a_run_that_was_cut_off_goes_on_where_it_was(hosts: Hosts) -> None:
    undo = {"release": OLD}
    finished = {"release": NEW, "previous": OLD, "undo": undo}
    metis_deployed.keep("acme", {"consul@h1": finished, "consul@h2": finished})
    # Its record is written, and it was not started yet; others see consul without it.
    metis_deployed.keep("acme", {"consul@h3": finished})
    hosts.runs["consul@h3"] = OLD
    hosts.down |= {"carrier@h1"}
    reached = hosts.function.side_effect

    def run(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_host.reach" and kwarg["to"] == "running":
            hosts.runs.clear()
            hosts.down.clear()
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = run
    done = _verb()
    assert done[-1]["result"] is True, done[-1]["comment"]
    assert hosts.switched()[0] == "consul@h3"
    assert "consul@h1" not in hosts.switched()
    assert "consul@h2" not in hosts.switched()


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("name", ["admin@h2", "carrier@h1", "data@h4:8701"])
def test_what_came_through_its_gate_and_fails_later_is_not_switched_back(
    hosts: Hosts, name: str
) -> None:
    assert _verb()[-1]["result"] is True
    hosts.jobs.clear()
    hosts.down.add(name)
    for back in (False, True):
        done = _verb(back)
        assert len(done) == 2
        assert problems(done[-1])[0] == f"{name}: the journal"
        assert "nothing was switched; mend this first: metis.deploy" in done[-1]["comment"]
    assert hosts.acted() == []
    assert set(_record().values()) == {NEW}


@pytest.mark.usefixtures("deployed")
def test_what_a_deploy_brought_to_health_is_not_switched_back_either(hosts: Hosts) -> None:
    cut_off = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", dict.fromkeys(["admin@h2", "carrier@h1"], cut_off))
    hosts.runs["carrier@h1"] = OLD
    metis.guarded("guard")
    assert metis.passing("passing")["result"] is True
    assert "undo" not in metis_deployed.read("acme")["admin@h2"]
    # This one does not run yet what it shall.
    assert metis_deployed.read("acme")["carrier@h1"] == cut_off


@pytest.mark.usefixtures("deployed")
def test_a_server_that_runs_is_not_taken_away_where_another_is_gone(hosts: Hosts) -> None:
    cut_off = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", {"consul@h1": cut_off})
    hosts.runs["consul@h1"] = OLD
    hosts.down |= {"consul@h2", "carrier@h1"}
    hosts.quorum = "consul_10.0.0.2 is failed"
    done = _verb()
    assert problems(done[-1])[0] == "consul@h1 was not touched: consul_10.0.0.2 is failed"
    assert hosts.switched() == []
    # One that does not run is missed already.
    hosts.states["consul@h1"] = "down"
    _verb()
    assert hosts.switched()[0] == "consul@h1"


@pytest.mark.usefixtures("deployed")
def test_a_server_that_is_itself_what_is_wrong_is_gone_on_with_and_switched_back(
    hosts: Hosts,
) -> None:
    cut_off = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", {"consul@h2": cut_off})
    hosts.broken.add(("consul@h2", NEW))
    hosts.quorum = "consul_10.0.0.2 is failed"
    hosts.failing = {"10.0.0.2:8200"}
    reached = hosts.function.side_effect

    def run(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_host.reach" and kwarg["to"] == "running":
            hosts.quorum = "" if _record()["consul@h2"] == OLD else hosts.quorum
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = run
    # Meanwhile nothing else leads there.
    words = _verb(back=True)[-1]["comment"]
    assert "consul@h2: metis.upgrade goes on with it, or switches it back" in words
    words = _verb()[-1]["comment"]
    assert "consul@h2 was switched back to 0.3.0, and is healthy" in words
    assert hosts.switched() == ["consul@h2", "consul@h2"]


@pytest.mark.usefixtures("deployed")
def test_what_a_rollback_was_cut_off_at_is_for_a_rollback(hosts: Hosts) -> None:
    undo = {"release": NEW, "previous": OLD}
    metis_deployed.keep("acme", {"carrier@h1": {"release": OLD, "undo": undo}})
    hosts.down.add("carrier@h1")
    words = _verb()[-1]["comment"]
    assert "carrier@h1: metis.rollback goes on with it, or switches it back" in words
    assert hosts.acted() == []


@pytest.mark.usefixtures("deployed")
@pytest.mark.parametrize("looks", ["upgrade", "deploy"])
def test_what_was_seen_to_be_well_is_not_switched_back_later(hosts: Hosts, looks: str) -> None:
    # The run was killed between the host's answer and the note of it.
    cut_off = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", {"admin@h2": cut_off})
    hosts.down.add("compute@h4:8800")
    if looks == "upgrade":
        assert problems(_verb()[-1])[0] == "compute@h4:8800: the journal"
    else:
        metis.guarded("guard")
        assert metis.passing("passing")["result"] is False
    assert "undo" not in metis_deployed.read("acme")["admin@h2"]


@pytest.mark.usefixtures("deployed")
def test_after_a_cut_off_at_consul_later_roles_are_looked_at_before_they_are_taken(
    hosts: Hosts,
) -> None:
    cut_off = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", {"consul@h2": cut_off})
    hosts.runs["consul@h2"] = OLD
    hosts.down |= {"data@h4:8701"}
    reached = hosts.function.side_effect

    def run(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_host.reach" and kwarg["to"] == "running":
            hosts.runs.clear()
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = run
    done = _verb()
    told = problems(done[-1])
    assert told[:2] == ["data@h4:8701: the journal", "no further instance was switched"]
    assert "data@h4:8700" not in hosts.switched()
    assert _record()["data@h4:8700"] == OLD


@pytest.mark.usefixtures("deployed")
def test_an_instance_is_not_gone_on_with_while_another_of_its_kind_is_down(hosts: Hosts) -> None:
    cut_off = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", {"data@h4:8700": cut_off})
    hosts.runs["data@h4:8700"] = OLD
    hosts.down |= {"data@h4:8701", "compute@h4:8800"}
    done = _verb()
    # What comes after data may not pass without it.
    assert problems(done[-1])[0] == "data@h4:8701: the journal"
    assert "compute@h4:8800" not in done[-1]["comment"]
    assert hosts.acted() == []


@pytest.mark.usefixtures("deployed")
def test_what_a_run_that_was_cut_off_told_a_host_is_waited_for(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(metis.time, "sleep", pauses.append)
    hosts.on("h2", "metis_host.ready", returned({"busy": "1"}))
    hosts.on("h2", "saltutil.is_running", returned([{"jid": "1"}]), returned([]))
    assert _verb()[-1]["result"] is True
    assert len(pauses) == 1
    monkeypatch.setattr(metis, "_BUSY", -1)
    hosts.on("h2", "saltutil.is_running", returned([{"jid": "1"}]))
    assert problems(_verb()[-1]) == ["h2 works on what another run told it"]


@pytest.mark.usefixtures("deployed")
def test_an_organization_that_is_not_healthy_is_not_begun_with(hosts: Hosts) -> None:
    hosts.down |= {"data@h4:8701", "ice_via@h3"}
    done = _verb()
    assert len(done) == 2
    for word in ("data@h4:8701", "ice_via@h3", "metis.deploy"):
        assert word in done[-1]["comment"]
    assert hosts.acted() == []


@pytest.mark.usefixtures("deployed")
def test_what_is_not_laid_down_everywhere_is_nowhere_switched(hosts: Hosts) -> None:
    hosts.on("h4", "metis_host.reach", states(state("wheel", result=False, comment="sha256")))
    done = _verb()
    assert done[-1]["comment"].startswith("h4: wheel: sha256")
    assert "nothing was switched" in done[-1]["comment"]
    assert set(_record().values()) == {OLD}


@pytest.mark.usefixtures("deployed")
def test_fighters_do_not_stay_without_the_agent_that_they_knew(hosts: Hosts) -> None:
    hosts.broken.add(("carrier@h1", NEW))
    hosts.since["consul@h1"] = 3000.0
    _verb()
    again = [kwarg["names"] for fun, _, kwarg in hosts.jobs if fun == "metis_unit.act"]
    assert again == [
        ["metis-data@8700.service"],
        ["metis-data@8701.service"],
        ["metis-compute@8800.service"],
    ]


@pytest.mark.usefixtures("deployed")
def test_one_that_does_not_come_back_is_the_last_that_is_started_again(hosts: Hosts) -> None:
    hosts.broken.add(("carrier@h1", NEW))
    hosts.since["consul@h1"] = 3000.0
    reached = hosts.function.side_effect

    def run(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_unit.act":
            hosts.down.add("data@h4:8700")
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = run
    words = _verb()[-1]["comment"]
    assert "data@h4:8700: the journal" in words
    assert "not started again: data@h4:8701, compute@h4:8800" in words
    again = [kwarg["names"] for fun, _, kwarg in hosts.jobs if fun == "metis_unit.act"]
    assert again == [["metis-data@8700.service"]]


@pytest.mark.usefixtures("deployed")
def test_a_question_without_an_answer_ends_the_roll_out_as_a_failed_gate_does(
    hosts: Hosts,
) -> None:
    reached = hosts.function.side_effect

    def run(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_host.reach" and kwarg["to"] == "running":
            hosts.leader = ""
            hosts.since["consul@h1"] = 3000.0
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = run
    done = _verb()
    assert problems(done[-1])[0].startswith("consul@h1 knows no leader")
    assert "no further instance was switched" in done[-1]["comment"]
    assert hosts.switched() == ["consul@h2"]


@pytest.mark.usefixtures("deployed")
def test_nor_do_those_that_ran_the_release_before_consul_was_switched(hosts: Hosts) -> None:
    finished = {"release": NEW, "previous": OLD, "undo": {"release": OLD}}
    metis_deployed.keep("acme", {"data@h4:8700": finished})
    hosts.since["consul@h1"] = 3000.0
    hosts.since |= {"data@h4:8701": 3001.0, "compute@h4:8800": 3001.0}
    done = _verb()
    assert done[-1]["result"] is True, done[-1]["comment"]
    again = [kwarg["names"] for fun, _, kwarg in hosts.jobs if fun == "metis_unit.act"]
    assert again == [["metis-data@8700.service"]]
    assert done[6]["changes"]["data@h4:8700"]["new"] == "started again, as consul was"
    # Already there.
    hosts.since["data@h4:8700"] = 3002.0
    assert not any(phase["changes"] for phase in _verb()[:-1])


@pytest.mark.usefixtures("deployed")
def test_another_release_than_the_file_wants_is_refused(asked: dict[str, Any]) -> None:
    asked["release"] = "0.5.0"
    done = _verb()
    assert len(done) == 2
    assert "write `release: 0.5.0` into line 2 of" in done[-1]["comment"]
    asked["release"] = NEW
    assert _verb()[-1]["result"] is True


@pytest.mark.usefixtures("deployed")
def test_a_release_that_is_not_complete_is_refused(hosts: Hosts, incomplete: list[str]) -> None:
    incomplete.append("release names 0.4.0, whose artifact carrier has no checksum")
    assert problems(_verb()[-1]) == incomplete
    assert hosts.acted() == []


@pytest.mark.usefixtures("deployed")
def test_a_release_with_its_data_elsewhere_is_refused(releases: dict[str, Any]) -> None:
    releases[NEW]["admin"]["database"] = "datum_admin"
    words = _verb()[-1]["comment"]
    assert "metis_admin" in words
    assert "datum_admin" in words


def test_what_was_never_deployed_is_not_upgraded(asked: dict[str, Any]) -> None:
    _wants(asked, NEW)
    assert "run metis.deploy first" in _verb()[-1]["comment"]


@pytest.mark.usefixtures("deployed")
def test_a_rollback_goes_back_once(hosts: Hosts) -> None:
    _verb()
    hosts.jobs.clear()
    done = _verb(back=True)
    assert done[-1]["result"] is True, done[-1]["comment"]
    assert len(hosts.switched()) == 8
    assert set(_record().values()) == {OLD}
    done = _verb(back=True)
    assert "there is no release to go back to" in done[-1]["comment"]
    assert len(hosts.switched()) == 8


def _upgraded_before() -> None:
    """The organization came to what it runs by an upgrade."""
    oldest = {"release": OLD, "previous": "0.2.0"}
    metis_deployed.keep("acme", dict.fromkeys(RELEASED, oldest))


@pytest.mark.usefixtures("deployed")
def test_a_rollback_of_half_an_upgrade_is_no_way_to_the_release_before(hosts: Hosts) -> None:
    _upgraded_before()
    hosts.broken.add(("admin@h2", NEW))
    _verb()
    assert _verb(back=True)[-1]["result"] is True
    assert set(_record().values()) == {OLD}
    hosts.jobs.clear()
    assert "there is no release to go back to" in _verb(back=True)[-1]["comment"]
    assert hosts.acted() == []


@pytest.mark.usefixtures("deployed")
def test_nor_is_one_of_some_roles(hosts: Hosts, asked: dict[str, Any]) -> None:
    _upgraded_before()
    hosts.broken.add(("admin@h2", NEW))
    _verb()
    asked["roles"] = "consul,carrier"
    assert _verb(back=True)[-1]["result"] is True
    del asked["roles"]
    assert "there is no release to go back to" in _verb(back=True)[-1]["comment"]
    assert set(_record().values()) == {OLD}


@pytest.mark.usefixtures("deployed")
def test_a_rollback_that_was_cut_off_goes_on_where_it_was(hosts: Hosts) -> None:
    _upgraded_before()
    _verb()
    reached = hosts.function.side_effect
    last = "compute@h4:8800"

    def cut_off(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_host.reach" and kwarg.get("only") == [last]:
            raise KeyboardInterrupt
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = cut_off
    with pytest.raises(KeyboardInterrupt):
        _verb(back=True)
    # It is on record, and its host was not told.
    hosts.runs[last] = NEW
    assert _record()[last] == OLD

    def run(names: list[str], fun: str, kwarg: Any = None, *args: Any, **kwargs: Any) -> Any:
        if fun == "metis_host.reach" and kwarg.get("only") == [last]:
            hosts.runs.clear()
        return reached(names, fun, kwarg, *args, **kwargs)

    hosts.function.side_effect = run
    hosts.jobs.clear()
    done = _verb(back=True)
    assert done[-1]["result"] is True, done[-1]["comment"]
    assert hosts.switched() == [last]
    assert set(_record().values()) == {OLD}
    assert "there is no release to go back to" in _verb(back=True)[-1]["comment"]


@pytest.mark.usefixtures("deployed")
def test_a_rollback_undoes_half_an_upgrade(hosts: Hosts) -> None:
    hosts.broken.add(("admin@h2", NEW))
    _verb()
    hosts.jobs.clear()
    assert _verb(back=True)[-1]["result"] is True
    assert hosts.switched() == ["consul@h2", "consul@h3", "consul@h1", "carrier@h1"]
    assert set(_record().values()) == {OLD}


@pytest.mark.usefixtures("deployed")
def test_filters_of_the_verb_hold(hosts: Hosts, asked: dict[str, Any]) -> None:
    asked["roles"] = "carrier,compute"
    assert _verb()[-1]["result"] is True
    assert hosts.switched() == ["carrier@h1", "compute@h4:8800"]


def test_a_deploy_puts_on_record_what_it_deploys(
    asked: dict[str, Any], opts: dict[str, Any]
) -> None:
    _wants(asked, OLD)
    metis.guarded("guard", takes=["release"])
    opts["test"] = True
    told = metis_upgrade.settled("settled")
    assert _record() == {}
    opts["test"] = False
    done = metis_upgrade.settled("settled")
    assert (told["result"], done["result"]) == (None, True)
    assert told["changes"] == done["changes"]
    assert _record() == dict.fromkeys(RELEASED, OLD)
    again = metis_upgrade.settled("settled")
    assert (again["result"], again["changes"]) == (True, {})


@pytest.mark.usefixtures("deployed")
def test_a_deploy_says_that_another_release_is_wanted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    metis.guarded("guard", takes=["release"])
    done = metis_upgrade.settled("settled")
    assert (done["result"], done["changes"]) == (True, {})
    assert "release 0.4.0 is wanted (line 2 of" in done["comment"]
    assert "0.3.0 is deployed: run metis.upgrade" in capsys.readouterr().err
    assert set(_record().values()) == {OLD}


def test_after_a_failed_guard_nothing_is_tried(hosts: Hosts, asked: dict[str, Any]) -> None:
    _wants(asked, NEW)
    hosts.on("h1", "metis_host.ready", gone("silent"))
    metis.guarded("guard", takes=["release"])
    hosts.jobs.clear()
    for done in (
        metis_upgrade.settled("x"),
        metis_upgrade.prepared("x"),
        metis_upgrade.laid_down("x"),
        metis_upgrade.switched("x", ["consul"]),
        metis_upgrade.pruned("x"),
    ):
        assert (done["result"], done["comment"]) == (False, "not tried, as an earlier step failed")
    assert hosts.jobs == []


@pytest.fixture
def stored(tmp_path: Path) -> Callable[[], list[str]]:
    """The releases in the master's store; each came a day after the one before."""
    folder = tmp_path / "store/artifacts"
    for day, release in enumerate(("0.0.1", "0.1.0", "0.2.0", OLD, NEW, "0.5.0")):
        (folder / release).mkdir(parents=True)
        os.utime(folder / release, (day * 86400, day * 86400))
    return lambda: sorted(path.name for path in folder.iterdir())


@pytest.mark.usefixtures("deployed")
def test_old_releases_go_from_the_store_too(
    stored: Callable[[], list[str]], opts: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    opts["test"] = True
    told = _verb()[-1]
    assert told["result"] is None
    assert told["changes"]["the master's store"] == ["0.0.1", "0.1.0", "0.2.0"]
    assert len(stored()) == 6
    opts["test"] = False
    done = _verb()[-1]
    assert done["changes"] == told["changes"]
    # What came later, as for the next upgrade, is not old.
    assert stored() == [OLD, NEW, "0.5.0"]
    assert "0.0.1, 0.1.0, 0.2.0 removed from the master's store" in capsys.readouterr().err


@pytest.mark.usefixtures("deployed")
def test_the_store_keeps_what_another_organization_needs(
    stored: Callable[[], list[str]], asked: dict[str, Any]
) -> None:
    # Of one whose file is gone there is the record.
    entry = {"release": "0.1.0", "previous": "0.0.1"}
    metis_deployed.keep("other", {"consul@o1": entry})
    other = copy.deepcopy(asked["metis"]["orgs"]["acme"])
    other["topology"]["release"] = "0.2.0"
    asked["metis"]["orgs"]["third"] = other
    assert "the master's store" not in _verb()[-1]["changes"]
    assert len(stored()) == 6


@pytest.mark.usefixtures("deployed")
def test_the_store_keeps_what_a_file_wants_that_was_edited_meanwhile(
    stored: Callable[[], list[str]], asked: dict[str, Any]
) -> None:
    now = copy.deepcopy(asked["metis"]["orgs"])
    now["other"] = copy.deepcopy(now["acme"])
    now["other"]["topology"]["release"] = "0.1.0"
    vars(metis_upgrade)["__salt__"]["metis_orgs.read"].return_value = now
    assert _verb()[-1]["changes"]["the master's store"] == ["0.0.1", "0.2.0"]
    assert "0.1.0" in stored()


@pytest.mark.usefixtures("deployed")
def test_the_store_keeps_all_where_a_file_does_not_say_what_it_wants(
    stored: Callable[[], list[str]], asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    asked["org"] = "acme"
    asked["metis"]["orgs"]["broken"] = {"file": "broken.sls", "topology": None, "faults": []}
    assert _verb()[-1]["result"] is True
    assert len(stored()) == 6
    assert "keeps all its releases: what broken wants is not known" in capsys.readouterr().err


@pytest.mark.usefixtures("deployed")
def test_the_store_keeps_all_where_the_record_of_one_that_is_gone_is_damaged(
    stored: Callable[[], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (record,) = tmp_path.rglob("deployed/acme.yaml")
    record.with_name("gone.yaml").write_text("")
    assert _verb()[-1]["result"] is True
    assert len(stored()) == 6
    assert "keeps all its releases: " in capsys.readouterr().err


@pytest.mark.usefixtures("deployed")
def test_the_store_keeps_as_many_as_the_file_says(
    stored: Callable[[], list[str]], asked: dict[str, Any]
) -> None:
    asked["metis"]["orgs"]["acme"]["topology"]["releases_kept"] = 4
    _verb()
    assert stored() == ["0.1.0", "0.2.0", OLD, NEW, "0.5.0"]
