import io
import multiprocessing
from pathlib import Path

import pytest

from tests.lab import cache
from tests.lab.errors import LabError
from tests.lab.progress import Progress


@pytest.fixture
def progress() -> Progress:
    return Progress(io.StringIO())


def test_recipe_tells_its_parts_apart() -> None:
    assert cache.recipe("ab", "c") == cache.recipe("ab", b"c")
    assert cache.recipe("ab", "c") != cache.recipe("a", "bc")


def test_an_entry_is_built_once(tmp_path: Path, progress: Progress) -> None:
    calls = []

    def build(folder: Path, log: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("built")

    first = cache.entry("kind", "key", build, progress, tmp_path)
    second = cache.entry("kind", "key", build, progress, tmp_path)
    assert first == second == tmp_path / "kind/key"
    assert len(calls) == 1
    assert cache.entry("kind", "other", build, progress, tmp_path) != first


def test_a_failed_build_does_not_count(tmp_path: Path, progress: Progress) -> None:
    def fail(folder: Path, log: Path) -> None:
        (folder / "half").write_text("")
        raise LabError("broken")

    def build(folder: Path, log: Path) -> None:
        (folder / "whole").write_text("")

    with pytest.raises(LabError, match="broken"):
        cache.entry("kind", "key", fail, progress, tmp_path)
    folder = cache.entry("kind", "key", build, progress, tmp_path)
    assert (folder / "whole").exists()
    assert not (folder / "half").exists()


def _hold(
    path: Path, held: "multiprocessing.Queue[int]", end: "multiprocessing.Queue[int]"
) -> None:
    with cache.locked(path):
        held.put(1)
        end.get(timeout=30)


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, end = context.Queue(), context.Queue()
    holder = context.Process(target=_hold, args=(tmp_path / "lock", held, end))
    holder.start()
    held.get(timeout=30)
    with (
        pytest.raises(LabError, match=f"busy.*{holder.pid}"),
        cache.locked(tmp_path / "lock", busy="busy"),
    ):
        pass
    end.put(1)
    holder.join(timeout=30)
    with cache.locked(tmp_path / "lock", busy="busy"):
        pass
