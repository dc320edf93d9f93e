"""A backup of an organization whose hosts answer as a test says, by the real gpg."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from _modules import (
    metis_backup_file,
    metis_backup_host,
    metis_backup_master,
    metis_gpg,
    metis_sealed,
)
from _states import metis, metis_backup
from tests.unit.keyring import Keyring
from tests.unit.states.fleet import Answer, Fleet, Modules, State, gone, problems, returned

PARTS = {
    "h1": {"consul.snapshot": b"a snapshot", "p2p.key": b"ab" * 32},
    "h2": {"database.sql.gz": os.urandom(1_500_000)},
}
GIVE, PIECE, FORGET = (f"metis_backup_host.{name}" for name in ("give", "piece", "forget"))
OWN: dict[str, dict[str, Any]] = {
    "org.sls": {"content": b"metis: {}\n", "path": "/pillar/orgs/acme.sls"},
    "secrets.yaml": {"content": b"mysql_password: secret-word\n", "path": "/pki/acme.yaml"},
}

pytestmark = pytest.mark.usefixtures("acme")


class Hosts(Fleet):
    """Hosts that seal what they have, and keep what does not fit into an answer."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, dict[str, list[str]]] = {}
        self.down: dict[str, Answer] = {}
        self.fails_at: int | None = None

    def answer(self, host: str, fun: str, kwarg: dict[str, Any]) -> Answer:
        """Give what a host answers of which a test said nothing."""
        if fun == GIVE:
            return self.down.get(host) or returned(self._given(host, kwarg))
        if fun == PIECE:
            return self._piece(host, kwarg)
        if fun == FORGET:
            self.kept.pop(host)
            return returned(True)
        if fun.endswith("look"):
            return self.down.get(host) or returned({})
        return super().answer(host, fun, kwarg)

    def _given(self, host: str, asked: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for part in asked["parts"][host]:
            data = PARTS[host][part]
            lines = list(metis_sealed.lines(asked["key"], [data]))
            self.kept.setdefault(host, {})[part] = lines
            sha256 = hashlib.sha256(data).hexdigest()
            found[part] = {"size": len(data), "sha256": sha256, "version": None}
            found[part] |= {"pieces": len(lines), "sealed": lines[:2]}
        return found

    def _piece(self, host: str, asked: dict[str, Any]) -> Answer:
        if asked["number"] == self.fails_at:
            return gone("silent")
        return returned(self.kept[host][asked["part"]][asked["number"]])


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def asked(tmp_path: Path, operator: Keyring) -> dict[str, Any]:
    (tmp_path / "to").mkdir()
    (tmp_path / "operator.asc").write_bytes(operator.public())
    recipient = str(tmp_path / "operator.asc")
    return {"org": "acme", "to": str(tmp_path / "to/acme.backup"), "recipient": recipient}


@pytest.fixture
def configure_loader_modules(verb: Callable[..., Modules], hosts: Hosts) -> Modules:
    functions = {
        "metis_backup_host.parts": metis_backup_host.parts,
        "metis_backup_master.parts": create_autospec(metis_backup_master.parts, return_value=OWN),
    }
    modules = (metis_backup, metis_backup_file, metis_gpg, metis_sealed)
    return verb(hosts, *modules, functions=functions)


def _backup() -> list[State]:
    """The verb, to its first failure."""
    takes = ["to", "recipient", "keyring"]
    done = [metis.guarded("it is valid", takes=takes)]
    for phase in (metis_backup.prepared, metis_backup.written):
        if done[-1]["result"] is not False:
            done.append(phase(phase.__name__))
    return done


def test_a_backup_has_what_hosts_and_the_master_have(
    asked: dict[str, Any], hosts: Hosts, operator: Keyring
) -> None:
    done = _backup()
    assert done[-1]["result"] is True, done[-1]["comment"]
    taken: dict[str, bytes] = {}

    def take(name: str, chunks: Iterator[bytes]) -> None:
        taken[name] = b"".join(chunks)

    found = metis_backup_file.walk(asked["to"], operator.home, take)
    assert found["problems"] == []
    every = {part: data for parts in PARTS.values() for part, data in parts.items()}
    wanted = {f"hosts/{part}": data for part, data in every.items()}
    wanted |= {f"master/{name}": own["content"] for name, own in OWN.items()}
    assert taken == wanted
    manifest = found["manifest"]
    assert manifest["org"] == "acme"
    assert manifest["files"]["hosts/p2p.key"]["from"] == "h1"
    assert manifest["files"]["master/org.sls"]["path"] == "/pillar/orgs/acme.sls"
    assert manifest["releases"]["admin@h2"] == "0.3.0"
    # Nobody keeps what was given.
    assert hosts.acted(FORGET) == [["h2"]]
    assert "h2" not in hosts.kept


def test_no_secret_is_told_or_asked_for_in_clear(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = _backup()
    journal = "".join(p.read_text() for p in tmp_path.rglob("*.jsonl"))
    assert journal
    for text in (str(done), str(hosts.jobs), capsys.readouterr().err, journal):
        assert "secret-word" not in text
        assert "ab" * 32 not in text


def test_only_what_is_asked_for_is_in_it(
    asked: dict[str, Any], hosts: Hosts, operator: Keyring
) -> None:
    asked["roles"] = "carrier"
    assert _backup()[-1]["result"] is True
    manifest = metis_backup_file.manifest(asked["to"], operator.home)
    names = [name for name in manifest["files"] if name.startswith("hosts/")]
    assert names == ["hosts/p2p.key"]
    assert hosts.acted(GIVE) == [["h1"]]


def test_a_dry_run_says_what_it_would_write_and_writes_nothing(
    asked: dict[str, Any], opts: dict[str, Any], hosts: Hosts
) -> None:
    opts["test"] = True
    done = _backup()[-1]
    assert done["result"] is None
    (what,) = done["changes"].values()
    assert what["new"] == (
        "consul.snapshot, p2p.key of h1; database.sql.gz of h2; org.sls, secrets.yaml of the master"
    )
    assert list(done["changes"]) == [asked["to"]]
    assert os.listdir(Path(asked["to"]).parent) == []
    assert hosts.acted(GIVE) == []


def test_a_dry_run_says_which_host_is_silent(opts: dict[str, Any], hosts: Hosts) -> None:
    opts["test"] = True
    hosts.down["h2"] = gone("silent")
    done = _backup()[-1]
    assert (done["result"], done["reason"]) == (False, "hosts-missing")


@pytest.mark.parametrize(
    ("down", "reason", "why"),
    [
        (gone("silent"), "hosts-missing", "h2 does not answer"),
        (gone("late"), "hosts-missing", "h2 still works on it"),
        (returned("dumping metis_admin failed: no space"), "failed", "h2 failed: dumping metis"),
    ],
)
def test_a_host_without_its_part_leaves_no_file(
    asked: dict[str, Any], hosts: Hosts, down: Answer, reason: str, why: str
) -> None:
    hosts.down["h2"] = down
    done = _backup()[-1]
    assert (done["result"], done["reason"]) == (False, reason)
    assert problems(done)[0].startswith(why)
    assert os.listdir(Path(asked["to"]).parent) == []


def test_a_host_that_falls_silent_in_the_middle_leaves_no_file(
    asked: dict[str, Any], hosts: Hosts
) -> None:
    hosts.fails_at = 3
    done = _backup()[-1]
    assert (done["result"], done["reason"]) == (False, "hosts-missing")
    assert problems(done)[0].startswith("h2 does not answer")
    assert os.listdir(Path(asked["to"]).parent) == []
    hosts.fails_at = None
    assert _backup()[-1]["result"] is True


def test_all_that_is_wrong_is_told_before_any_host_gives_anything(
    asked: dict[str, Any], hosts: Hosts
) -> None:
    Path(asked["to"]).write_text("precious")
    asked["recipient"] = "operator"
    done = _backup()[-1]
    assert (done["result"], done["reason"]) == (False, "invalid-input")
    told = problems(done)
    assert told[0].startswith(f"to: {asked['to']} is there already")
    assert told[1].startswith("recipient is 'operator'")
    assert hosts.acted(GIVE) == []
    assert Path(asked["to"]).read_text() == "precious"


def test_nothing_given_is_nothing_done(asked: dict[str, Any]) -> None:
    del asked["to"], asked["recipient"]
    told = problems(_backup()[-1])
    assert [line.split()[0] for line in told] == ["to", "recipient"]
