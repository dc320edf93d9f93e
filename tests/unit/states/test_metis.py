"""The phases of a verb: which hosts act, in which order, and what the operator is told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_ask, metis_host, metis_run
from _states import metis
from tests.unit import orgs
from tests.unit.states.fleet import (
    INSTANCES,
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

ROLES = ["consul", "carrier", "admin", "ice_via", "data", "compute"]


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def configure_loader_modules(verb: Callable[..., Modules], fleet: Fleet, shelf: Shelf) -> Modules:
    release = {"metis_orgs.release": lambda name: orgs.RELEASE}
    wired = verb(fleet, functions=release | {"metis_store.fill": shelf.fill})
    wired[metis]["__states__"] = {"metis_store.served": shelf.served}
    return wired


@pytest.fixture
def guarded(acme: dict[str, Any]) -> Callable[[], State]:
    """The first state of every verb, over the usual organization."""
    return lambda: metis.guarded("guard")


# A release


def test_only_a_verb_that_goes_to_a_release_may_be_told_one(
    guarded: Callable[[], State], asked: dict[str, Any], fleet: Fleet
) -> None:
    asked["release"] = "0.4.0"
    done = guarded()
    assert done["result"] is False
    assert "metis.upgrade and metis.rollback alone" in done["comment"]
    assert fleet.jobs == []
    assert metis.guarded("guard", takes=["release"])["result"] is True


# The store


class Shelf:
    """The store and its server, as a test says."""

    def __init__(self) -> None:
        self.filled: State = {"changes": {}, "problems": []}
        self.server: State = {"result": True, "changes": {}, "comment": "the store is served"}
        self.asked: list[tuple[list[str], bool]] = []
        self.stores: list[dict[str, Any]] = []

    def fill(
        self, release: dict[str, Any], roles: list[str], say: Callable[[str], None], test: bool
    ) -> State:
        """Stand in for `metis_store.fill`."""
        self.asked.append((roles, test))
        say("  carrier: 18.1 MB in 0.2 s")
        return self.filled

    def served(self, name: str, stores: list[dict[str, Any]]) -> State:
        """Stand in for the state `metis_store.served`."""
        self.stores = stores
        return self.server | {"name": name}


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_prepare_asks_no_host(
    guarded: Callable[[], State], fleet: Fleet, shelf: Shelf, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded()
    fleet.jobs.clear()
    assert metis.guarded("guard", hosts=False)["result"] is True
    done = metis.stored("The release is in the master's store")
    assert (done["result"], done["comment"]) == (True, "all is there")
    assert metis.served("The store is served")["result"] is True
    assert fleet.jobs == []
    assert shelf.asked == [(sorted(ROLES), False)]
    assert shelf.stores == [{"address": None, "port": 8014}]
    assert "carrier: 18.1 MB in 0.2 s" in capsys.readouterr().err


def test_only_what_is_asked_for_is_stored(
    guarded: Callable[[], State], asked: dict[str, Any], shelf: Shelf
) -> None:
    asked["roles"] = "carrier"
    guarded()
    metis.stored("stored")
    assert shelf.asked == [(["carrier"], False)]


@pytest.mark.parametrize(("test", "result"), [(False, True), (True, None)])
def test_what_was_fetched_is_told(
    guarded: Callable[[], State], opts: dict[str, Any], shelf: Shelf, test: bool, result: bool
) -> None:
    opts["test"] = test
    shelf.filled["changes"] = {"0.3.0/carrier": {"old": None, "new": "ab"}}
    guarded()
    done = metis.stored("stored")
    assert (done["result"], list(done["changes"])) == (result, ["0.3.0/carrier"])
    assert shelf.asked[0][1] is test


def test_the_store_has_what_an_upgrade_goes_to_as_well(
    guarded: Callable[[], State], shelf: Shelf
) -> None:
    guarded()
    metis_run.now()["target"] = "0.4.0"
    assert metis.stored("stored")["result"] is True
    assert shelf.asked == [(sorted(ROLES), False)] * 2


def test_a_store_that_lacks_something_ends_the_verb_before_a_host_is_touched(
    guarded: Callable[[], State], fleet: Fleet, shelf: Shelf
) -> None:
    shelf.filled["problems"] = ["carrier could not be downloaded", "admin.jar could not either"]
    guarded()
    done = metis.stored("stored")
    assert done["result"] is False
    *told, advice = problems(done)
    assert told == shelf.filled["problems"]
    assert advice.startswith("no host was touched")
    assert metis.reached("next", "configured", ROLES)["comment"].startswith("not tried")
    assert fleet.acted() == []


def test_a_server_that_does_not_run_ends_the_verb(
    guarded: Callable[[], State], fleet: Fleet, shelf: Shelf
) -> None:
    shelf.server |= {"result": False, "comment": "metis-store.service: bind() failed"}
    guarded()
    done = metis.served("served")
    assert (done["result"], problems(done)) == (False, ["metis-store.service: bind() failed"])
    assert metis.reached("next", "configured", ROLES)["comment"].startswith("not tried")
    assert fleet.acted() == []


# The guard


def test_a_verb_goes_on_where_every_host_answers(
    guarded: Callable[[], State], fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    done = guarded()
    assert (done["result"], done["changes"]) == (True, {})
    assert done["comment"] == "h1, h2, h3, h4 answer"
    assert fleet.acted("metis_host.ready") == [["h1", "h2", "h3", "h4"]]
    said = capsys.readouterr()
    assert said.out == ""
    assert "organization acme, release 0.3.0: 9 instances on 4 hosts" in said.err


def test_only_the_hosts_that_are_meant_are_asked(
    guarded: Callable[[], State], fleet: Fleet, asked: dict[str, Any]
) -> None:
    asked["roles"] = "carrier,admin"
    guarded()
    assert fleet.acted("metis_host.ready") == [["h1", "h2"]]


def test_a_faulty_file_stops_a_verb_before_any_host_is_asked(
    guarded: Callable[[], State],
    fleet: Fleet,
    acme: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = orgs.org_file(carrier={"rpc_port": 80})
    file["hosts"]["h4"]["roles"].append("consul")
    acme |= orgs.built(file)
    done = guarded()
    assert done["result"] is False
    first, *faults = problems(done)
    assert first.startswith("/pillar/orgs/acme.sls has 3 faults")
    assert len(faults) == 3
    said = capsys.readouterr().err
    assert all(f"FAILED  {line}\n" in said for line in (first, *faults))
    assert fleet.jobs == []


def test_hosts_are_told_which_modules_the_master_has(
    guarded: Callable[[], State], fleet: Fleet, opts: dict[str, Any]
) -> None:
    guarded()
    wanted = metis_host.fingerprint(opts["module_dirs"] + opts["states_dirs"])
    assert fleet.jobs[0][2] == {"wanted": wanted}


def test_a_new_minion_fetches_the_modules_and_is_asked_again(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    fleet.on(
        "h3",
        "metis_host.ready",
        returned("'metis_host.ready' is not available."),
        returned(True),
    )
    assert guarded()["result"] is True
    assert [(fun, hosts) for fun, hosts, _ in fleet.jobs[1:]] == [
        ("saltutil.sync_modules", ["h3"]),
        ("metis_host.ready", ["h3"]),
    ]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (gone("missing"), ["h2 is not a minion of this master", "id: of its salt-minion"]),
        (gone("silent"), ["h2 does not answer, though 10.0.0.2 is up", "salt-minion"]),
        (gone("cut off"), ["h2 answers, and knows no more", "was started again"]),
        (gone("late"), ["h2 still works on it after 120 s", "salt h2 saltutil.running"]),
        (returned("ERROR: the modules are not the master's"), ["h2 failed: ERROR: the modules"]),
    ],
    ids=["missing", "silent", "cut off", "late", "error"],
)
def test_a_host_that_does_not_answer_well_ends_the_verb(
    guarded: Callable[[], State],
    fleet: Fleet,
    capsys: pytest.CaptureFixture[str],
    answer: Answer,
    words: list[str],
) -> None:
    fleet.on("h2", "metis_host.ready", answer)
    done = guarded()
    assert done["result"] is False
    assert len(problems(done)) == 1
    for word in words:
        assert word in done["comment"]
    assert f"FAILED  {problems(done)[0]}" in capsys.readouterr().err


def test_all_hosts_that_do_not_answer_are_named(guarded: Callable[[], State], fleet: Fleet) -> None:
    fleet.on("h1", "metis_host.ready", gone("silent"))
    fleet.on("h4", "metis_host.ready", gone("missing"))
    assert [line[:2] for line in problems(guarded())] == ["h1", "h4"]


def test_hosts_that_a_verb_did_not_begin_with_are_asked_later(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    fleet.jobs.clear()
    metis.guarded("guard", hosts=False)
    assert metis.answering("answering")["result"] is True
    assert [fun for fun, _, _ in fleet.jobs] == ["metis_host.ready"]
    fleet.on("h1", "metis_host.ready", gone("silent"))
    assert problems(metis.answering("answering"))[0].startswith("h1 does not answer")


def test_after_a_failed_guard_nothing_is_tried(
    guarded: Callable[[], State], fleet: Fleet, opts: dict[str, Any]
) -> None:
    # As Salt does not stop a dry run by itself.
    opts["test"] = True
    fleet.on("h1", "metis_host.ready", gone("silent"))
    guarded()
    before = list(fleet.jobs)
    for done in (metis.reached("consul runs", "running", ["consul"]), metis.passing("all")):
        assert done["result"] is False
        assert "not tried" in done["comment"]
    assert fleet.jobs == before


def test_a_master_without_the_pillar_is_told_where_to_look(
    guarded: Callable[[], State], fleet: Fleet, asked: dict[str, Any]
) -> None:
    del asked["metis"]
    done = guarded()
    assert done["result"] is False
    assert "master.d/metis.conf" in done["comment"]
    assert "salt-run metis.status" in done["comment"]
    # It prints every password, and the master keeps what it printed among its jobs.
    assert "show_pillar" not in done["comment"]
    assert fleet.jobs == []


def test_a_master_that_takes_no_job_fails_the_phase_and_no_more(
    guarded: Callable[[], State], fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    away = CommandExecutionError("the Salt master does not take jobs: x")
    usual = fleet.function.side_effect
    for phase in (
        lambda: metis.reached("consul runs", "running", ["consul"]),
        lambda: metis.passing("all"),
        guarded,
    ):
        fleet.function.side_effect = usual
        guarded()
        fleet.function.side_effect = away
        done = phase()
        assert done["result"] is False
        assert problems(done) == ["the Salt master does not take jobs: x"]
    assert "FAILED  the Salt master does not take jobs: x" in capsys.readouterr().err


# A phase


def test_one_job_brings_every_host_to_its_own_roles(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    done = metis.reached("configured", "configured", ROLES, 1800)
    assert (done["result"], done["changes"], done["comment"]) == (True, {}, "unchanged")
    fun, hosts, kwarg = fleet.jobs[-1]
    assert (fun, hosts) == ("metis_host.reach", ["h1", "h2", "h3", "h4"])
    assert kwarg["to"] == "configured"
    assert kwarg["test"] is False
    assert kwarg["roles"] == {
        "h1": ["consul", "carrier"],
        "h2": ["consul", "admin"],
        "h3": ["consul", "ice_via"],
        "h4": ["data", "compute"],
    }


def test_a_phase_is_for_its_roles_only(guarded: Callable[[], State], fleet: Fleet) -> None:
    guarded()
    metis.reached("carrier is stopped", "stopped", ["carrier"])
    assert fleet.jobs[-1][1] == ["h1"]
    assert fleet.jobs[-1][2]["roles"] == {"h1": ["carrier"]}


def test_filters_of_the_verb_hold_in_every_phase(
    guarded: Callable[[], State], fleet: Fleet, asked: dict[str, Any]
) -> None:
    asked |= {"hosts": "h2,h3", "roles": "consul,ice_via"}
    guarded()
    metis.reached("configured", "configured", ROLES)
    assert fleet.jobs[-1][2]["roles"] == {"h2": ["consul"], "h3": ["consul", "ice_via"]}
    done = metis.reached("carrier runs", "running", ["carrier"])
    assert (done["result"], done["comment"]) == (True, "no such instance is wanted")
    assert len(fleet.acted()) == 1


def test_what_changed_is_named_by_host_and_in_its_order(
    guarded: Callable[[], State], fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded()
    fleet.on(
        "h1",
        "metis_host.reach",
        states(
            state("the user", changes=True),
            state("the file"),
            state("directories", changes=True),
            state("directories", changes=True),
        ),
    )
    done = metis.reached("configured", "configured", ["carrier", "consul"])
    assert done["result"] is True
    assert done["changes"] == {"h1": ["the user", "directories"]}
    said = capsys.readouterr().err
    assert "configured (h1, h2, h3): 2 states changed" in said
    # Each host is told of as soon as it is done.
    assert "  h1: 3 of 5 states changed" in said
    assert "  h2: 0 of 1 states changed" in said


def test_a_dry_run_tells_what_would_change(
    guarded: Callable[[], State],
    fleet: Fleet,
    opts: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    opts["test"] = True
    guarded()
    changing = states(state("the file", changes=True, result=None))
    fleet.on("h1", "metis_host.reach", changing)
    done = metis.reached("configured", "configured", ["carrier"])
    assert done["result"] is None
    assert done["changes"] == {"h1": ["the file"]}
    assert done["comment"] == "1 states would change"
    assert fleet.jobs[-1][2]["test"] is True
    assert "would change" in capsys.readouterr().err
    fleet.on("h1", "metis_host.reach", states(state("the file")))
    assert metis.reached("configured", "configured", ["carrier"])["result"] is True


def test_a_failed_state_is_told_with_host_state_and_cause(
    guarded: Callable[[], State], fleet: Fleet, capsys: pytest.CaptureFixture[str]
) -> None:
    guarded()
    cause = "carrier is absent after 60 s\nmetis-carrier.service is failed; its journal:\nno data"
    fleet.on(
        "h1",
        "metis_host.reach",
        states(
            state("the file", changes=True),
            state("carrier passes", result=False, comment=cause),
            state("after it", result=False, comment="One or more requisite failed: carrier"),
        ),
    )
    done = metis.reached("carrier runs", "running", ["carrier"])
    assert done["result"] is False
    assert problems(done) == f"h1: carrier passes: {cause}".splitlines()
    # What was done before it failed was done.
    assert done["changes"] == {"h1": ["the file"]}
    said = capsys.readouterr().err
    assert "FAILED  h1: carrier passes: carrier is absent after 60 s\n" in said
    assert "2 FAILED" in said


def test_a_state_whose_module_is_missing_is_told_by_its_name(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    missing = {
        "result": False,
        "comment": "State 'mysql_user.present' was not found",
        "changes": {},
    }
    answer = states(state("the file"))
    answer["return"]["mysql_user_|-the account_|-x_|-present"] = missing
    fleet.on("h1", "metis_host.reach", answer)
    done = metis.reached("configured", "configured", ["carrier"])
    assert problems(done) == ["h1: the account: State 'mysql_user.present' was not found"]


def test_a_run_that_says_only_by_its_code_that_it_failed_is_a_failure(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    fleet.on("h1", "metis_host.reach", states(state("the file")) | {"retcode": 2})
    done = metis.reached("configured", "configured", ["carrier"])
    assert (done["result"], problems(done)) == (False, ["h1 failed with exit code 2"])


def test_a_busy_host_is_told_of_now_and_then(
    guarded: Callable[[], State],
    fleet: Fleet,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    guarded()
    fleet.busy = 6
    ticks = itertools.count(1000.0, 4.0)
    monkeypatch.setattr(metis_ask.time, "monotonic", lambda: next(ticks))
    metis.reached("configured", "configured", ["carrier"])
    assert 1 < capsys.readouterr().err.count("h1: still at work") < 6


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (gone("silent"), "h1 does not answer"),
        (returned(None), "h1 failed: None"),
        (returned(False), "h1 failed: False"),
        (gone("missing"), "salt-key -a h1"),
        (gone("late"), "h1 still works on it after 900 s"),
        (returned(["Rendering SLS failed: x", "y"]), "h1: Rendering SLS failed: x; y"),
        (
            returned(
                "The minion function caused an exception: Traceback (most recent call last):\n"
                '  File "minion.py", line 1, in a\n    b()\nOSError: No space left on device\n'
            ),
            "h1 failed: The minion function caused an exception: OSError: No space left",
        ),
    ],
    ids=["silent", "nothing", "false", "missing", "late", "does not render", "exception"],
)
def test_a_host_without_a_result_is_a_failure(
    guarded: Callable[[], State], fleet: Fleet, answer: Answer, words: str
) -> None:
    guarded()
    fleet.on("h1", "metis_host.reach", answer)
    done = metis.reached("configured", "configured", ["carrier"])
    assert done["result"] is False
    assert words in done["comment"]


# Who is brought up, who is restarted, who is left alone


def _seen(fleet: Fleet, found: dict[str, list[dict[str, Any]]]) -> None:
    """A first phase in which the instances of hosts were seen so; what acts later is then well."""
    for host, instances in found.items():
        well = [instance(one["id"]) for one in instances]
        fleet.on(host, "metis_host.reach", states(instances=instances), states(instances=well))
    metis.reached("configured", "configured", ROLES)
    fleet.jobs.clear()


WELL = {host: [instance(name) for name in names] for host, names in INSTANCES.items()}


def test_what_runs_as_wanted_costs_no_job(guarded: Callable[[], State], fleet: Fleet) -> None:
    guarded()
    _seen(fleet, WELL)
    for role in ROLES:
        done = metis.reached(f"{role} runs", "running", [role])
        assert (done["result"], done["changes"]) == (True, {})
        assert done["comment"] == "all run and are healthy"
    assert metis.passing("all")["result"] is True
    assert fleet.jobs == []


def test_what_is_down_is_brought_up_together(guarded: Callable[[], State], fleet: Fleet) -> None:
    guarded()
    down = {
        f"h{n}": [instance(f"consul@h{n}", state="absent", healthy=False, since=None)]
        for n in (1, 2, 3)
    }
    _seen(fleet, WELL | down)
    metis.reached("consul runs", "running", ["consul"])
    assert fleet.acted() == [["h1", "h2", "h3"]]


@pytest.mark.parametrize(
    "wrong", [{"drift": ["/etc/metis/consul/consul.json"]}, {"healthy": False}]
)
def test_what_needs_a_restart_has_it_one_host_after_the_other(
    guarded: Callable[[], State], fleet: Fleet, wrong: dict[str, Any]
) -> None:
    guarded()
    drifted = {f"h{n}": [instance(f"consul@h{n}", **wrong)] for n in (1, 2, 3)}
    _seen(fleet, WELL | drifted)
    done = metis.reached("consul runs", "running", ["consul"])
    assert fleet.acted() == [["h1"], ["h2"], ["h3"]]
    assert done["result"] is True


def test_a_restart_that_fails_leaves_the_others_up(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    drifted = {f"h{n}": [instance(f"consul@h{n}", drift=["x"])] for n in (1, 2, 3)}
    _seen(fleet, WELL | drifted)
    failed = states(state("consul has its peers", result=False, comment="2 of 3 peers"))
    fleet.on("h2", "metis_host.reach", failed)
    done = metis.reached("consul runs", "running", ["consul"])
    assert done["result"] is False
    assert problems(done) == ["h2: consul has its peers: 2 of 3 peers"]
    assert fleet.acted() == [["h1"], ["h2"]]


def test_what_was_brought_up_must_be_healthy(guarded: Callable[[], State], fleet: Fleet) -> None:
    guarded()
    _seen(fleet, WELL | {"h1": [instance("consul@h1", drift=["x"]), instance("carrier@h1")]})
    wrong = instance("consul@h1", healthy=False, cause="it does not listen on tcp port 8600")
    other = instance("carrier@h1", healthy=False, cause="of a later phase")
    fleet.on("h1", "metis_host.reach", states(instances=[wrong, other]))
    done = metis.reached("consul runs", "running", ["consul"])
    assert done["result"] is False
    assert problems(done) == ["consul@h1: it does not listen on tcp port 8600", "the journal"]


def test_who_is_down_comes_before_who_is_restarted(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    mixed = {
        "h1": [instance("consul@h1", drift=["x"])],
        "h3": [instance("consul@h3", state="down", healthy=False, since=None)],
    }
    _seen(fleet, WELL | mixed)
    metis.reached("consul runs", "running", ["consul"])
    assert fleet.acted() == [["h3"], ["h1"]]


def test_only_the_phase_s_own_roles_count(guarded: Callable[[], State], fleet: Fleet) -> None:
    guarded()
    drifted = {"h1": [instance("consul@h1"), instance("carrier@h1", drift=["x"])]}
    _seen(fleet, WELL | drifted)
    metis.reached("consul runs", "running", ["consul"])
    assert fleet.acted() == []
    metis.reached("carrier runs", "running", ["carrier"])
    assert fleet.acted() == [["h1"]]


def test_hosts_that_were_not_seen_yet_act(guarded: Callable[[], State], fleet: Fleet) -> None:
    guarded()
    metis.reached("consul runs", "running", ["consul"])
    assert fleet.acted() == [["h1", "h2", "h3"]]


def test_what_is_seen_after_a_phase_is_what_the_next_one_knows(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    down = {"h1": [instance("consul@h1"), instance("carrier@h1", state="down", healthy=False)]}
    _seen(fleet, WELL | down)
    fleet.on("h1", "metis_host.reach", states(instances=WELL["h1"]))
    metis.reached("carrier runs", "running", ["carrier"])
    metis.reached("carrier runs", "running", ["carrier"])
    assert len(fleet.acted()) == 1


@pytest.mark.parametrize("to", ["configured", "stopped"])
def test_every_host_acts_where_nothing_is_started(
    guarded: Callable[[], State], fleet: Fleet, to: str
) -> None:
    guarded()
    _seen(fleet, WELL)
    metis.reached("phase", to, ["consul"])
    assert fleet.acted() == [["h1", "h2", "h3"]]


def test_a_dry_run_looks_at_once_at_those_that_would_be_told(
    guarded: Callable[[], State], fleet: Fleet, opts: dict[str, Any]
) -> None:
    opts["test"] = True
    guarded()
    drifted = {f"h{n}": [instance(f"consul@h{n}", drift=["x"])] for n in (1, 3)}
    _seen(fleet, WELL | drifted)
    metis.reached("consul runs", "running", ["consul"])
    assert fleet.acted() == [["h1", "h3"]]
    metis.reached("admin runs", "running", ["admin"])
    assert fleet.acted() == [["h1", "h3"]]


def test_a_dry_run_counts_once_what_two_phases_would_change(
    guarded: Callable[[], State],
    fleet: Fleet,
    opts: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    opts["test"] = True
    guarded()
    file = state("the file", changes=True, result=None)
    unit = state("consul runs", changes=True, result=None)
    fleet.on("h1", "metis_host.reach", states(file, instances=WELL["h1"]))
    for host in ("h2", "h3"):
        fleet.on(host, "metis_host.reach", states(instances=WELL[host]))
    done = metis.reached("configured", "configured", ["consul"])
    assert done["changes"] == {"h1": ["the file"]}
    fleet.on("h1", "metis_host.reach", states(file, unit, instances=WELL["h1"]))
    fleet.jobs.clear()
    done = metis.reached("consul runs", "running", ["consul"])
    # As a real run, in which the file is what it should be by then.
    assert done["changes"] == {"h1": ["consul runs"]}
    assert fleet.acted() == [["h1"]]
    assert capsys.readouterr().err.count("h1: the file:") == 1


def test_a_dry_run_expects_fighters_to_follow_the_agent(
    guarded: Callable[[], State], fleet: Fleet, opts: dict[str, Any]
) -> None:
    opts["test"] = True
    guarded()
    _seen(fleet, WELL)
    answer = states(instances=WELL["h1"])
    changes = {"restarted": {"old": None, "new": "changed: /etc/x"}}
    answer["return"]["metis_unit_|-consul_|-metis-consul.service_|-running"] = {
        "__id__": "The consul server runs",
        "name": "metis-consul.service",
        "result": None,
        "comment": "",
        "changes": changes,
    }
    fleet.on("h1", "metis_host.reach", answer)
    metis.reached("configured", "configured", ROLES)
    metis.reached("data and compute run", "running", ["data", "compute"])
    (kwarg,) = [kwarg for _, hosts, kwarg in fleet.jobs if hosts == ["h4"]]
    assert kwarg["agent_since"] > 4_000_000_000


@pytest.mark.parametrize(
    ("young", "old"),
    [
        (instance("data@h4:8700", since=3001.0), instance("compute@h4:8800")),
        (instance("data@h4:8700"), instance("compute@h4:8800", since=3001.0)),
    ],
)
def test_fighters_older_than_the_agent_are_started_again(
    guarded: Callable[[], State], fleet: Fleet, young: dict[str, Any], old: dict[str, Any]
) -> None:
    guarded()
    restarted = {"h1": [instance("consul@h1", since=3000.0), instance("carrier@h1")]}
    _seen(fleet, WELL | restarted | {"h4": [young, old]})
    metis.reached("data and compute run", "running", ["data", "compute"])
    assert fleet.acted() == [["h4"]]
    assert fleet.jobs[-1][2]["agent_since"] == 3000.0
    fleet.jobs.clear()
    # carrier and admin look for consul again by themselves.
    metis.reached("admin runs", "running", ["admin"])
    assert fleet.acted() == []


# The last gate


def test_after_something_was_started_every_host_is_looked_at(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    _seen(fleet, WELL | {"h1": [instance("carrier@h1", state="down", healthy=False)]})
    metis.reached("carrier runs", "running", ["carrier"])
    for host, instances in WELL.items():
        fleet.on(host, "metis_instance.status", returned(instances))
    done = metis.passing("all", 60)
    assert done["result"] is True
    assert done["comment"].startswith("9 instances: admin@h2, carrier@h1")
    assert fleet.jobs[-1] == ("metis_instance.status", ["h1", "h2", "h3", "h4"], {"wait": 60})


def test_only_who_was_not_healthy_is_looked_at_where_nothing_was_started(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    _seen(fleet, WELL | {"h4": [instance("data@h4:8700", healthy=False), *WELL["h4"][1:]]})
    fleet.on("h4", "metis_instance.status", returned(WELL["h4"]))
    assert metis.passing("all")["result"] is True
    assert fleet.acted("metis_instance.status") == [["h4"]]


def test_what_is_not_healthy_is_named_with_its_cause(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    _seen(fleet, WELL | {"h4": [instance("data@h4:8700", healthy=False), *WELL["h4"][1:]]})
    wrong = instance("data@h4:8700", healthy=False, cause="dataService_x is critical")
    fleet.on("h4", "metis_instance.status", returned([wrong, *WELL["h4"][1:]]))
    done = metis.passing("all")
    assert done["result"] is False
    assert problems(done) == ["data@h4:8700: dataService_x is critical", "the journal"]


def test_what_the_verb_was_not_asked_for_need_not_be_healthy(
    guarded: Callable[[], State], fleet: Fleet, asked: dict[str, Any]
) -> None:
    asked["roles"] = "carrier"
    guarded()
    consul = instance("consul@h1", healthy=False, cause="consul has no leader")
    _seen(fleet, {"h1": [consul, instance("carrier@h1")]})
    fleet.on("h1", "metis_instance.status", returned([consul, instance("carrier@h1")]))
    assert metis.passing("all")["result"] is True


def test_what_its_host_does_not_know_does_not_pass(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    _seen(fleet, WELL | {"h4": WELL["h4"][1:]})
    fleet.on("h4", "metis_instance.status", returned(WELL["h4"][1:]))
    done = metis.passing("all")
    assert done["result"] is False
    assert done["comment"].startswith("data@h4:8700")


def test_a_host_that_is_gone_at_the_end_is_a_failure(
    guarded: Callable[[], State], fleet: Fleet
) -> None:
    guarded()
    _seen(fleet, WELL | {"h4": [instance("data@h4:8700", healthy=False, cause="c")]})
    fleet.on("h4", "metis_instance.status", gone("silent"))
    done = metis.passing("all")
    assert done["result"] is False
    assert "h4 does not answer" in done["comment"]


def test_a_dry_run_looks_at_no_registration(
    guarded: Callable[[], State], fleet: Fleet, opts: dict[str, Any]
) -> None:
    opts["test"] = True
    guarded()
    fleet.jobs.clear()
    assert metis.passing("all")["result"] is True
    assert fleet.jobs == []
