import io
import re
from pathlib import Path

import pytest

from tests.lab import cgroups
from tests.lab.progress import Progress
from tests.lab.table import table


def test_columns_are_as_wide_as_their_cells() -> None:
    assert table(("host", "pid"), [("a", "100"), ("longer", "-")]) == (
        "host    pid\na       100\nlonger  -"
    )


def test_a_step_says_how_long_it_took() -> None:
    stream = io.StringIO()
    with Progress(stream).step("work"):
        pass
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r" *\d+\.\ds  work \.\.\.", first)
    assert re.fullmatch(r" *\d+\.\ds  work: done in 0\.0 s", second)


def test_a_step_that_fails_says_so() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="broken"), Progress(stream).step("work"):
        raise ValueError("broken")
    assert "work: failed after" in stream.getvalue()


def test_one_tree_where_only_version_2_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "cgroup.procs").touch()
    assert cgroups.hierarchies(tmp_path) == [tmp_path]


def test_two_trees_where_version_1_is_mounted_too(tmp_path: Path) -> None:
    for name in ("systemd", "unified", "memory"):
        (tmp_path / name).mkdir()
    assert cgroups.hierarchies(tmp_path) == [tmp_path / "systemd", tmp_path / "unified"]
