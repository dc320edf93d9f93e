"""A dry run of every verb changes nothing, and predicts what the verb then does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.fleet.organization import CONSUL, NAME, Organization
from tests.lab.host import Host

LOOK = Path(__file__).with_name("look.py").read_text(encoding="utf-8")
# What an operator might have edited: carrier's configuration, admin's unit and its password; a key
# in consul; the release.
PASSWORD = "Tr0ub4dor-and-3-horses"
EDITS = (
    ("external_address: 10.77.0.21}", "external_address: 10.77.0.21, verbosity: debug}"),
    ("heap: 128m", f"heap: 144m, mysql_password: {PASSWORD}"),
)
KEY = ("external_address: 10.77.0.23", "external_address: 192.0.2.9")
RELEASE = ("release: sandbox\n", "release: sandbox2\n")
CARRIER = "fleet1: The configuration of carrier is written: /etc/metis/carrier/carrier.yml"
RESTART = "metis-carrier.service would be restarted"
# Of a backup; where nothing is looked at, as GnuPG's agent writes there.
BACKUP, KEYS, PUBLIC = "/run/dry.backup", "/run/dry-keys", "/run/dry.asc"
RESTORE = {"from": BACKUP, "keyring": KEYS, "confirm": NAME}
# Each verb: what its pillar has beside the organization, its exit code, and what it has to show.
VERBS: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "bootstrap": ({}, 0, []),
    "check": ({"fix": True}, 0, ["findings are well"]),
    "deploy": ({}, 0, [CARRIER, "+verbosity: debug", RESTART, "application-admin.yml"]),
    "prepare": ({}, 0, ["artifacts would be fetched"]),
    # What runs as it was started is no matter of a start, whatever the file says meanwhile.
    "start": ({}, 0, ["carrier runs (fleet1): all run and are healthy"]),
    "stop": ({}, 0, ["metis-data@8700.service would be stopped"]),
    "restart": ({}, 0, ["admin@fleet2: mariadb.service, metis-admin.service, nginx.service would"]),
    "reload": ({}, 0, [CARRIER, "-verbosity: info", RESTART, "content would change, and is not"]),
    "upgrade": ({"release": "sandbox2"}, 0, ["would be downloaded", "would be switched"]),
    "rollback": ({}, 1, ["there is no release to go back to"]),
    "scale_in": ({}, 0, []),
    "cleanup": ({"confirm": NAME}, 1, ["still runs: run metis.stop first"]),
    "backup": ({"to": "/run/other.backup", "recipient": PUBLIC}, 0, ["would be"]),
    "restore": (RESTORE, 0, ["would"]),
}


def _look(org: Organization) -> dict[str, Any]:
    """Everything that a verb could change: of every host, of the master, and in consul."""

    def one(host: Host) -> Any:
        done = host.run(["/usr/bin/python3", "-"], input=LOOK, timeout=120)
        return json.loads(done.stdout)

    machines = {**org.lab.hosts, "master": org.lab.master}
    with ThreadPoolExecutor() as pool:
        found = dict(zip(machines, pool.map(one, machines.values()), strict=True))
    places = ("kv/?recurse=", "agent/services", "status/peers", "status/leader")
    for place in places:
        answer = requests.get(f"{CONSUL}/v1/{place}", timeout=10).json()
        found[f"consul {place}"] = sorted(map(str, answer)) if "peers" in place else answer
    return found


def _dry(org: Organization, verb: str) -> subprocess.CompletedProcess[str]:
    pillar, *_ = VERBS[verb]
    return org.lab.salt_run(
        [
            "state.orchestrate",
            f"metis.{verb}",
            f"pillar={json.dumps({'org': NAME} | pillar)}",
            "test=True",
        ],
        check=False,
        timeout=200,
    )


@pytest.fixture(scope="module")
def saved(org: Organization) -> Iterator[None]:
    """A backup on the master, and the keys for it."""
    master = org.lab.master
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "gnupg"]
    master.run(["env", "DEBIAN_FRONTEND=noninteractive", *install], timeout=120)
    master.run(["install", "-d", "-m", "0700", KEYS])
    gpg = ["gpg", "--homedir", KEYS, "--batch", "--quiet"]
    kind = ["default", "default", "never"]
    master.run([*gpg, "--passphrase", "", "--quick-generate-key", "operator", *kind])
    master.run([*gpg, "--armor", "--output", PUBLIC, "--export", "operator"])
    asked = {"org": NAME, "to": BACKUP, "recipient": PUBLIC}
    org.lab.salt_run(
        ["state.orchestrate", "metis.backup", f"pillar={json.dumps(asked)}"], timeout=200
    )
    yield
    master.run(["gpgconf", "--homedir", KEYS, "--kill", "all"])
    master.run(["rm", "-r", KEYS, PUBLIC, BACKUP])


@pytest.fixture(scope="module")
def dry(org: Organization, saved: None) -> dict[str, Any]:
    """Every verb tried, between two looks at everything."""
    with org.edited(*EDITS, RELEASE):
        before = _look(org)
        done = {verb: _dry(org, verb) for verb in VERBS}
        after = _look(org)
    return {"before": before, "after": after, "done": done}


def _differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for machine, seen in before.items():
        if not isinstance(seen, dict) or "files" not in seen:
            found |= {machine: (seen, after[machine])} if seen != after[machine] else {}
            continue
        for what, old in seen.items():
            new = after[machine][what]
            if what == "files":
                changed = {p: (old.get(p), new.get(p)) for p in {*old, *new}}
                found |= {
                    f"{machine} {p}": both
                    for p, both in changed.items()
                    if len({*map(str, both)}) > 1
                }
            elif new != old:
                found[f"{machine} {what}"] = (old, new)
    return found


def test_every_verb_there_is_is_tried(org: Organization) -> None:
    verbs = Path(__file__).parents[2].glob("salt/metis/*.sls")
    assert {file.stem for file in verbs} == set(VERBS)


def test_no_dry_run_changes_anything(dry: dict[str, Any]) -> None:
    assert all(len(look["files"]) > 1000 for look in dry["before"].values() if "files" in look)
    assert _differences(dry["before"], dry["after"]) == {}


@pytest.mark.parametrize("verb", VERBS)
def test_a_dry_run_shows_what_would_change(dry: dict[str, Any], verb: str) -> None:
    done = dry["done"][verb]
    _, code, words = VERBS[verb]
    assert done.returncode == code, done.stderr
    for word in words:
        assert word in done.stderr + done.stdout, word
    assert PASSWORD not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def _states(org: Organization, verb: str, *options: str) -> dict[str, set[str]]:
    """What a verb changed, or would: host or instance to states."""
    found: dict[str, set[str]] = {}
    for changes in org.changes(verb, *options).values():
        for name, states in changes.items():
            found.setdefault(name, set()).update(states if isinstance(states, list) else [verb])
    return found


def _as_predicted(org: Organization, verb: str) -> dict[str, set[str]]:
    predicted = _states(org, verb, "test=True")
    done = _states(org, verb)
    assert predicted == done
    return done


def test_an_edit_is_deployed_as_predicted_and_reloaded_back(org: Organization) -> None:
    starts = org.starts()
    with org.edited(*EDITS, KEY):
        done = _as_predicted(org, "deploy")
    assert {"The configuration of carrier is written", "carrier runs"} <= done["fleet1"]
    assert "admin does not run while its password changes" in done["fleet2"]
    again = _as_predicted(org, "reload")
    # What is no host's is the record's, and by the name of the verb.
    assert again == {k: {"reload"} if v == {"deploy"} else v for k, v in done.items()}
    now = org.starts()
    restarted = {
        unit for host in now for unit in now[host] if now[host][unit] != starts[host][unit]
    }
    assert restarted == {"metis-carrier.service", "metis-admin.service"}
    assert _states(org, "reload") == {}


def test_a_restart_is_as_predicted(org: Organization) -> None:
    starts = org.starts()
    done = _as_predicted(org, "restart")
    assert set(done) == set(org.status())
    now = org.starts()
    assert not [unit for host in now for unit in now[host] if now[host][unit] == starts[host][unit]]
    assert {row["health"] for row in org.status().values()} == {"healthy"}
