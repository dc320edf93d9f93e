"""What is pruned on a host, and what never is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_releases


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    functions = {"file.remove": shutil.rmtree, "pillar.items": lambda unmask: {}}
    return {metis_releases: {"__salt__": functions}}


def _view(programs: Path, kept: int, *deployed: str, before: str = "") -> dict[str, Any]:
    instances = [
        {"release": name, "link": str(programs / f"../data/{8700 + number}")}
        for number, name in enumerate(deployed)
    ]
    role = {
        "programs": str(programs),
        "kept": [*deployed, before] if before else list(deployed),
        "instances": instances,
    }
    return {"releases_kept": kept, "roles": {"data": role}}


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """Five releases, r5 the youngest."""
    found = tmp_path / "fighter"
    (tmp_path / "data").mkdir()
    for number in range(1, 6):
        folder = found / f"releases/r{number}"
        folder.mkdir(parents=True)
        os.utime(folder, (number, number))
    return found


def _left(programs: Path) -> list[str]:
    return sorted(path.name for path in (programs / "releases").iterdir())


def test_the_one_that_runs_and_the_one_before_are_left(programs: Path) -> None:
    view = _view(programs, 2, "r4", before="r2")
    told = metis_releases.prune(test=True, seen=view)
    assert _left(programs) == ["r1", "r2", "r3", "r4", "r5"]
    assert metis_releases.prune(seen=view) == told
    assert {Path(path).name for path in told} == {"r1", "r3", "r5"}
    assert _left(programs) == ["r2", "r4"]
    assert metis_releases.prune(seen=view) == []


@pytest.mark.parametrize(
    ("kept", "left"), [(1, ["r4"]), (3, ["r2", "r4", "r5"]), (9, ["r1", "r2", "r3", "r4", "r5"])]
)
def test_as_many_are_left_as_the_file_says(programs: Path, kept: int, left: list[str]) -> None:
    metis_releases.prune(seen=_view(programs, kept, "r4", before="r2"))
    assert _left(programs) == left


def test_what_is_in_use_is_left_whatever_the_number(programs: Path, tmp_path: Path) -> None:
    # Deployed are two, a link points to a third, and a process runs in a fourth.
    view = _view(programs, 1, "r5", "r4")
    (tmp_path / "data/8701").symlink_to(programs / "releases/r3")
    with subprocess.Popen(["sleep", "60"], cwd=programs / "releases/r1") as running:
        try:
            metis_releases.prune(seen=view)
        finally:
            running.kill()
    assert _left(programs) == ["r1", "r3", "r4", "r5"]


def test_a_host_of_no_organization_removes_nothing(programs: Path) -> None:
    with pytest.raises(CommandExecutionError, match="no valid organization file"):
        metis_releases.prune()
    assert len(_left(programs)) == 5
