"""Hosts that do not answer, or not to the end."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.fault import Ended, Fault, Running, broken, mended, newest, refused, until
from tests.fleet.organization import Organization

RESTART = "its salt-minion is stopped, frozen or deaf: on it, systemctl restart salt-minion"
# Where a key was rejected, the master notes here to change its own, within a minute.
NOTED = "/var/cache/salt/master/.dfn"

# All at once: the report names each with its own cause.
SILENT = [
    Fault(
        "a minion that is stopped",
        breaks=("fleet1", "systemctl stop salt-minion"),
        mends=("fleet1", "systemctl start salt-minion"),
        words=(f"fleet1 does not answer, though 10.77.0.21 is up: {RESTART}",),
    ),
    Fault(
        "a minion that is frozen",
        breaks=("fleet2", "systemctl kill --signal=STOP salt-minion"),
        # Salt 3008 is deaf after that, where the master's key was changed meanwhile.
        mends=("fleet2", "systemctl kill --signal=CONT salt-minion; systemctl restart salt-minion"),
        words=(f"fleet2 does not answer, though 10.77.0.22 is up: {RESTART}",),
    ),
    Fault(
        "a minion whose key was rejected",
        breaks=("master", "salt-key --yes --include-accepted --reject=fleet3"),
        mends=("master", "salt-key --yes --include-rejected --accept=fleet3"),
        words=("fleet3 has a key that was rejected: salt-key -a fleet3 --include-rejected",),
    ),
]
OFF = "fleet4 does not answer, and nothing else at 10.77.0.24: it is off or cut off from the master"


@pytest.fixture(scope="module")
def silent(org: Organization) -> Ended:
    off = org.lab.host("fleet4")
    with broken(org, SILENT):
        off.kill()
        try:
            with ThreadPoolExecutor() as pool:
                status = pool.submit(org.status)
                ended = refused(org, "hosts-missing", "deploy")
            states = {row["state"] for row in status.result().values()}
        finally:
            off.start()
    # As the verb says: a minion gives up at a key that is rejected.
    org.lab.host("fleet3").run(["systemctl", "restart", "salt-minion"])
    mended(org, "deploy")
    # The next test freezes a minion too, and means to hear of it again.
    until(lambda: org.lab.master.run(["test", "-e", NOTED], check=False).returncode != 0, 70)
    assert states == {"unknown"}
    return ended


@pytest.mark.parametrize("fault", SILENT, ids=str)
def test_a_host_that_does_not_answer_is_named(silent: Ended, fault: Fault) -> None:
    for words in fault.words:
        assert words in silent.told


def test_a_host_without_power_is_named(silent: Ended) -> None:
    assert OFF in silent.told


def test_no_host_is_touched_where_one_is_missing(silent: Ended) -> None:
    assert silent.done == []
    assert silent.told.count(" does not answer") == 3


# consul holds no quorum while two of three servers hang, and whoever waits for it waits 60 s.
HANGING = [
    Fault(
        f"a consul server that hangs on {host}",
        breaks=(host, "systemctl kill --signal=STOP metis-consul"),
        mends=(host, "systemctl kill --signal=CONT metis-consul"),
        words=(),
    )
    for host in ("fleet2", "fleet3")
]
CONSUL = {"roles": "consul"}


@pytest.fixture(scope="module")
def in_the_middle(org: Organization) -> tuple[Ended, Ended]:
    """A verb that lost hosts in the middle of a state, and the same command afterwards."""
    late, dead = org.lab.host("fleet2"), org.lab.host("fleet3")
    with broken(org, HANGING):
        run = Running(org, "start", CONSUL)
        run.until("fleet3: still at work")
        dead.run(["systemctl", "kill", "--signal=KILL", "salt-minion"])
        late.run(["systemctl", "kill", "--signal=STOP", "salt-minion"])
        try:
            ended = run.ended()
        finally:
            late.run(["systemctl", "kill", "--signal=CONT", "salt-minion"])
    assert (ended.code, ended.reason) == (1, "hosts-missing")
    assert newest(org)["result"] == "hosts-missing"
    return ended, mended(org, "start", CONSUL)


def test_a_minion_that_is_killed_in_the_middle_of_a_state_is_named(
    in_the_middle: tuple[Ended, Ended],
) -> None:
    words = "fleet3 answers, and knows no more of what it was told: its salt-minion, or the host"
    assert words in in_the_middle[0].told


def test_a_minion_that_answers_after_the_timeout_is_named_and_does_no_harm(
    in_the_middle: tuple[Ended, Ended],
) -> None:
    failed, again = in_the_middle
    assert "fleet2 does not answer, though 10.77.0.22 is up" in failed.told
    # It goes on with what it was told before, and the same command goes through all the same.
    assert "Everything is registered and passes" in again.done


def test_consul_without_quorum_is_named(in_the_middle: tuple[Ended, Ended]) -> None:
    told = in_the_middle[0].told
    # One that leads is taken for the leader until it has missed the others, and keys come next.
    assert re.search(
        r"^fleet1: [^\n]*(consul has leader ''|: No cluster leader)", told, re.MULTILINE
    )
    assert "the end of its journal:" in told
