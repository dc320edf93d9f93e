"""The commands of `./lab`, where they decide something."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.lab import arguments, cli, fleet, network, record, teardown
from tests.lab.host import Host
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


@pytest.mark.parametrize(
    ("deploys", "statuses", "ended"),
    [
        # Two organizations are deployed, and then shown.
        ([0, 0], [0, 0], 0),
        ([0, 0], [1, 0], 1),
        ([0, 2], [], 2),
        ([3], [], 3),
    ],
)
def test_a_demo_ends_at_a_deploy_that_failed_and_tells_what_is_not_healthy(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    deploys: list[int],
    statuses: list[int],
    ended: int,
) -> None:
    called: list[Sequence[str]] = []
    codes = iter(deploys + statuses)

    def call(host: Host, argv: Sequence[str]) -> int:
        called.append(argv)
        return next(codes)

    hosts = {"a1": Host("demo", "a1", "10.77.0.11", ("consul",), "debian12", ())}
    monkeypatch.setattr(cli, "_with_tools", lambda progress: None)
    monkeypatch.setattr(cli, "_call", call)
    monkeypatch.setattr(fleet.Lab, "up", lambda lab: None)
    monkeypatch.setattr(fleet.Lab, "master", hosts["a1"])
    monkeypatch.setattr(fleet.Lab, "hosts", hosts)
    words = arguments.parse(["demo", "--org", "a.sls", "--org", "b.sls"])
    assert cli._demo(words) == ended
    verbs = [argv[1] for argv in called]
    assert verbs == ["state.orchestrate"] * len(deploys) + ["metis.status"] * len(statuses)
    assert ("./lab shell a1\n" in capsys.readouterr().out) is bool(statuses)


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with folders of tests."""
    for name in ("fleet", "faults", "lab", "unit", "lint"):
        (tmp_path / "tests" / name).mkdir(parents=True)
        (tmp_path / "tests" / name / "__init__.py").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("on_hosts", "others"), [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_every_folder_is_tested_and_each_failure_counts(
    folders: Path, capfdbinary: pytest.CaptureFixture[bytes], on_hosts: int, others: int
) -> None:
    codes = f"{on_hosts} if 'tests/lab' in sys.argv else {others}"
    command = [sys.executable, "-c", f"import sys; print(*sys.argv); sys.exit({codes})"]
    ended = cli._everything(command, Progress())
    assert bool(ended) == bool(on_hosts or others)
    said = capfdbinary.readouterr().out.decode()
    first, _, second = (line.split() for line in said.splitlines())
    assert {"tests/fleet", "tests/faults", "tests/lab"} < {*first}
    assert {"tests/unit", "tests/lint"} < {*second}
