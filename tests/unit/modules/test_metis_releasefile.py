"""The form of a release file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from _modules import metis_releasefile
from tests.render.matrix import RELEASES
from tests.unit import orgs

REPOSITORY = Path(__file__).resolve().parents[3]
FILES = [*sorted((REPOSITORY / "pillar/releases").glob("*.yaml")), *sorted(RELEASES.glob("*.yaml"))]


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def right() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((RELEASES / "sandbox.yaml").read_text())
    return found


def _two_builds(release: dict[str, Any]) -> dict[str, Any]:
    """The artifacts of a release, with two builds of a wheel among them."""
    artifacts: dict[str, Any] = release["artifacts"]
    wheel = artifacts.pop("metis_dcv")
    for cpu in ("avx2", "no_avx2"):
        artifacts[f"dcv_{cpu}"] = wheel | {"cpu": cpu}
    return artifacts


def test_two_builds_of_a_wheel_are_right(right: dict[str, Any]) -> None:
    _two_builds(right)
    assert metis_releasefile.faults("sandbox", right) == []


def _brings_python(release: dict[str, Any], **changes: Any) -> None:
    """Have the release bring the fighters' interpreter."""
    release["fighter"]["python"] = "python/bin/python3.7"
    release["artifacts"]["fighter_python"] = {
        "version": "3.7",
        "kind": "installer",
        "roles": ["data", "compute"],
        "file": "Miniconda3.sh",
        "unpacks": "python/bin/python3.7",
        "sha256": "ab" * 32,
        "sources": [],
    } | changes


def test_an_interpreter_that_the_release_brings_is_right(right: dict[str, Any]) -> None:
    _brings_python(right)
    assert metis_releasefile.faults("sandbox", right) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unpacks": "other/bin/python3.7"}, "fighter.python is python/bin/python3.7, which no"),
        ({"roles": ["data"]}, "fighter.python is python/bin/python3.7, which no artifact"),
        ({"unpacks": "python3.7"}, "needs unpacks to begin with the folder"),
        ({"file": "miniconda.run"}, "needs a file that ends in .sh"),
    ],
)
def test_an_interpreter_that_would_not_be_there_is_told(
    right: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    _brings_python(right, **changes)
    (fault,) = metis_releasefile.faults("sandbox", right)
    assert said in fault


def test_nothing_is_called_as_two_builds_are(right: dict[str, Any]) -> None:
    _two_builds(right)["dcv"] = right["artifacts"]["carrier"] | {"file": "dcv"}
    assert metis_releasefile.faults("sandbox", right)


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
def test_a_release_is_called_as_a_folder_can_be(right: dict[str, Any], name: str) -> None:
    (fault,) = metis_releasefile.faults(name, right | {"release": name})
    assert fault.startswith("release: string should match pattern")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_the_files_of_the_repository_are_right(file: Path) -> None:
    assert metis_releasefile.faults(file.stem, yaml.safe_load(file.read_text())) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda r: r.pop("artifacts"), "artifacts is missing"),
        (lambda r: r["artifacts"].pop("carrier"), "artifacts.carrier is missing"),
        (lambda r: r["artifacts"]["carrier"].pop("sha256"), "artifacts.carrier.sha256 is missing"),
        (lambda r: r["artifacts"]["carrier"].update(sha256=""), "artifacts.carrier.sha256: string"),
        (lambda r: r["artifacts"]["carrier"].update(sha265="x"), "artifacts.carrier.sha265 is not"),
        (lambda r: r["artifacts"]["carrier"].update(file="../x"), "artifacts.carrier.file: string"),
        (lambda r: r["artifacts"]["carrier"].update(roles=["caller"]), "artifacts.carrier.roles.0"),
        (lambda r: r["artifacts"]["carrier"].update(sources=["ftp://x"]), "carrier.sources.0"),
        (lambda r: r["artifacts"]["consul"].pop("unpacks"), "artifacts.consul: needs unpacks"),
        (lambda r: r["artifacts"]["carrier"].update(unpacks="x"), "artifacts.carrier: needs unpac"),
        (
            lambda r: r["artifacts"]["admin_web"].update(file="admin.jar"),
            "admin_web.file is that of",
        ),
        (lambda r: r["kv"].pop("datacenter"), "kv.datacenter is missing"),
        (lambda r: r["admin"].update(database="a; b"), "admin.database"),
        (lambda r: r["admin"].update(schema_changes=["x"]), "schema_changes names x, which is no"),
        (lambda r: r["admin"].update(schema_changes=["admin_jar"]), "is no sql artifact of admin"),
        (lambda r: r["admin"].update(schema_changes=["admin_sql"] * 2), "an artifact twice"),
        (lambda r: r["fighter"].update(python="python3"), "fighter.python"),
        (lambda r: r["artifacts"]["carrier"].update(cpu="avx2"), "carrier: has a cpu, which only"),
        (
            lambda r: r["artifacts"]["carrier"].update(checksums={"sources": ["http://x/sums"]}),
            "artifacts.carrier.checksums.sources.0: string",
        ),
        (lambda r: r["artifacts"]["metis_dcv"].update(cpu="avx2"), "name must end in _avx2"),
        (
            lambda r: _two_builds(r).pop("dcv_no_avx2"),
            "artifacts.dcv_no_avx2 is missing, the build",
        ),
        (lambda r: _two_builds(r)["dcv_avx2"].update(version="1"), "dcv_avx2.version is not that"),
        (lambda r: r.update(release="0.3.0"), "release is 0.3.0, and the file is called sandbox"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    right: dict[str, Any], change: Change, said: str
) -> None:
    wrong = copy.deepcopy(right)
    change(wrong)
    (fault,) = metis_releasefile.faults("sandbox", wrong)
    assert said in fault


def test_all_faults_are_told_at_once(right: dict[str, Any]) -> None:
    del right["kv"]
    right["artifacts"]["carrier"]["kind"] = "program"
    right["artifacts"]["admin_jar"]["sha256"] = 5
    assert len(metis_releasefile.faults("sandbox", right)) == 3


@pytest.mark.parametrize("nothing", [None, [], "text", {}, 5])
def test_what_is_no_release_has_faults(nothing: Any) -> None:
    assert metis_releasefile.faults("sandbox", nothing)
