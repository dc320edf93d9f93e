"""What an organization loses comes back from a backup: the same node, with the same data."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from tests.fleet.organization import CONSUL, NAME, Organization
from tests.lab.host import ENVIRONMENT

BACKUP, KEYS, PUBLIC = "/root/fleet.backup", "/root/keys", "/root/operator.asc"
P2P_KEY = "/etc/metis/carrier/p2p.key"
PKI = "/etc/salt/pki/master/metis"
ORG_FILE = f"/srv/metis-local/pillar/orgs/{NAME}.sls"
ROWS = "SELECT * FROM metis_admin.kept; CHECKSUM TABLE metis_admin.sys_user"
# Where Salt keeps jobs, and where it and the verbs write what happened.
TRACES = ["/var/cache/salt", "/var/log", "/var/lib/metis-store", "/tmp", "/root"]
LOST = {
    "fleet1": f"rm -r /var/lib/metis/consul/* {P2P_KEY}",
    "fleet2": "rm -r /var/lib/metis/consul/*; systemctl unmask --quiet mariadb; "
    "systemctl start mariadb; mysql --execute 'DROP DATABASE metis_admin; "
    "DROP USER metis_admin@127.0.0.1'; systemctl stop mariadb",
    "fleet3": "rm -r /var/lib/metis/consul/*",
    "master": f"rm -r {PKI}/{NAME}.yaml {PKI}/deployed/{NAME}.yaml {ORG_FILE}",
}


def _verb(org: Organization, verb: str, **asked: str) -> list[str]:
    pillar = {"org": NAME, **asked}
    return ["salt-run", "state.orchestrate", f"metis.{verb}", f"pillar={json.dumps(pillar)}"]


def _run(org: Organization, verb: str, **asked: str) -> subprocess.CompletedProcess[str]:
    return org.lab.master.run(_verb(org, verb, **asked), check=False, timeout=400)


def _mysql(org: Organization, statements: str) -> str:
    mysql = ["mysql", "--batch", "--skip-column-names", "--execute", statements]
    return org.lab.host("fleet2").run(mysql).stdout


def _identity(org: Organization) -> dict[str, Any]:
    """What makes the node the one that it is."""
    keys = requests.get(f"{CONSUL}/v1/kv/?recurse", timeout=10).json()
    return {
        "p2p key": org.lab.host("fleet1").run(["sha256sum", P2P_KEY]).stdout,
        "rows": _mysql(org, ROWS),
        "keys": {key["Key"]: key["Value"] for key in keys},
        "authority": org.lab.salt_run(["metis.ca", f"org={NAME}"]).stdout,
        "secrets": org.lab.master.run(["cat", f"{PKI}/{NAME}.yaml"]).stdout,
        "file": org.lab.master.run(["cat", ORG_FILE]).stdout,
    }


@pytest.fixture(scope="module")
def saved(org: Organization) -> Iterator[dict[str, Any]]:
    """A backup on the master; what the node was then."""
    master = org.lab.master
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "gnupg"]
    master.run(["env", "DEBIAN_FRONTEND=noninteractive", *install], timeout=120)
    master.run(["install", "-d", "-m", "0700", KEYS])
    gpg = ["gpg", "--homedir", KEYS, "--batch", "--quiet"]
    kind = ["default", "default", "never"]
    master.run([*gpg, "--passphrase", "", "--quick-generate-key", "operator", *kind])
    master.run([*gpg, "--armor", "--output", PUBLIC, "--export", "operator"])
    _mysql(org, "CREATE TABLE metis_admin.kept (what VARCHAR(40))")
    _mysql(org, "INSERT INTO metis_admin.kept VALUES ('written by somebody')")
    requests.put(f"{CONSUL}/v1/kv/test/kept", data="by somebody", timeout=10).raise_for_status()
    # The authority is made where somebody asks for it the first time.
    before = _identity(org)
    done = _run(org, "backup", to=BACKUP, recipient=PUBLIC)
    assert done.returncode == 0, done.stdout + done.stderr
    yield before
    _mysql(org, "DROP TABLE metis_admin.kept")
    requests.delete(f"{CONSUL}/v1/kv/test/kept", timeout=10).raise_for_status()
    master.run(["gpgconf", "--homedir", KEYS, "--kill", "all"])
    master.run(["rm", "-r", KEYS, PUBLIC, BACKUP])


def test_a_backup_is_for_its_owner_and_leaves_no_trace_in_clear(
    org: Organization, saved: dict[str, Any]
) -> None:
    mode = org.lab.master.run(["stat", "--format=%a %U", BACKUP]).stdout.split()
    assert mode == ["600", "root"]
    key = org.lab.host("fleet1").run(["cat", P2P_KEY]).stdout
    password = saved["secrets"].split("mysql_password: ")[1].split()[0]
    scan = ["grep", "--recursive", "--files-with-matches", "--fixed-strings", "--file=-", *TRACES]
    secrets = f"{key}\n{password}\nwritten by somebody"
    for host in (org.lab.master, org.lab.host("fleet1"), org.lab.host("fleet2")):
        done = host.run([*scan, "--no-messages", "--devices=skip"], check=False, input=secrets)
        assert done.stdout == "", host.name


def test_a_backup_is_never_written_over_another(org: Organization, saved: dict[str, Any]) -> None:
    before = org.lab.master.run(["sha256sum", BACKUP]).stdout
    done = _run(org, "backup", to=BACKUP, recipient=PUBLIC)
    assert done.returncode == 1
    assert f"to: {BACKUP} is there already" in done.stdout
    assert "reason: invalid-input" in done.stdout
    assert org.lab.master.run(["sha256sum", BACKUP]).stdout == before


def test_data_that_is_there_is_not_replaced_without_a_word(
    org: Organization, saved: dict[str, Any]
) -> None:
    done = _run(org, "restore", **{"from": BACKUP, "keyring": KEYS})
    assert done.returncode == 1
    assert "fleet2 has admin's database" in done.stdout
    assert '"confirm": "fleet"' in done.stdout
    assert _identity(org) == saved


def test_the_same_node_comes_back_on_hosts_and_a_master_that_lost_everything(
    org: Organization, saved: dict[str, Any]
) -> None:
    org.verb("stop")
    hosts = {**org.lab.hosts, "master": org.lab.master}
    with ThreadPoolExecutor() as pool:
        lost = [pool.submit(hosts[h].run, ["sh", "-ec", what]) for h, what in LOST.items()]
        for one in lost:
            one.result()
    asked = {"from": BACKUP, "keyring": KEYS}
    assert "there is no organization fleet" in _run(org, "restore", **asked).stdout
    unpacked = org.lab.salt_run(["metis.unpack_backup", BACKUP, f"keyring={KEYS}"])
    assert f"org.sls ({ORG_FILE}): written" in unpacked.stdout
    _cut_off(org, _verb(org, "restore", **asked), lambda line: "consul runs (" in line)
    done = _run(org, "restore", **asked)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "this restore was begun before, and goes on" in done.stderr
    assert _identity(org) == saved
    assert {row["health"] for row in org.status().values()} == {"healthy"}
    # consul takes the servers that are there for those that it knew.
    nodes = requests.get(f"{CONSUL}/v1/catalog/nodes", timeout=10).json()
    members = requests.get(f"{CONSUL}/v1/agent/members", timeout=10).json()
    assert {node["ID"] for node in nodes} <= {member["Tags"]["id"] for member in members}


def _cut_off(org: Organization, argv: list[str], until: Callable[[str], bool]) -> None:
    """Kill a command as soon as it has said a line."""
    telling = ["sh", "-c", 'echo $$ >&2; exec "$@"', "sh", *argv]
    enter = org.lab.master.enter(telling)
    with subprocess.Popen(
        enter, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr
        process = running.stderr.readline().strip()
        said = []
        for line in running.stderr:
            said.append(line)
            if until(line):
                break
        org.lab.master.run(["kill", "-KILL", process])
    assert until(said[-1]), said
