"""A restore onto hosts that answer as a test says, from a real backup."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from _modules import (
    metis_backup_file,
    metis_backup_host,
    metis_backup_master,
    metis_backup_stage,
    metis_gpg,
    metis_run,
    metis_sealed,
    metis_store,
)
from _states import metis, metis_restore
from tests.unit.keyring import Keyring
from tests.unit.states.fleet import (
    Answer,
    Fleet,
    Modules,
    State,
    gone,
    instance,
    problems,
    returned,
)

KEY = b"ab" * 32
PARTS = {"consul.snapshot": b"a snapshot", "p2p.key": KEY, "database.sql.gz": b"a dump" * 200_000}
OURS = hashlib.sha256(KEY).hexdigest()
LOOK, TAKE = "metis_backup_host.look", "metis_backup_host.take"


class Hosts(Fleet):
    """Hosts that open what was sealed for them."""

    def __init__(self, folder: Path, keys: dict[str, tuple[Any, str]]) -> None:
        super().__init__()
        self.folder = folder
        self.keys = keys
        self.there: dict[str, dict[str, str]] = {"h1": {}, "h2": {}}
        self.took: list[tuple[str, str, bytes]] = []
        self.down: dict[str, Answer] = {}

    def answer(self, host: str, fun: str, kwarg: dict[str, Any]) -> Answer:
        """Give what a host answers of which a test said nothing."""
        if fun == LOOK:
            return returned(self.there[host])
        if fun == TAKE:
            return self.down.get(host) or self._take(host, kwarg)
        return super().answer(host, fun, kwarg)

    def _take(self, host: str, asked: dict[str, Any]) -> Answer:
        file = self.folder / "store/artifacts" / asked["stored"]
        lines = file.read_text().splitlines()
        data = b"".join(metis_sealed.opened(self.keys[host][0], lines))
        assert hashlib.sha256(data).hexdigest() == asked["sha256"]
        self.took.append((host, asked["part"], data))
        return returned(True)


@pytest.fixture(scope="module")
def keys() -> dict[str, tuple[Any, str]]:
    """The key of each host's minion."""
    return {host: metis_sealed.pair() for host in ("h1", "h2")}


@pytest.fixture
def hosts(tmp_path: Path, keys: dict[str, tuple[Any, str]]) -> Hosts:
    (tmp_path / "minions").mkdir()
    for host, (_, public) in keys.items():
        (tmp_path / "minions" / host).write_text(public)
    return Hosts(tmp_path, keys)


@pytest.fixture
def asked(tmp_path: Path, operator: Keyring) -> dict[str, Any]:
    return {"org": "acme", "from": str(tmp_path / "acme.backup"), "keyring": operator.home}


@pytest.fixture
def differing() -> list[str]:
    """What of the backup is not as the master has it."""
    return []


@pytest.fixture
def configure_loader_modules(
    verb: Callable[..., Modules], hosts: Hosts, differing: list[str]
) -> Modules:
    functions = {
        "metis_backup_host.parts": metis_backup_host.parts,
        "metis_backup_master.differing": create_autospec(
            metis_backup_master.differing, return_value=differing
        ),
    }
    modules = (metis_backup_file, metis_backup_master, metis_backup_stage, metis_gpg, metis_sealed)
    return verb(hosts, metis_restore, metis_store, *modules, functions=functions)


@pytest.fixture(autouse=True)
def backup(acme: dict[str, Any], asked: dict[str, Any], operator: Keyring) -> dict[str, Any]:
    """A backup of acme; its manifest."""
    return _write(asked, operator, "acme", PARTS)


def _write(
    asked: dict[str, Any], operator: Keyring, org: str, parts: dict[str, bytes]
) -> dict[str, Any]:
    members = {f"hosts/{part}": data for part, data in parts.items()}
    members["master/org.sls"] = b"metis: {}\n"
    files = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        | {"from": "h1", "path": ""}
        for name, data in members.items()
    }
    manifest = {"org": org, "made": "2026-11-25T14:00:00Z", "files": files}
    Path(asked["from"]).unlink(missing_ok=True)
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    sources = {name: [data] for name, data in members.items()}
    metis_backup_file.write(asked["from"], receiver, operator.home, manifest, sources)
    return manifest


def _looked() -> list[State]:
    """The verb until hosts are told something, to its first failure."""
    done = [metis.guarded("it is valid", takes=["from", "keyring", "confirm"])]
    for phase in (metis_restore.verified, metis_restore.allowed):
        if done[-1]["result"] is not False:
            done.append(phase(phase.__name__))
    return done


