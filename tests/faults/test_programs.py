"""Programs that do not come up, and what they need."""

from __future__ import annotations

import pytest

from tests.faults.fault import Ended, Fault, broken, mended, met, refused
from tests.fleet.organization import Organization

_KEY = "/etc/metis/carrier/p2p.key"
_SOURCES = "/etc/apt/sources.list"
_SDK = "$(echo /opt/metis/fighter/releases/sandbox/env/lib/python3*/site-packages)/channel_sdk"


def _stranger(port: int, address: str) -> str:
    listen = f"/usr/bin/python3 -m http.server {port} --bind {address}"
    begin = f"systemd-run --quiet --unit=stranger-{port} --property=Type=exec {listen}"
    # systemd knows when it was started, and not when it listens.
    look = f"ss --no-header --listening --tcp sport = :{port} | grep --quiet ."
    return f'{begin}; timeout 30 sh -c "until {look}; do sleep 0.1; done"'


def _until(unit: str, says: str) -> str:
    """Wait until a program has failed as it does: it is started, and needs its time for that."""
    look = f"journalctl --unit {unit} --since -30s | grep --quiet '{says}'"
    return f'timeout 30 sh -c "until {look}; do sleep 0.2; done"'


# All at once: what looks at everything tells everything.
UNHEALTHY = [
    Fault(
        "a carrier whose p2p key is bad and that exits 0",
        breaks=(
            "fleet1",
            f"cp --preserve {_KEY} /root/key; echo nonsense >{_KEY}; "
            "systemctl restart metis-carrier; "
            + _until("metis-carrier", "could not read private key"),
        ),
        mends=("fleet1", f"cp --preserve /root/key {_KEY}; rm /root/key"),
        words=("carrier@fleet1: ", f"could not read private key from {_KEY}"),
    ),
    Fault(
        "a database that knows another password of admin",
        breaks=(
            "fleet2",
            "mysql --execute \"SET PASSWORD FOR 'metis_admin'@'127.0.0.1' = PASSWORD('another')\"; "
            "systemctl restart metis-admin; " + _until("metis-admin", "Access denied for user"),
        ),
        # The deploy gives it the right one again.
        mends=("fleet2", "true"),
        words=("admin@fleet2: ", "Access denied for user"),
    ),
    Fault(
        "a port of Glacier2 that a stranger has",
        breaks=(
            "fleet3",
            f"systemctl stop metis-glacier2; {_stranger(10031, '10.77.0.23')}; "
            "systemctl start --no-block metis-glacier2; "
            + _until("metis-glacier2", "Address already in use"),
        ),
        mends=("fleet3", "systemctl stop stranger-10031"),
        words=("ice_via@fleet3: ", "Address already in use"),
    ),
    Fault(
        # Of every fighter of the host.
        "a Python environment that is damaged",
        breaks=(
            "fleet4",
            f"mv {_SDK} /root/; systemctl restart metis-data@8700; "
            + _until("metis-data@8700", "No module named"),
        ),
        mends=("fleet4", f"mv /root/channel_sdk {_SDK}"),
        words=("data@fleet4:8700: ", "No module named 'channel_sdk'"),
    ),
]
_REGISTER = (
    "curl --silent --show-error --fail --max-time 10 --request PUT "
    "http://10.77.0.21:8500/v1/agent/service"
)
_OTHER = '{"ID": "carrierService_10.77.0.99_10033", "Name": "carrierService", "Tags": ["carrier"]}'
ONE = [
    (
        {"roles": "carrier"},
        Fault(
            "a data center that is not reached",
            breaks=("master", "systemctl stop sandbox-datacenter"),
            mends=("master", "systemctl start sandbox-datacenter"),
            words=(
                "fleet1: carrier is registered and passes: carrierService_10.77.0.21_10033 is",
                "dial to the data center 10.77.0.10:9090 failed",
            ),
        ),
    ),
    (
        {"roles": "carrier"},
        Fault(
            "a second carrier at the same agent",
            breaks=("fleet1", f"{_REGISTER}/register --data '{_OTHER}'"),
            mends=("fleet1", f"{_REGISTER}/deregister/carrierService_10.77.0.99_10033"),
            words=(
                "fleet1: carrier is registered and passes: carrierService_10.77.0.21_10033 is",
                "carrier service must be unique, found: carrierService_10.77.0.99_10033",
            ),
        ),
    ),
    (
        {"roles": "carrier"},
        Fault(
            # carrier logs that, and goes on without it (service-contract 2).
            "a port of carrier that a stranger has",
            breaks=("fleet1", _stranger(10036, "10.77.0.21")),
            mends=("fleet1", "systemctl stop stranger-10036; systemctl restart metis-carrier"),
            words=(
                "carrier@fleet1: it does not listen on tcp port 10036, which python3 (process ",
            ),
        ),
    ),
    (
        {"roles": "data"},
        Fault(
            "a package source that is gone",
            breaks=(
                "fleet4",
                f"dpkg --remove python3-venv; sed -i s:/srv/packages:/srv/gone: {_SOURCES}",
            ),
            mends=("fleet4", f"sed -i s:/srv/gone:/srv/packages: {_SOURCES}; apt-get update"),
            words=(
                "fleet4: The packages of a fighter are installed: ",
                "file:/srv/gone/./Packages",
            ),
        ),
    ),
    (
        {"roles": "admin"},
        Fault(
            "a database that lets root in with a password only",
            breaks=("fleet2", "mysql --execute \"ALTER USER root@localhost IDENTIFIED BY 'own'\""),
            mends=(
                "fleet2",
                "MYSQL_PWD=own mysql --execute "
                "'ALTER USER root@localhost IDENTIFIED VIA unix_socket'",
            ),
            words=("fleet2: ", "Access denied for user 'root'@'localhost'"),
        ),
    ),
]


@pytest.fixture(scope="module")
def unhealthy(org: Organization) -> Ended:
    with org.edited(("release: sandbox\n", "release: sandbox2\n")), broken(org, UNHEALTHY):
        ended = refused(org, "failed", "upgrade")
    # The upgrade itself says that this is the way back.
    mended(org, "deploy")
    assert {row["health"] for row in org.status().values()} == {"healthy"}
    return ended


@pytest.mark.parametrize("fault", UNHEALTHY, ids=str)
def test_what_is_not_healthy_is_named_with_its_journal(unhealthy: Ended, fault: Fault) -> None:
    for words in fault.words:
        assert words in unhealthy.told


def test_nothing_is_switched_while_something_is_not_healthy(unhealthy: Ended) -> None:
    assert unhealthy.done == ["The organization's file is valid and its hosts answer"]
    assert "nothing was switched; mend this first: metis.deploy" in unhealthy.told


@pytest.mark.parametrize(("asked", "fault"), ONE, ids=str)
def test_a_program_that_does_not_come_up_is_named(
    org: Organization, asked: dict[str, str], fault: Fault
) -> None:
    if asked["roles"] == "carrier":
        org.lab.host("fleet1").run(["systemctl", "stop", "metis-carrier"])
    ended = met(org, [fault], "failed", "start", asked)
    for words in fault.words:
        assert words in ended.told
    assert "Everything is registered and passes" not in ended.done
