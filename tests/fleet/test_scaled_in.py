"""Instances come with a line and a deploy, and go with the line and a scale-in; others run on."""

import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.fleet.organization import CONSUL, NAME, SERVICES, Organization

# A role that the host did not have, and one more of what the other has.
MORE = (
    ("[consul, ice_via]", "[consul, ice_via, compute]"),
    ("8711}, compute]", "8711}, compute, data: {port: 8712, data_directory: /srv/fleet}]"),
)
NEW = {"compute@fleet3:8800": "jobService_10.77.0.23_8800"}
NEW |= {"data@fleet4:8712": "dataService_10.77.0.24_8712"}
TASK = "/etc/systemd/system/metis-data@8712.service.d"
# As a fighter does: a task is a process that it has forked.
FORKS = """
mkdir -p /etc/systemd/system/metis-data@8712.service.d
cat > /etc/systemd/system/metis-data@8712.service.d/task.conf <<'END'
[Service]
ExecStart=
ExecStart=/bin/sh -c 'sleep 30 & exec env/bin/python -u -m $MODULE /etc/metis/data/8712.yml'
END
systemctl daemon-reload
systemctl restart metis-data@8712
"""
# What is there, when its files were written, which accounts and units.
LOOK = """
places="/etc/metis /opt/metis /usr/local /etc/systemd/system /srv"
places="$places /var/lib/metis/data /var/lib/metis/compute /var/log/metis"
find $places -type d -not -name __pycache__ 2>/dev/null | sort
find $places -not -type d -not -name '*.pyc' -not -path '/var/log/*' -printf '%p %T@\\n' \
    2>/dev/null | sort
getent passwd
systemctl list-units --all --plain --no-legend 'metis-*' | cut -d ' ' -f 1
"""


class Grown:
    """The organization with more than it wants, and how it was before."""

    def __init__(self, org: Organization) -> None:
        self.org = org
        org.lab.host("fleet4").run(["mkdir", "-p", "/srv/fleet"])
        self.looks = self.look()
        self.starts = org.starts()
        with org.edited(*MORE):
            self.changes = org.changes("deploy")
            self.status = org.status()
        self.registered = _registered()
        self.starts_then = org.starts()

    def look(self) -> dict[str, str]:
        """The files and the units of every host."""
        return self.org.everywhere(["sh", "-c", LOOK])


def _registered() -> set[str]:
    return set(requests.get(f"{CONSUL}/v1/agent/services", timeout=10).json())


def _scale_in(
    org: Organization, pillar: str = "", *options: str
) -> subprocess.CompletedProcess[str]:
    asked = f'pillar={{"org": "{NAME}"{pillar}}}'
    verb = ["state.orchestrate", "metis.scale_in", asked, *options]
    return org.lab.salt_run(verb, check=False, timeout=200)


@pytest.fixture(scope="module")
def grown(org: Organization) -> Iterator[Grown]:
    yield Grown(org)
    org.lab.host("fleet4").run(["rm", "-rf", TASK, "/srv/fleet"])
    org.verb("scale_in")
    org.verb("deploy")


def test_what_is_new_runs_and_nothing_else_was_started(grown: Grown) -> None:
    assert grown.registered == SERVICES | set(NEW.values())
    assert {row["health"] for row in grown.status.values()} == {"healthy"}
    assert set(NEW) < set(grown.status)
    assert grown.starts_then == grown.starts
    assert all(all(units.values()) for units in grown.starts.values())


def test_status_shows_what_is_not_wanted_any_more(grown: Grown) -> None:
    rows = grown.org.status()
    left = {name: row for name, row in rows.items() if row["health"] != "healthy"}
    assert set(left) == set(NEW)
    for row in left.values():
        assert (row["state"], row["registered"]) == ("running", "passing")
        assert row["health"].startswith("deployed, and not wanted any more: metis.scale_in")


def test_a_deploy_says_so_and_leaves_it(grown: Grown) -> None:
    done = grown.org.verb("deploy")
    names = ", ".join(sorted(NEW))
    assert f"not wanted any more: {names}; metis.scale_in takes them out" in done.stderr
    assert _registered() == grown.registered


def test_a_dry_run_of_a_scale_in_changes_nothing(grown: Grown) -> None:
    before = grown.look()
    done = _scale_in(grown.org, "", "test=True")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "data@fleet4:8712 is not registered" in done.stdout
    assert grown.look() == before
    assert _registered() == grown.registered


def test_exactly_what_is_not_wanted_goes_once_its_task_has_ended(grown: Grown) -> None:
    fleet4 = grown.org.lab.host("fleet4")
    one = _scale_in(grown.org, ', "roles": "compute"')
    assert one.returncode == 0, one.stdout + one.stderr
    assert set(grown.org.status()) == {*_usual(), "data@fleet4:8712"}
    fleet4.run(["sh", "-c", FORKS])
    done = _scale_in(grown.org)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the tasks of metis-data@8712.service have ended" in done.stderr
    is_active = ["systemctl", "is-active", "metis-data@8712"]
    assert fleet4.run(is_active, check=False).stdout.strip() == "inactive"
    fleet4.run(["rm", "-rf", TASK])
    assert grown.look() == grown.looks
    assert grown.org.starts() == grown.starts
    assert _registered() == SERVICES
    assert set(grown.org.status()) == _usual()


def test_then_there_is_nothing_more_to_do(grown: Grown) -> None:
    done = _scale_in(grown.org)
    assert (done.returncode, "nothing to do" in done.stderr) == (0, True)
    assert grown.org.changes("deploy") == {}
    assert grown.org.starts() == grown.starts


def _usual() -> set[str]:
    return {
        *(f"consul@fleet{n}" for n in (1, 2, 3)),
        *("carrier@fleet1", "admin@fleet2", "ice_via@fleet3"),
        *("data@fleet4:8700", "data@fleet4:8711", "compute@fleet4:8800"),
    }


def _peers() -> Any:
    return requests.get(f"{CONSUL}/v1/status/peers", timeout=10).json()


def test_consul_is_not_left_with_two_servers(org: Organization) -> None:
    with org.edited(("[consul, admin]", "[admin]"), ("[consul, ice_via]", "[ice_via]")):
        done = _scale_in(org, ', "hosts": "fleet2"')
        assert done.returncode == 1
        assert "consul would have 2 servers (consul@fleet1, consul@fleet3)" in done.stderr
    assert len(_peers()) == 3


def test_a_second_carrier_is_not_deployed(org: Organization) -> None:
    starts = org.starts()
    moved = (("[consul, carrier]", "[consul]"), ("8711}, compute]", "8711}, compute, carrier]"))
    with org.edited(*moved):
        done = org.verb("deploy", check=False)
    assert done.returncode == 1
    assert "carrier@fleet4 is wanted, and carrier@fleet1 is deployed" in done.stderr
    assert "metis.scale_in" in done.stdout
    assert org.starts() == starts
