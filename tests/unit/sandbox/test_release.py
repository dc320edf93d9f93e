"""The release's folder, and the building of its pieces."""

from __future__ import annotations

import hashlib
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from _modules import metis_releasefile
from tests.lab.sandbox.admin import ADMIN_SITE
from tests.lab.sandbox.piece import BuildError, Piece, run
from tests.lab.sandbox.wheels import FIGHTER
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


def test_release_file_describes_every_artifact(release: Path) -> None:
    described = yaml.safe_load((release / "sandbox.yaml").read_text())
    assert described["release"] == "sandbox"
    assert described["kv"]["icegrid"] is None
    listed = {artifact["file"] for artifact in described["artifacts"].values()}
    assert listed == {file.name for file in (release / "sandbox").iterdir()}
    for artifact in described["artifacts"].values():
        facts = {"version", "kind", "roles", "file", "sha256", "sources"}
        assert set(artifact) - {"unpacks"} == facts
        file = release / "sandbox" / artifact["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == artifact["sha256"]
        assert artifact["sources"] == [f"http://10.77.0.10:8000/sandbox/{artifact['file']}"]


def _served(release: Path, artifact: dict[str, Any]) -> Path:
    (source,) = artifact["sources"]
    return release / source.removeprefix("http://10.77.0.10:8000/")


def test_every_release_file_is_one(release: Path) -> None:
    names = {file.stem for file in release.glob("*.yaml")}
    forms = {"sandbox2-carrier", "sandbox2-jar", "sandbox2-corrupt", "sandbox2-schema"}
    assert names == {"sandbox", "sandbox2"} | forms
    for name in names:
        described = yaml.safe_load((release / f"{name}.yaml").read_text())
        assert metis_releasefile.faults(name, described) == []
        wrong = [
            artifact_name
            for artifact_name, artifact in described["artifacts"].items()
            if hashlib.sha256(_served(release, artifact).read_bytes()).hexdigest()
            != artifact["sha256"]
        ]
        assert wrong == (["metis_dcv"] if name == "sandbox2-corrupt" else [])


def test_the_second_release_is_the_first_but_for_what_it_changes(release: Path) -> None:
    first, second = (
        yaml.safe_load((release / f"{name}.yaml").read_text())["artifacts"]
        for name in ("sandbox", "sandbox2")
    )
    changed = {name for name in second if second[name] != first.get(name)}
    assert changed == {"carrier", "admin_jar", "admin_sql", "admin_sql_031", "metis_dcv"}
    assert {file.name for file in (release / "sandbox2").iterdir()} == {
        second[name]["file"] for name in changed
    }
    done = run("ask carrier", [_served(release, second["carrier"]), "--version"])
    assert done == "carrier version 0.3.1\n"
    with zipfile.ZipFile(_served(release, second["admin_jar"])) as jar:
        assert "Implementation-Version: 0.3.1" in jar.read("META-INF/MANIFEST.MF").decode()
    assert second["metis_dcv"]["file"] == "metis_dcv-0.9.2-py3-none-any.whl"


def test_archives_have_the_form_of_the_real_ones(release: Path) -> None:
    store = release / "sandbox"
    with zipfile.ZipFile(store / "consul_1.8.7_linux_amd64.zip") as archive:
        (only,) = archive.infolist()
    assert (only.filename, only.external_attr >> 16 & 0o777) == ("consul", 0o755)
    with tarfile.open(store / "admin.tar") as archive:
        assert archive.getnames() == ["network/index.html"]
    with tarfile.open(store / "fighter_wheelhouse.tar") as archive:
        names = archive.getnames()
    assert names[0] == "requirements.txt"
    assert all(name.endswith(".whl") and "/" not in name for name in names[1:])


def test_the_schema_has_what_a_deployment_meets(release: Path) -> None:
    schema = (release / "sandbox/admin.sql").read_text()
    statements = [line for line in schema.splitlines() if line and not line.startswith("--")]
    assert statements[0].startswith("DROP DATABASE")
    assert statements[-1] == "SET GLOBAL event_scheduler = ON;"
    assert schema.count("CREATE TABLE") == 25
    assert schema.count("CREATE VIEW") == 2
    assert schema.count("CREATE EVENT `local_power_load_snapshot_event`") == 1


@pytest.mark.parametrize("piece", [FIGHTER, ADMIN_SITE], ids=lambda piece: piece.name)
def test_pieces_come_out_the_same_every_time(piece: Piece, tmp_path: Path) -> None:
    built = [piece.build(tmp_path / name) for name in ("one", "two")]
    contents = [{file.name: file.read_bytes() for file in folder.iterdir()} for folder in built]
    assert contents[0] == contents[1]


def test_a_piece_is_built_once_for_each_input(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("one")
    made: list[str] = []

    def make(folder: Path, needs: Sequence[Path]) -> None:
        made.append(source.read_text())
        (folder / "result").write_text(made[-1])

    piece = Piece("thing", (source,), make)
    cache = tmp_path / "cache"
    first = piece.build(cache)
    assert piece.build(cache) == first
    source.write_text("two")
    assert (piece.build(cache) / "result").read_text() == "two"
    assert made == ["one", "two"]


def test_a_failed_step_leaves_nothing_and_says_why(tmp_path: Path) -> None:
    def make(folder: Path, needs: Sequence[Path]) -> None:
        (folder / "half").touch()
        run("pack it", ["sh", "-c", "echo no room; exit 3"])

    piece = Piece("thing", (), make)
    with pytest.raises(BuildError, match=r"pack it: sh exited 3:\n  no room"):
        piece.build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tool_is_named() -> None:
    with pytest.raises(BuildError, match="no-such-tool is missing; install the packages"):
        run("compile", ["no-such-tool"])