def _restore() -> list[State]:
    """The phases of the verb that bring something back, to the first failure."""
    done = _looked()
    if done[-1]["result"] is not False:
        done.append(metis_restore.begun("begun"))
    for part in ("p2p.key", "consul.snapshot", "database.sql.gz"):
        if done[-1]["result"] is not False:
            done.append(metis_restore.brought_back(part, part))
    if done[-1]["result"] is not False:
        done.append(metis_restore.ended("ended"))
    return done


def _staged(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "store/artifacts").rglob("*") if p.is_file())


def test_new_hosts_get_what_was_lost(hosts: Hosts, tmp_path: Path) -> None:
    done = _restore()
    assert done[-1]["result"] is True, done[-1]["comment"]
    assert hosts.took == [
        ("h1", "p2p.key", KEY),
        ("h1", "consul.snapshot", PARTS["consul.snapshot"]),
        ("h2", "database.sql.gz", PARTS["database.sql.gz"]),
    ]
    assert (
        done[1]["comment"]
        == f"{tmp_path}/acme.backup, made at 2026-11-25T14:00:00Z, is whole: 4 parts"
    )
    # What was sealed for hosts is gone, and so is the record.
    assert _staged(tmp_path) == []
    assert metis_backup_master.begun("acme") == {}


def test_what_waits_for_hosts_is_readable_to_them_alone(hosts: Hosts, tmp_path: Path) -> None:
    assert _looked()[-1]["result"] is True
    assert _staged(tmp_path) == sorted(PARTS)
    for part in PARTS:
        text = (tmp_path / "store/artifacts/_restore/acme" / part).read_bytes()
        assert PARTS[part][:64] not in text


def test_hosts_are_looked_at_again_once_something_was_brought_back(hosts: Hosts) -> None:
    assert _looked()[-1]["result"] is True
    seen = metis_run.now()["seen"]
    seen |= {"h1": [instance("carrier@h1")], "h2": [instance("admin@h2")]}
    metis_restore.brought_back("the database", "database.sql.gz")
    # It was stopped for that.
    assert list(seen) == ["h1"]


def test_the_same_identity_is_left_alone(hosts: Hosts) -> None:
    hosts.there["h1"] = {"p2p.key": OURS}
    done = _restore()
    assert done[-1]["result"] is True
    assert done[4]["changes"] == {}
    assert [part for _, part, _ in hosts.took] == ["consul.snapshot", "database.sql.gz"]


def test_data_is_lost_only_where_that_is_confirmed(
    hosts: Hosts, asked: dict[str, Any], tmp_path: Path
) -> None:
    hosts.there = {
        "h1": {"p2p.key": "cd" * 32, "consul.snapshot": ""},
        "h2": {"database.sql.gz": ""},
    }
    done = _restore()[-1]
    assert (done["result"], done["reason"]) == (False, "invalid-input")
    assert sorted(problems(done)[:3]) == [
        "h1 has carrier's identity, which is not that of the backup",
        "h1 has what consul knows",
        "h2 has admin's database",
    ]
    assert '"confirm": "acme"' in problems(done)[3]
    assert hosts.took == []
    assert _staged(tmp_path) == []
    asked["confirm"] = "acme"
    assert _restore()[-1]["result"] is True
    assert len(hosts.took) == 3


def test_a_restore_that_was_cut_off_goes_on_without_another_word(
    hosts: Hosts, backup: dict[str, Any]
) -> None:
    hosts.down["h2"] = gone("silent")
    done = _restore()[-1]
    assert (done["result"], done["reason"]) == (False, "hosts-missing")
    # As its first part left them.
    hosts.there = {"h1": {"p2p.key": OURS, "consul.snapshot": ""}, "h2": {"database.sql.gz": ""}}
    hosts.down.clear()
    again = _restore()
    assert again[-1]["result"] is True
    assert again[2]["comment"] == "this restore was begun before, and goes on"
    # Once it is through, what is there is somebody's data again.
    assert _restore()[-1]["reason"] == "invalid-input"


def test_a_restore_that_ended_before_it_began_on_hosts_is_no_word(
    hosts: Hosts, asked: dict[str, Any]
) -> None:
    # The phase after these looks whether hosts are fit for it.
    assert _looked()[-1]["result"] is True
    hosts.there = {"h1": {"p2p.key": "cd" * 32}, "h2": {"database.sql.gz": ""}}
    assert _looked()[-1]["reason"] == "invalid-input"
    asked["confirm"] = "acme"
    assert _looked()[-1]["result"] is True
    del asked["confirm"]
    assert _looked()[-1]["reason"] == "invalid-input"


