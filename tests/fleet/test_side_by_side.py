"""Several organizations of one master, in a lab of their own, with a verb for each at once."""

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import yaml

from tests.lab.fleet import DEMO, Lab
from tests.lab.venv import REPOSITORY

FILES = {
    file.stem: file for file in (DEMO, *sorted((REPOSITORY / "pillar/examples").glob("*.sls")))
}
HOSTS = {
    org: list(yaml.safe_load(file.read_text())["metis"]["hosts"]) for org, file in FILES.items()
}
FIRST = DEMO.stem
SOLO = "all-on-one-host"
EACH = dict.fromkeys(FILES, "deploy")
TIMEOUT = 400
PLAIN = ["--out=json", "--static"]

Done = subprocess.CompletedProcess[str]

# When each unit of a host was started, and every file that Salt writes with its time.
LOOK = """
systemctl show --property=Id,ExecMainStartTimestampMonotonic 'metis-*' mariadb nginx
find /etc /opt/metis /usr/local -type f \
    -not -name '*.pyc' -not -path '/etc/hosts' -printf '%p %T@ %u %m\\n' 2>/dev/null | sort
"""


class Fleet:
    """The lab, and what happened in it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def run(self, verbs: dict[str, str]) -> dict[str, Done]:
        """Run a verb of each organization, all at once: organization to how its verb ended."""
        with ThreadPoolExecutor(len(verbs)) as pool:
            return dict(zip(verbs, pool.map(self._run, verbs, verbs.values()), strict=True))

    def _run(self, org: str, verb: str) -> Done:
        run = ["state.orchestrate", f"metis.{verb}", f'pillar={{"org": "{org}"}}', "--out=json"]
        return self.lab.salt_run(run, check=False, timeout=TIMEOUT)

    def look(self, org: str) -> dict[str, str]:
        """What every host of an organization runs and has."""
        return {host: self.lab.host(host).run(["sh", "-c", LOOK]).stdout for host in HOSTS[org]}

    def status(self, org: str) -> list[dict[str, str]]:
        done = self.lab.salt_run(["metis.status", f"org={org}", "--out=json"], check=False)
        rows: list[dict[str, str]] = json.loads(done.stdout)["data"]
        return rows


def _changes(done: Done) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    (states,) = json.loads(done.stdout)["data"].values()
    return {state["__id__"]: state["changes"] for state in states.values() if state["changes"]}


@pytest.fixture(scope="module")
def alone() -> Iterator[Fleet]:
    """The first organization, deployed when there is no other."""
    lab = Lab("many", DEMO)
    lab.down()
    lab.up()
    fleet = Fleet(lab)
    (done,) = fleet.run({FIRST: "deploy"}).values()
    assert done.returncode == 0, done.stderr
    yield fleet
    lab.down()


@pytest.fixture(scope="module")
def before(alone: Fleet) -> dict[str, str]:
    return alone.look(FIRST)


@pytest.fixture(scope="module")
def runs(alone: Fleet, before: dict[str, str]) -> dict[str, Done]:
    """The others came, and all were deployed at once: the first again, the others anew."""
    Lab("many", *FILES.values()).up()
    return alone.run(EACH)


@pytest.fixture(scope="module")
def fleet(alone: Fleet, runs: dict[str, Done]) -> Fleet:
    failed = {org: done.stderr for org, done in runs.items() if done.returncode}
    if failed:
        pytest.fail("\n".join(f"{org}:\n{text}" for org, text in failed.items()), pytrace=False)
    return alone


def test_all_are_deployed_at_once(fleet: Fleet) -> None:
    for org in FILES:
        rows = fleet.status(org)
        assert {row["health"] for row in rows} == {"healthy"}
        assert {row["instance"].split("@")[1].split(":")[0] for row in rows} == set(HOSTS[org])


def test_each_verb_tells_of_its_own_hosts_only(fleet: Fleet, runs: dict[str, Done]) -> None:
    for org, done in runs.items():
        said = set(re.findall(r"[\w-]+", done.stdout + done.stderr))
        assert set(HOSTS[org]) <= said
        assert not {host for other in FILES for host in HOSTS[other] if other != org} & said


def test_others_change_nothing_of_the_first(
    fleet: Fleet, runs: dict[str, Done], before: dict[str, str]
) -> None:
    assert _changes(runs[FIRST]) == {}
    assert fleet.look(FIRST) == before


def test_each_host_is_of_its_own_organization(fleet: Fleet) -> None:
    done = fleet.lab.salt(["*", "pillar.get", "metis:org", "unmask=True", *PLAIN])
    assert json.loads(done.stdout) == {host: org for org, hosts in HOSTS.items() for host in hosts}


def test_programs_find_those_of_their_own_organization_only(fleet: Fleet) -> None:
    services = fleet.lab.host("solo").run(
        ["curl", "--silent", "--max-time", "10", "http://10.77.0.40:8500/v1/agent/services"]
    )
    assert set(json.loads(services.stdout)) == {
        "carrierService_10.77.0.40_10033",
        "adminService_10.77.0.40_9090",
        *(f"dataService_10.77.0.40_{port}" for port in (8700, 8701, 8710)),
        *(f"jobService_10.77.0.40_{port}" for port in (8800, 8801, 8810)),
    }
    for org, hosts in HOSTS.items():
        servers = [fleet.lab.host(host) for host in hosts if "consul" in fleet.lab.host(host).roles]
        consul = ["/opt/metis/consul/current/consul", "members"]
        listed = servers[0].run([*consul, f"-http-addr=http://{servers[0].address}:8500"]).stdout
        members = {line.split()[1].split(":")[0] for line in listed.splitlines()[1:]}
        assert members == {server.address for server in servers}, org


def test_a_deploy_of_each_at_once_changes_nothing_more(fleet: Fleet) -> None:
    looks = {org: fleet.look(org) for org in FILES}
    for org, done in fleet.run(EACH).items():
        assert _changes(done) == {}, org
    assert {org: fleet.look(org) for org in FILES} == looks


def test_a_stop_of_one_stops_no_other(fleet: Fleet) -> None:
    others = [org for org in FILES if org != SOLO]
    looks = {org: fleet.look(org) for org in others}
    runs = fleet.run(EACH | {SOLO: "stop"})
    assert runs[SOLO].returncode == 0, runs[SOLO].stderr
    assert {row["state"] for row in fleet.status(SOLO)} == {"stopped"}
    for org in others:
        assert _changes(runs[org]) == {}, org
        assert {row["health"] for row in fleet.status(org)} == {"healthy"}
    assert {org: fleet.look(org) for org in others} == looks
