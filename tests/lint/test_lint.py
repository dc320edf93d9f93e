"""Every linter over every file that it is for, as git knows them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT = 300


def _tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "-c", f"safe.directory={REPOSITORY}", "ls-files", "-z"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    files = [Path(name) for name in listing.stdout.split("\0") if name]
    # A symbolic link's file is looked at under its own name; a removed one is not there.
    return [
        file
        for file in files
        if (REPOSITORY / file).is_file() and not (REPOSITORY / file).is_symlink()
    ]


def _first_line(file: Path) -> str:
    with (REPOSITORY / file).open("rb") as opened:
        return opened.readline(200).decode("ascii", errors="replace")


def _is_python(file: Path) -> bool:
    return file.suffix == ".py" or ("python" in (line := _first_line(file)) and line[:2] == "#!")


def _is_shell(file: Path) -> bool:
    words = _first_line(file).replace("/", " ").split()
    return file.suffix == ".sh" or (words[:1] == ["#!"] and words[-1] in ("bash", "sh"))


def _is_yaml(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml") or file.name == ".yamllint"


def _is_sls(file: Path) -> bool:
    return file.suffix == ".sls"


@pytest.mark.parametrize(
    ("command", "concerns"),
    [
        pytest.param(["ruff", "check"], _is_python, id="ruff check"),
        pytest.param(["ruff", "format", "--check"], _is_python, id="ruff format"),
        pytest.param(["mypy"], _is_python, id="mypy"),
        pytest.param(["yamllint", "--strict"], _is_yaml, id="yamllint"),
        pytest.param(["salt-lint"], _is_sls, id="salt-lint"),
        pytest.param(["shellcheck"], _is_shell, id="shellcheck"),
    ],
)
def test_nothing_to_mend(command: list[str], concerns: Callable[[Path], bool]) -> None:
    files = [str(file) for file in _tracked() if concerns(file)]
    assert files
    ours = Path(sys.executable).with_name(command[0])
    program = str(ours) if ours.exists() else command[0]
    done = subprocess.run(
        [program, *command[1:], *files],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}:\n{done.stdout}{done.stderr}", pytrace=False)