def test_what_was_begun_is_no_word_for_another_part(hosts: Hosts, asked: dict[str, Any]) -> None:
    hosts.down["h1"] = gone("silent")
    asked["roles"] = "carrier"
    assert _restore()[-1]["reason"] == "hosts-missing"
    assert metis_backup_master.begun("acme")["parts"] == ["p2p.key"]
    del asked["roles"]
    hosts.there["h2"] = {"database.sql.gz": ""}
    assert problems(_looked()[-1])[0] == "h2 has admin's database"


def test_a_restore_that_was_begun_long_ago_is_confirmed_anew(hosts: Hosts) -> None:
    hosts.down["h2"] = gone("silent")
    assert _restore()[-1]["reason"] == "hosts-missing"
    record = metis_backup_master.begun("acme")
    metis_backup_master.keep_begun("acme", record | {"since": record["since"] - 90_000})
    hosts.there["h2"] = {"database.sql.gz": ""}
    assert _looked()[-1]["reason"] == "invalid-input"


def test_only_what_is_asked_for_comes_back(hosts: Hosts, asked: dict[str, Any]) -> None:
    hosts.there["h2"] = {"database.sql.gz": ""}
    asked["roles"] = "carrier"
    assert _restore()[-1]["result"] is True
    assert [part for _, part, _ in hosts.took] == ["p2p.key"]


def test_a_dry_run_says_what_would_come_back_and_touches_nothing(
    hosts: Hosts, opts: dict[str, Any], tmp_path: Path
) -> None:
    opts["test"] = True
    done = _restore()
    assert [state["result"] for state in done[4:7]] == [None, None, None]
    assert done[6]["changes"] == {
        "h2": {"database.sql.gz": {"old": None, "new": "of 2026-11-25T14:00:00Z"}}
    }
    assert hosts.acted(TAKE) == []
    assert _staged(tmp_path) == []
    assert metis_backup_master.begun("acme") == {}


def test_a_damaged_backup_touches_nothing(
    hosts: Hosts, asked: dict[str, Any], tmp_path: Path
) -> None:
    file = Path(asked["from"])
    file.write_bytes(file.read_bytes()[:-50])
    done = _restore()[-1]
    assert done["result"] is False
    assert "damaged" in problems(done)[0]
    assert hosts.acted(LOOK) == []
    assert _staged(tmp_path) == []


def test_a_backup_of_another_organization_is_refused(
    hosts: Hosts, asked: dict[str, Any], operator: Keyring
) -> None:
    _write(asked, operator, "other", PARTS)
    done = _restore()[-1]
    assert done["reason"] == "invalid-input"
    assert problems(done) == [f"from: {asked['from']} is a backup of other, not of acme"]


def test_a_backup_without_a_part_says_which(
    hosts: Hosts, asked: dict[str, Any], operator: Keyring, tmp_path: Path
) -> None:
    _write(asked, operator, "acme", {"p2p.key": KEY})
    done = _restore()[-1]
    assert done["reason"] == "invalid-input"
    assert [line.split(", which")[0] for line in problems(done)] == [
        f"from: {asked['from']} has no consul.snapshot",
        f"from: {asked['from']} has no database.sql.gz",
    ]
    assert _staged(tmp_path) == []
    asked["roles"] = "carrier"
    assert _restore()[-1]["result"] is True


def test_all_that_is_wrong_with_what_was_given_is_told_at_once(asked: dict[str, Any]) -> None:
    asked |= {"from": "acme.backup", "keyring": "/nowhere", "confirm": "other"}
    done = _restore()[-1]
    assert done["reason"] == "invalid-input"
    assert [line.split()[0] for line in problems(done)] == ["from", "confirm", "keyring:"]


@pytest.mark.parametrize("differing", [["org.sls", "secrets.yaml"]])
def test_that_the_master_knows_it_otherwise_is_told(
    differing: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _restore()[-1]["result"] is True
    told = f"{', '.join(differing)}: what the master has counts"
    assert told in capsys.readouterr().err


def test_a_host_whose_key_is_not_accepted_is_named(hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "minions/h2").unlink()
    done = _restore()[-1]
    assert done["result"] is False
    assert problems(done) == [f"{tmp_path}/minions/h2: No such file or directory"]


def test_no_secret_is_told_or_sent_in_clear(
    hosts: Hosts, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    done = _restore()
    journal = "".join(p.read_text() for p in tmp_path.rglob("*.jsonl"))
    assert journal
    for text in (str(done), str(hosts.jobs), capsys.readouterr().err, journal):
        assert KEY.decode() not in text
