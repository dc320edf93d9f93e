"""The master's side fails: salt-master, salt-run, the operator, the master's disk."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from tests.faults.fault import (
    LIMIT,
    Ended,
    Fault,
    Running,
    broken,
    mended,
    met,
    newest,
    refused,
    tell,
    until,
)
from tests.fleet.organization import NAME, Organization

ANSWERED = "every host answers"
CARRIER = {"roles": "carrier"}
STOPPED = Fault(
    "a master that does not run",
    breaks=("master", "systemctl stop salt-master"),
    mends=("master", "systemctl start salt-master"),
    words=("the Salt master does not run, or not on port 4506: systemctl status salt-master",),
)
# systemd would start it again at once.
KILLED = Fault(
    "a master that is killed",
    breaks=("master", "systemctl kill --signal=KILL salt-master; systemctl stop salt-master"),
    mends=STOPPED.mends,
    words=STOPPED.words,
)
_LOCKS = "/etc/salt/pki/master/metis/locks"
LOCKS = Fault(
    "a folder of locks that cannot be written",
    breaks=("master", f"mount -t tmpfs -o ro tmpfs {_LOCKS}"),
    mends=("master", f"umount {_LOCKS}"),
    words=(f"{_LOCKS}/{NAME}", "Read-only file system"),
)
_JOURNALS = f"/var/log/salt/metis/{NAME}"
JOURNALS = Fault(
    "a folder of journals that cannot be written",
    breaks=("master", f"mount -t tmpfs -o ro tmpfs {_JOURNALS}"),
    mends=("master", f"umount {_JOURNALS}"),
    words=(),
)


def test_a_master_that_does_not_run_is_told(org: Organization) -> None:
    ended = met(org, [STOPPED], "failed", "start", CARRIER)
    for words in STOPPED.words:
        assert words in ended.told
    assert ended.done == []


def test_a_lock_that_cannot_be_taken_is_told(org: Organization) -> None:
    ended = met(org, [LOCKS], "failed", "prepare")
    for words in LOCKS.words:
        assert words in ended.told
    assert ended.done == []


def test_a_journal_that_cannot_be_kept_is_told_and_the_verb_is_done(org: Organization) -> None:
    with broken(org, [JOURNALS]):
        ended = tell(org, "prepare")
    assert ended.code == 0
    assert "this run has no journal: " in ended.err
    assert "Read-only file system" in ended.err


def test_a_master_that_is_killed_in_the_middle_of_a_deploy(org: Organization) -> None:
    run = Running(org, "deploy")
    run.until(ANSWERED)
    with broken(org, [KILLED]):
        ended = run.ended()
    _tells_of_the_master(org, ended)
    mended(org, "deploy")


def _tells_of_the_master(org: Organization, ended: Ended) -> None:
    """Salt has no result to show where the master is not there any more to be told."""
    assert ended.code == 1
    assert KILLED.words[0] in ended.err
    assert "salt-run metis.report has it" in ended.err
    assert newest(org)["result"] == "failed"


def test_a_salt_run_that_is_killed_in_the_middle_of_a_deploy(org: Organization) -> None:
    run = Running(org, "deploy")
    run.until(ANSWERED)
    run.signal(signal.SIGKILL)
    assert run.ended().code != 0
    cut_off = newest(org)
    assert cut_off["result"] == "interrupted"
    again = mended(org, "deploy")
    assert f"run {cut_off['run']}, begun " in again.err
    assert "is taken over: that run was cut off" in again.err


def test_an_interrupt_at_the_operator_s_terminal(org: Organization) -> None:
    run = Running(org, "start", CARRIER)
    run.until(ANSWERED)
    run.signal(signal.SIGINT)
    ended = run.ended()
    assert ended.code == 130
    assert "interrupted; hosts end what they were told" in ended.err
    assert "salt-run state.orchestrate metis.start" in ended.err
    assert newest(org)["result"] == "interrupted"
    # It ended in order, so there is no lock to take over.
    assert "is taken over" not in mended(org, "start", CARRIER).err


def test_of_two_operators_the_second_is_told_whose_turn_it_is(org: Organization) -> None:
    first = Running(org, "start", CARRIER)
    first.until(ANSWERED)
    with first.held():
        run = newest(org)
        assert run["result"] == "running"
        second = refused(org, "locked", "stop")
        # The other organization of this master has a lock of its own.
        other = tell(org, "prepare", {"org": "demo"})
    assert f"{NAME} is locked by metis.start of root (process " in second.told
    assert f"run {run['run']}, begun " in second.told
    assert second.done == []
    assert other.code == 0, other.err
    assert first.ended().code == 0


def test_a_run_whose_lock_was_taken_ends_at_its_next_phase(org: Organization) -> None:
    first = Running(org, "start", CARRIER)
    first.until(ANSWERED)
    unlock = ["metis.unlock", f"org={NAME}"]
    with first.held():
        run = newest(org)["run"]
        asked = org.lab.salt_run(unlock, check=False)
        assert asked.returncode == 1
        assert f"salt-run metis.unlock org={NAME} run={run}" in asked.stdout
        done = org.lab.salt_run([*unlock, f"run={run}"])
        assert "is let go of; end that process: kill " in done.stdout
    ended = first.ended()
    assert (ended.code, ended.reason) == (1, "locked")
    assert "the lock was taken from this run by metis.unlock" in ended.told
    mended(org, "start", CARRIER)
    assert f"{NAME} is not locked" in org.lab.salt_run(unlock).stdout


@contextmanager
def _wanting(org: Organization, release: str) -> Iterator[None]:
    with org.edited(("release: sandbox\n", f"release: {release}\n")):
        yield
        assert tell(org, "rollback", CARRIER).code == 0


def test_an_upgrade_goes_on_after_the_master_and_after_salt_run_were_killed(
    org: Organization,
) -> None:
    record = org.lab.master.root / f"etc/salt/pki/master/metis/deployed/{NAME}.yaml"

    def _recorded() -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(record.read_text(encoding="utf-8"))
        entry: dict[str, Any] = found["carrier@fleet1"]
        return entry

    with _wanting(org, "sandbox2"):
        run = Running(org, "upgrade", CARRIER)
        run.until("It is laid down beside the one that runs")
        with broken(org, [KILLED]):
            ended = run.ended()
        _tells_of_the_master(org, ended)
        org.lab.await_minions()
        run = Running(org, "upgrade", CARRIER)
        until(lambda: _recorded()["release"] == "sandbox2", LIMIT)
        run.signal(signal.SIGKILL)
        assert run.ended().code != 0
        assert newest(org)["result"] == "interrupted"
        mended(org, "upgrade", CARRIER)
        assert _recorded()["release"] == "sandbox2"
        assert org.status()["carrier@fleet1"]["health"] == "healthy"


def _lines(kept: object) -> set[str]:
    """Every line of what is kept, with the passwords and the keys among them."""
    if isinstance(kept, dict):
        return {line for value in kept.values() for line in _lines(value)}
    return {line for line in str(kept).splitlines() if not line.startswith("-----")}


def test_no_journal_has_a_secret(org: Organization) -> None:
    master = org.lab.master.root
    file = master / f"etc/salt/pki/master/metis/{NAME}.yaml"
    kept = yaml.safe_load(file.read_text(encoding="utf-8"))
    journals = "".join(
        file.read_text(encoding="utf-8") for file in (master / _JOURNALS.lstrip("/")).iterdir()
    )
    assert '"event": "end"' in journals
    assert kept["mysql_password"] in _lines(kept)
    assert not [secret for secret in _lines(kept) if secret in journals]
