"""Every role on one host, in a lab of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.fleet import Lab

ORG_FILE = Path(__file__).with_name("single.sls")
DEPLOY = ["state.orchestrate", "metis.deploy", 'pillar={"org": "single"}', "--out=json"]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    single = Lab("single", ORG_FILE)
    single.down()
    single.up()
    yield single
    single.down()


def test_all_roles_live_together_on_one_host(lab: Lab) -> None:
    first = lab.salt_run(DEPLOY, check=False, timeout=400)
    assert first.returncode == 0, first.stderr
    rows = json.loads(lab.salt_run(["metis.status", "org=single", "--out=json"]).stdout)["data"]
    assert len(rows) == 10
    assert {row["health"] for row in rows} == {"healthy"}
    services = lab.host("single1").run(
        ["curl", "--silent", "--max-time", "10", "http://10.77.0.31:8500/v1/agent/services"]
    )
    assert set(json.loads(services.stdout)) == {
        "carrierService_10.77.0.31_10033",
        "adminService_10.77.0.31_9090",
        *(f"dataService_10.77.0.31_{port}" for port in (8700, 8701, 8702)),
        *(f"jobService_10.77.0.31_{port}" for port in (8800, 8801, 8802)),
    }
    again = json.loads(lab.salt_run(DEPLOY, timeout=400).stdout)["data"]
    (states,) = again.values()
    assert [s["__id__"] for s in states.values() if s["changes"]] == []
