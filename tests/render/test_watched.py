"""That a dry run can know what a program reads when it starts, from what it would change."""

import os
from pathlib import Path

import pytest

from tests.render.compiler import Data
from tests.render.matrix import ALONE, Matrix
from tests.render.test_files import each_place


def _written(chunk: Data) -> set[str]:
    """The files that a state writes, or of which it writes some."""
    if (chunk["state"], chunk["fun"]) == ("metis_artifact", "present"):
        return {f"{chunk['directory']}/{found['file']}" for found in chunk["artifacts"].values()}
    if (chunk["state"], chunk["fun"]) == ("metis_artifact", "unpacked"):
        folder, archive = os.path.split(chunk["archive"])
        return {f"{folder}/.{archive}.unpacked"}
    # The last thing that the command makes which builds the fighters' environment.
    return {chunk["name"].split()[-1]}


@each_place
def test_a_unit_watches_what_writes_the_files_that_it_reads_and_nothing_else(
    matrix: Matrix, organization: str, host: str
) -> None:
    chunks = matrix.chunks(organization, host, "running")
    running = [c for c in chunks if (c["state"], c["fun"]) == ("metis_unit", "running")]
    assert running
    for unit in running:
        watched = [
            chunk
            for chunk in chunks
            for kind, name in (next(iter(needed.items())) for needed in unit["watch"])
            if chunk["state"] == kind and name in (chunk["__id__"], chunk["name"])
        ]
        written = set().union(*map(_written, watched))
        # A key is made where there is none, and that a file is missing is seen without a change.
        own = {c["name"] for c in chunks if c["state"] == "metis_p2p_key"}
        assert set(unit["files"]) - own <= written, unit["__id__"]
        needless = [c["__id__"] for c in watched if not _written(c) & set(unit["files"])]
        assert needless == []


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
