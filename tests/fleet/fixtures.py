"""One lab for the tests of fleet/ and faults/, deployed once."""

import subprocess
from pathlib import Path

import pytest

from tests.fleet.organization import Organization
from tests.lab import network
from tests.lab.fleet import Lab

ORG_FILE = Path(__file__).with_name("fleet.sls")


@pytest.fixture(scope="session")
def lab() -> Lab:
    """The hosts of fleet.sls and their master."""
    if not network.inside("test"):
        pytest.fail("the fleet is in a network of its own: run ./lab test")
    fleet = Lab("test", ORG_FILE)
    fleet.up()
    return fleet
    # ./lab test takes the lab down, or leaves it up when METIS_LAB_KEEP=1.


@pytest.fixture(scope="session")
def first_deploy(lab: Lab) -> subprocess.CompletedProcess[str]:
    """How the first deploy ended."""
    return Organization(lab).verb("deploy", check=False)


@pytest.fixture(scope="session")
def org(lab: Lab, first_deploy: subprocess.CompletedProcess[str]) -> Organization:
    """The organization, deployed. A test that changes it leaves it as it found it."""
    if first_deploy.returncode:
        pytest.fail(f"the first deploy failed:\n{first_deploy.stderr}", pytrace=False)
    return Organization(lab)
