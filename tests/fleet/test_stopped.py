"""Stopped is stopped, and started is all back."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.fleet.organization import CONSUL, SERVICES, UNITS, Organization

PORTS = {
    "10.77.0.21": [8500, 10033, 10034, 10036],
    "10.77.0.22": [8500, 80, 9090],
    "10.77.0.23": [8500, 10031, 10032],
    "10.77.0.24": [8700, 8711, 8800],
}


def _open(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((address, port)) == 0


@pytest.fixture(scope="module")
def stop(org: Organization) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """What a dry run of a stop told, and what the stop then changed."""
    yield org.changes("stop", "test=True"), org.changes("stop")
    org.verb("deploy")


@pytest.fixture(scope="module")
def stopped(org: Organization, stop: object) -> Organization:
    return org


def test_a_dry_run_told_what_was_stopped(stop: tuple[dict[str, Any], dict[str, Any]]) -> None:
    told, done = stop
    assert told == done
    units = {state for hosts in done.values() for states in hosts.values() for state in states}
    assert {"carrier is stopped", "data@fleet4:8711 is stopped", "MariaDB is stopped"} <= units


def test_nothing_runs(stopped: Organization) -> None:
    assert stopped.active() == set()
    assert not [(a, p) for a, ports in PORTS.items() for p in ports if _open(a, p)]
    for out in stopped.everywhere(["ps", "-eo", "args="]).values():
        assert not [line for line in out.splitlines() if "/opt/metis" in line]
    assert {row["state"] for row in stopped.status().values()} == {"stopped"}


def test_nothing_is_registered(stopped: Organization) -> None:
    # consul keeps registrations over its own restart: a file each.
    find = ["find", "/var/lib/metis/consul", "-path", "*/services/*"]
    assert stopped.lab.host("fleet1").run(find).stdout == ""


def test_a_second_stop_changes_nothing(stopped: Organization) -> None:
    assert stopped.changes("stop") == {}


@pytest.mark.parametrize("host", ["fleet2", "fleet4"])
def test_a_highstate_leaves_stopped_what_stop_stopped(stopped: Organization, host: str) -> None:
    assert stopped.highstate(host) == {}
    assert stopped.active() == set()


def test_start_brings_everything_back(stopped: Organization) -> None:
    told = stopped.changes("start", "test=True")
    assert stopped.active() == set()
    assert stopped.changes("start") == told
    assert stopped.active() == {f"{host} {unit}" for host, units in UNITS.items() for unit in units}
    services = requests.get(f"{CONSUL}/v1/agent/services", timeout=10).json()
    assert set(services) == SERVICES
    assert {row["health"] for row in stopped.status().values()} == {"healthy"}
    assert stopped.changes("start") == {}
