"""That a dry run can know what a program reads when it starts, from what it would change."""

from pathlib import Path

import pytest

from tests.render.matrix import ALONE, Matrix
from tests.render.test_files import each_place


@each_place
def test_a_mode_that_would_be_set_right_is_not_taken_for_another_content(
    matrix: Matrix, organization: str, host: str, tmp_path: Path
) -> None:
    made = matrix.host(organization, host)
    for chunk, _ in matrix.files(organization, host).values():
        file = made.write(chunk, tmp_path)
        assert made.foretold(chunk, tmp_path) == {}
        file.chmod(0o600)
        assert made.foretold(chunk, tmp_path) == {"mode": chunk["mode"]}, chunk["__id__"]
        file.write_text("edited")
        assert set(made.foretold(chunk, tmp_path)) == {"mode", "diff"}, chunk["__id__"]


@pytest.mark.parametrize(
    ("text", "mode", "changed"),
    [
        ("right", 0o640, {}),
        ("right", 0o644, {"The file": ["mode"]}),
        ("wrong", 0o640, {"The file": ["diff"], "It": ["restarted"]}),
    ],
    ids=["right", "mode", "content"],
)
def test_a_dry_run_tells_the_unit_what_would_change(
    matrix: Matrix, tmp_path: Path, text: str, mode: int, changed: dict[str, list[str]]
) -> None:
    file = tmp_path / "file"
    file.write_text(f"{text}\n")
    file.chmod(mode)
    states = matrix.folder / "more_states"
    states.mkdir(exist_ok=True)
    (states / "watching.sls").write_text(
        f"""
The file:
  file.managed: [name: {file}, contents: right, mode: '0640', show_changes: False]
It:
  metis_unit.running: [name: a.service, files: [{file}], watch: [file: The file]]
"""
    )
    told = matrix.host(ALONE, "consul1").dry_run(["watching"])
    assert {name: list(changes) for name, changes in told.items() if changes} == changed
