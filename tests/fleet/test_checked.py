"""What can be known before a change is told, and stops a deploy before anything is touched."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.fleet.organization import NAME, Organization
from tests.lab.host import Host

# Of the packages of a fighter the smallest; nothing that runs needs it.
PACKAGE = "python3-venv"
SOURCES = "/etc/apt/sources.list"
LISTS = "/var/lib/apt/lists/partial"
# The way of fleet4 to IceGrid on fleet3, and no other.
BLOCKED = ["to", "10.77.0.23", "ipproto", "6", "dport", "10032", "unreachable"]


def _check(org: Organization, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    pillar = json.dumps({"org": NAME} | more)
    run = ["state.orchestrate", "metis.check", f"pillar={pillar}", *options]
    return org.lab.salt_run(run, check=False, timeout=120)


def _rows(text: str, result: str) -> dict[str, list[str]]:
    """Host to its rows in one of the tables."""
    found: dict[str, list[str]] = {}
    for line in text.partition(f"{result} (")[2].splitlines()[2:]:
        host, _, row = line.strip().partition(" ")
        if not host or not line.startswith(" " * 14):
            break
        found.setdefault(host, []).append(" ".join(row.split()))
    return found


def _pid(row: str) -> int:
    """The number of the process that a row names."""
    return int(row.partition("(process ")[2].partition(")")[0])


@pytest.fixture(scope="module")
def lacking(org: Organization) -> Iterator[Host]:
    """A host that has a package still to come."""
    host = org.lab.host("fleet4")
    host.run(["dpkg", "--remove", "--force-depends", PACKAGE])
    yield host
    org.verb("deploy")


def test_a_deployed_organization_is_fit(org: Organization) -> None:
    done = _check(org)
    assert done.returncode == 0, done.stdout
    assert "failures (" not in done.stdout
    well = _rows(done.stdout, "all is well with")
    assert set(well) == {*org.lab.hosts, "master"}
    assert "ports 12: 0 free, 12 of our own programs" in well["fleet1"]
    assert "way to fleet1 8500/tcp, 10033/tcp" in well["fleet4"]
    assert "clock as the master's" in well["fleet2"]
    assert "release sandbox 9 of 9 artifacts are in the store" in well["master"]
    # What the lab's machine is short of is no reason not to deploy.
    assert {row.split()[0] for rows in _rows(done.stdout, "warnings").values() for row in rows} <= {
        "CPU",
        "disk",
        "memory",
    }


def test_an_old_index_of_packages_is_mended_where_that_is_asked_for(
    org: Organization, lacking: Host
) -> None:
    age = ["stat", "--format=%Y", LISTS]
    lacking.run(["touch", "--date=30 days ago", LISTS])
    before = lacking.run(age).stdout
    predicted = _check(org, "test=True", fix=True)
    assert predicted.returncode == 0, predicted.stdout
    assert "would be mended: fleet4: packages" in predicted.stdout
    (row,) = [r for r in _rows(predicted.stdout, "warnings")["fleet4"] if "packages" in r]
    assert row.startswith(f"packages apt's index is 30 days old, and {PACKAGE} are to come")
    assert lacking.run(age).stdout == before
    mended = _check(org, fix=True)
    assert mended.returncode == 0, mended.stdout
    assert "mended: fleet4: packages" in mended.stdout
    assert f"packages apt has {PACKAGE}" in _rows(mended.stdout, "all is well with")["fleet4"]
    assert int(lacking.run(age).stdout) > int(before) + 86400


def test_faults_are_told_together_and_stop_a_deploy(org: Organization, lacking: Host) -> None:
    first = org.lab.host("fleet1")
    first.run(["systemctl", "stop", "metis-carrier.service"])
    listen = ["python3", "-m", "http.server", "10036", "--bind", "10.77.0.21"]
    first.run(["systemd-run", "--unit=stranger", "--property=Type=exec", *listen])
    lacking.run(["mv", SOURCES, f"{SOURCES}.away"])
    lacking.run(["ip", "rule", "add", *BLOCKED])
    starts = org.starts()
    try:
        done = _check(org)
        deploy = org.verb("deploy", check=False)
    finally:
        lacking.run(["ip", "rule", "del", *BLOCKED])
        lacking.run(["mv", f"{SOURCES}.away", SOURCES])
        first.run(["systemctl", "stop", "stranger.service"])
    assert done.returncode == 1
    failures = _rows(done.stdout, "failures")
    (stranger,) = failures.pop("fleet1")
    pid = _pid(stranger)
    assert stranger.startswith(
        f"port 10036/tcp p2p_tcp_port of carrier@fleet1, but python3 (process {pid}) has it"
    )
    packages, way = failures.pop("fleet4")
    assert packages.startswith(f"packages {PACKAGE}: ")
    # As others still speak of it, or do not.
    assert "no installation candidate" in packages or "Unable to locate package" in packages
    assert way.startswith("way to fleet3 none on 10032/tcp: ")
    assert "open 10032/tcp of 10.77.0.23 to fleet4" in way
    assert failures == {}
    assert "reason: failed" in done.stdout
    # The way to what runs already is not tried again by every deploy.
    assert deploy.returncode == 1
    assert _rows(deploy.stdout, "failures") == {"fleet1": [stranger], "fleet4": [packages]}
    assert "Everything is installed" not in deploy.stderr
    assert org.starts() == starts
    assert "Traceback" not in done.stdout + done.stderr + deploy.stdout + deploy.stderr
