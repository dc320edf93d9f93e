import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab import processes
from tests.lab.errors import LabError


def test_output_is_returned_and_input_given() -> None:
    assert processes.run(["cat"], "copying", timeout=10, stdin="text") == "text"


def test_a_failure_shows_the_end_of_the_output() -> None:
    with pytest.raises(LabError) as raised:
        processes.run(["sh", "-c", "seq 100; exit 3"], "counting", timeout=10)
    assert str(raised.value).startswith("counting: exit code 3\n")
    assert str(raised.value).endswith("    100")
    assert "\n    1\n" not in str(raised.value)


def test_a_failure_names_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(LabError, match=f"whole output is in {log}") as raised:
        processes.run(["sh", "-c", "echo why >&2; exit 1"], "trying", timeout=10, log=log)
    assert str(raised.value).endswith("    why")
    assert log.read_text().startswith("$ sh -c")


def test_time_runs_out() -> None:
    with pytest.raises(LabError, match="took longer than 0 s"):
        processes.run(["sleep", "30"], "sleeping", timeout=0.2)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(LabError, match="no-such-program is not installed"):
        processes.run(["no-such-program"], "trying", timeout=1)


def test_the_end_of_a_process_is_awaited() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=-1)
    assert not processes.wait_for_end(child.pid, timeout=0.1)
    child.kill()
    assert processes.wait_for_end(child.pid, timeout=10)
    assert processes.wait_for_end(child.pid, timeout=0)
    assert child.stdin is not None
    child.stdin.close()
    child.wait()
