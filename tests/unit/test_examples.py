"""The organization files that the repository has are right as they stand."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from tests.lab import topology
from tests.unit import orgs

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((REPOSITORY / "pillar/examples").glob("*.sls"))
DEMO = REPOSITORY / "pillar/orgs/demo.sls"

each_file = pytest.mark.parametrize("file", [DEMO, *EXAMPLES], ids=lambda file: file.stem)


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


@each_file
def test_a_file_has_no_faults(file: Path) -> None:
    built = orgs.built(yaml.safe_load(file.read_text("utf-8"))["metis"])
    assert built["faults"] == []
    roles = {instance["role"] for instance in built["topology"]["instances"]}
    assert roles == {"consul", "carrier", "admin", "ice_via", "data", "compute"}


def test_instances_have_the_ports_that_the_comments_tell() -> None:
    file = yaml.safe_load((REPOSITORY / "pillar/examples/all-on-one-host.sls").read_text("utf-8"))
    instances = orgs.built(file["metis"])["topology"]["instances"]
    ports = [instance["id"] for instance in instances if ":" in instance["id"]]
    assert ports == [
        *(f"data@solo:{port}" for port in (8700, 8701, 8710)),
        *(f"compute@solo:{port}" for port in (8800, 8801, 8810)),
    ]


def test_all_can_be_one_lab() -> None:
    assert len(topology.read([DEMO, *EXAMPLES])) == 3
