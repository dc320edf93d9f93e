"""The orchestrations, as Salt compiles them on the master."""

from functools import cache

import pytest

from tests.render.compiler import ROLES, STATES, Data, Host
from tests.render.matrix import ALONE, Matrix

VERBS = sorted(file.stem for file in (STATES / "metis").glob("*.sls"))
# The order that a first start demands: each needs those before it.
ORDER = [["consul"], ["carrier"], ["admin"], ["ice_via"], ["data", "compute"]]
each_verb = pytest.mark.parametrize("verb", VERBS)


@pytest.fixture(scope="module")
def master(matrix: Matrix) -> Host:
    return Host(matrix.folder, matrix.pillars(ALONE)["metis_master"])


@cache
def _phases(master: Host, verb: str) -> list[Data]:
    return master.compile([f"metis.{verb}"])


@each_verb
def test_a_verb_is_something_that_the_master_can_run(master: Host, verb: str) -> None:
    faults = [fault for phase in _phases(master, verb) for fault in master.faults(phase)]
    assert not faults


@each_verb
def test_a_verb_looks_before_it_acts_and_ends_at_the_first_failure(master: Host, verb: str) -> None:
    phases = _phases(master, verb)
    assert (phases[0]["state"], phases[0]["fun"]) == ("metis", "guarded")
    assert all(phase["failhard"] is True for phase in phases)
    # Nothing but our own phases: they call a host that is silent, late or unknown by its name.
    more = ("backup", "bootstrap", "check", "cleanup", "restore", "scale_in", "upgrade")
    own = {"metis"} | {f"metis_{one}" for one in more}
    assert {phase["state"] for phase in phases} <= own


@each_verb
def test_phases_are_in_the_order_that_programs_need(master: Host, verb: str) -> None:
    phases = [phase for phase in _phases(master, verb) if phase["fun"] == "reached"]
    started = [phase["roles"] for phase in phases if phase["to"] == "running"]
    stopped = [phase["roles"] for phase in phases if phase["to"] == "stopped"]
    assert started in ([], ORDER)
    assert stopped in ([], ORDER[::-1])
    for phase in phases:
        if phase["to"] in ("installed", "configured"):
            # All at once, and before anything starts.
            assert phase["roles"] == list(ROLES)
            assert phase is phases[0]


@pytest.mark.parametrize("verb", ["upgrade", "rollback"])
def test_a_release_is_laid_down_before_anything_is_switched(master: Host, verb: str) -> None:
    phases = [p for p in _phases(master, verb) if p["state"] == "metis_upgrade"]
    assert [phase["fun"] for phase in phases[:2]] == ["prepared", "laid_down"]
    switched = [phase for phase in phases if phase["fun"] == "switched"]
    # ice_via has no release of its own.
    assert [phase["roles"] for phase in switched] == [r for r in ORDER if r != ["ice_via"]]
    assert phases[0].get("back", False) is (verb == "rollback")
    assert phases[-1]["fun"] == ("settled" if verb == "rollback" else "pruned")


def test_what_is_deployed_is_settled_and_stored_before_hosts_are_told(master: Host) -> None:
    assert [phase["fun"] for phase in _phases(master, "deploy")[:7]] == [
        "guarded",
        "fit",
        "recorded",
        "settled",
        "stored",
        "served",
        "reached",
    ]
    for verb in ("upgrade", "rollback"):
        known = [phase["fun"] for phase in _phases(master, verb)]
        assert known[:5] == ["guarded", "prepared", "stored", "served", "laid_down"]


def test_a_check_tells_no_host_to_be_anything(master: Host) -> None:
    phases = _phases(master, "check")
    assert [phase["fun"] for phase in phases] == ["guarded", "looked", "mended", "fit"]
    assert phases[-1]["whole"] is True


def test_deploy_and_start_end_with_a_look_at_everything(master: Host) -> None:
    for verb in ("deploy", "start"):
        assert _phases(master, verb)[-1]["fun"] == "passing"


def test_cleanup_looks_and_asks_before_anything_goes(master: Host) -> None:
    known = [phase["fun"] for phase in _phases(master, "cleanup")]
    assert known == ["guarded", "surveyed", "allowed", "removed", "proven", "forgotten"]


def test_a_scale_in_takes_out_in_the_order_in_which_programs_need_each_other(master: Host) -> None:
    phases = _phases(master, "scale_in")
    assert [phase["fun"] for phase in phases[:2]] == ["guarded", "prepared"]
    assert phases[0]["leaving"] is True
    assert [phase["roles"] for phase in phases[2:]] == ORDER[::-1]


def test_stop_stops_every_role_and_starts_none(master: Host) -> None:
    phases = _phases(master, "stop")
    assert [phase.get("to") for phase in phases] == [None] + ["stopped"] * len(ORDER)


def test_what_was_lost_comes_back_before_the_program_that_needs_it_starts(master: Host) -> None:
    phases = _phases(master, "restore")
    done = [
        str(p["part"]) if "part" in p else " ".join([p.get("to", p["fun"]), *p.get("roles", [])])
        for p in phases
    ]
    assert done[:3] == ["guarded", "verified", "allowed"]
    # carrier's configuration would make a new key.
    assert done.index("p2p.key") < done.index(f"configured {' '.join(ROLES)}")
    assert done.index("running consul") < done.index("consul.snapshot")
    assert done.index("consul.snapshot") < done.index("running carrier")
    assert done.index("database.sql.gz") < done.index("running admin")
    assert done[-2:] == ["passing", "ended"]


def test_nothing_is_written_before_it_is_known_for_whom_and_where(master: Host) -> None:
    assert [p["fun"] for p in _phases(master, "backup")] == ["guarded", "prepared", "written"]
