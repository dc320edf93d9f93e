"""The commands of `./lab`, where they decide something."""

from contextlib import nullcontext

import pytest

from tests.lab import cli, network, record, teardown
from tests.lab.progress import Progress


@pytest.mark.parametrize(
    ("left", "keep", "done"),
    [
        (True, False, ["clear", "make"]),
        (True, True, ["make"]),
        (False, False, ["make"]),
    ],
)
def test_tests_begin_without_the_hosts_of_a_run_that_was_cut_off(
    monkeypatch: pytest.MonkeyPatch, left: bool, keep: bool, done: list[str]
) -> None:
    there = record.Record(("/elsewhere/fleet.sls",), True, ()) if left else None
    did: list[str] = []
    monkeypatch.setattr(record, "load", lambda lab: there)
    monkeypatch.setattr(teardown, "exclusive", lambda lab: nullcontext())
    monkeypatch.setattr(teardown, "clear", lambda lab: did.append("clear"))
    monkeypatch.setattr(network, "make", lambda lab: did.append("make"))
    cli._make_room(keep, Progress())
    assert did == done
