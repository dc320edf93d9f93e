"""One verb at a time: the lock of an organization."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_lock, metis_secrets
from tests.unit import orgs

HOLDER = {"run": "r1", "verb": "deploy", "user": "root", "pid": 7, "begun": 0.0}
TIMEOUT = 20


@pytest.fixture
def configure_loader_modules(tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    own = {"__opts__": {"pki_dir": str(tmp_path)}, "__salt__": orgs.by_salts_name(metis_secrets)}
    return {metis_lock: own, metis_secrets: own}


@contextmanager
def _held_elsewhere() -> Iterator[int]:
    """Another process has the lock until it is killed."""
    fork = multiprocessing.get_context("fork")
    taken = fork.Event()

    def hold() -> None:
        metis_lock.take("acme", HOLDER)
        taken.set()
        signal.pause()

    process = fork.Process(target=hold)
    process.start()
    try:
        assert taken.wait(TIMEOUT)
        assert process.pid
        yield process.pid
    finally:
        process.kill()
        process.join(TIMEOUT)


def test_who_comes_second_is_told_who_was_first() -> None:
    first = metis_lock.take("acme", HOLDER)
    assert first["held"] is None
    assert first["before"] is None
    second = metis_lock.take("acme", HOLDER | {"run": "r2"})
    assert (second["file"], second["held"]) == (None, HOLDER)
    assert metis_lock.holder("acme") == HOLDER
    metis_lock.release(first["file"])
    assert metis_lock.holder("acme") is None


def test_organizations_do_not_wait_for_each_other() -> None:
    files = [metis_lock.take(org, HOLDER)["file"] for org in ("acme", "other")]
    assert None not in files
    for file in files:
        metis_lock.release(file)


def test_of_a_run_that_came_to_its_end_nothing_is_left() -> None:
    metis_lock.release(metis_lock.take("acme", HOLDER)["file"])
    again = metis_lock.take("acme", HOLDER)
    assert again["before"] is None
    metis_lock.release(again["file"])


def test_the_lock_of_a_process_that_was_killed_is_taken_over_and_that_is_known() -> None:
    with _held_elsewhere() as pid:
        assert metis_lock.take("acme", HOLDER | {"run": "r2"})["held"] == HOLDER
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        taken = metis_lock.take("acme", HOLDER | {"run": "r2"})
        assert taken["before"] == HOLDER
        metis_lock.release(taken["file"])


def test_a_forgotten_lock_is_the_next_one_s_and_the_first_one_can_tell() -> None:
    first = metis_lock.take("acme", HOLDER)["file"]
    assert metis_lock.is_ours("acme", first)
    metis_lock.forget("acme")
    second = metis_lock.take("acme", HOLDER | {"run": "r2"})["file"]
    assert second is not None
    assert not metis_lock.is_ours("acme", first)
    assert metis_lock.is_ours("acme", second)
    # The first one lets go of its own, and of no other.
    metis_lock.release(first)
    assert metis_lock.holder("acme") == HOLDER | {"run": "r2"}
    metis_lock.release(second)


def test_a_half_written_holder_is_no_fault(tmp_path: Path) -> None:
    metis_lock.release(metis_lock.take("acme", HOLDER)["file"])
    (tmp_path / "metis/locks/acme").write_text('{"run": "r')
    taken = metis_lock.take("acme", HOLDER)
    assert (taken["held"], taken["before"]) == (None, None)
    metis_lock.release(taken["file"])


def test_the_lock_is_for_the_master_s_user_only(tmp_path: Path) -> None:
    metis_lock.release(metis_lock.take("acme", HOLDER)["file"])
    assert (tmp_path / "metis/locks/acme").stat().st_mode & 0o777 == 0o600


def test_a_look_writes_nothing(tmp_path: Path) -> None:
    assert metis_lock.holder("acme") is None
    assert list((tmp_path / "metis/locks").iterdir()) == []
