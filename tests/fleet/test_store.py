"""What hosts install comes from the master's store, whole and right, with or without a network."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.fleet.organization import Organization
from tests.lab.nodes import MASTER

STORE = "/var/lib/metis-store"
URL = f"http://{MASTER.address}:8014"
STORED = "The release is in the master's store"
SERVED = "The store is served"
ON_HOSTS = "The artifacts of carrier sandbox are there"
CARRIER = "sandbox/carrier"
ON_HOST = "/opt/metis/carrier/releases/sandbox/carrier"


def _on_master(org: Organization, *argv: str) -> str:
    return org.lab.master.run(list(argv)).stdout


def _found(org: Organization) -> dict[str, str]:
    """What a look at every byte of the store says: artifact to word."""
    done = org.lab.salt_run(["metis.verify", "release=sandbox", "--out=json"], check=False)
    return {row["artifact"]: row["is"] for row in json.loads(done.stdout)["data"]}


@contextmanager
def _stopped(org: Organization, unit: str) -> Iterator[None]:
    _on_master(org, "systemctl", "stop", unit)
    try:
        yield
    finally:
        _on_master(org, "systemctl", "start", unit)


def test_a_deploy_fills_the_store_and_serves_it(org: Organization) -> None:
    assert set(_found(org).values()) == {"right"}
    answer = requests.get(f"{URL}/{CARRIER}", timeout=10)
    assert answer.status_code == requests.codes.ok
    part = requests.get(f"{URL}/{CARRIER}", headers={"Range": "bytes=100-199"}, timeout=10)
    assert (part.status_code, part.content) == (206, answer.content[100:200])


@pytest.mark.parametrize(
    "path", ["sandbox", "sandbox/", "index.json", "pins.yaml", "../index.json", "sandbox/.x"]
)
def test_the_store_s_server_gives_artifacts_and_nothing_else(org: Organization, path: str) -> None:
    url = requests.Request("GET", URL).prepare()
    url.url = f"{URL}/{path}"
    with requests.Session() as session:
        answer = session.send(url, allow_redirects=False, timeout=10)
    assert answer.status_code in (301, 400, 403, 404)
    assert "carrier" not in answer.text


def test_nothing_can_be_put_into_the_store(org: Organization) -> None:
    for method in ("PUT", "POST", "DELETE"):
        answer = requests.request(method, f"{URL}/{CARRIER}", timeout=10)
        assert answer.status_code == requests.codes.forbidden


def test_a_minion_sees_artifacts_only(org: Organization) -> None:
    listed = org.lab.host("fleet1").run(
        ["salt-call", "cp.list_master", "metis_store", "--out=json"], timeout=60
    )
    found = json.loads(listed.stdout)["local"]
    assert CARRIER in found
    # The second release where an upgrade was tried before.
    assert {path.partition("/")[0] for path in found} <= {"sandbox", "sandbox2"}


def test_a_damaged_file_is_refused_by_hosts_and_mended_by_the_next_deploy(
    org: Organization,
) -> None:
    _on_master(org, "sh", "-c", f"echo damage >> {STORE}/artifacts/{CARRIER}")
    assert _found(org)["carrier"] == "wrong"
    org.lab.host("fleet1").run(["rm", ON_HOST])
    failed = org.highstate("fleet1")[ON_HOSTS]
    assert failed["result"] is False
    assert f"{URL}/{CARRIER}: has sha256" in failed["comment"]
    assert f"salt://{CARRIER}?saltenv=metis_store: has sha256" in failed["comment"]
    changes = org.changes("deploy")
    assert list(changes[STORED]) == [CARRIER]
    assert ON_HOSTS in str(changes)
    assert set(_found(org).values()) == {"right"}
    assert org.changes("deploy") == {}


def test_salt_s_file_server_helps_out_where_the_web_server_is_gone(org: Organization) -> None:
    host = org.lab.host("fleet1")
    with _stopped(org, "metis-store.service"):
        host.run(["rm", ON_HOST])
        changed = org.highstate("fleet1")
        assert changed[ON_HOSTS]["result"] is True
        # A deploy has it served again.
        assert SERVED in org.changes("deploy")
    assert requests.get(f"{URL}/", timeout=10).text == "metis-store\n"


def test_a_master_without_a_network_deploys_from_a_bundle(org: Organization) -> None:
    file = "/root/sandbox.tar"
    org.lab.salt_run(["metis.bundle", "release=sandbox", f"to={file}"], timeout=120)
    with _stopped(org, "sandbox-release.service"):
        _on_master(org, "sh", "-c", f"rm -r {STORE}/*")
        org.lab.host("fleet1").run(["rm", "-r", "/opt/metis/carrier"])
        failed = org.verb("prepare", "test=True")
        assert f"{STORED}: 9 artifacts would be fetched" in failed.stderr
        org.lab.salt_run(["metis.unbundle", file], timeout=120)
        assert set(_found(org).values()) == {"right"}
        changes = org.changes("deploy")
        assert STORED not in changes
        assert ON_HOSTS in str(changes)
    _on_master(org, "rm", file)
    assert org.changes("deploy") == {}
    assert {row["health"] for row in org.status().values()} == {"healthy"}
