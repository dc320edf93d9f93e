"""What the master knows of an organization goes into a backup, and to another master."""

from __future__ import annotations

import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from salt.exceptions import CommandExecutionError

from _modules import (
    metis_backup_master,
    metis_deployed,
    metis_gpg,
    metis_orgs,
    metis_pins,
    metis_secrets,
    metis_store,
)
from tests.unit import orgs
from tests.unit.keyring import Keyring

MODULES = (
    *(metis_backup_master, metis_deployed, metis_gpg, metis_orgs, metis_pins),
    *(metis_secrets, metis_store),
)
PIN = {"sha256": "ab" * 32, "file": "carrier", "from": "an operator", "pinned": "2026-01-01"}


class Master:
    """A master in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.org = folder / "pillar/orgs/acme.sls"
        self.release = folder / "pillar/releases/0.3.0.yaml"
        self.pki = folder / "pki"
        self.secrets = self.pki / "metis/acme.yaml"
        for name in ("pillar", "pki"):
            (folder / name).mkdir(parents=True)

    def opts(self) -> dict[str, Any]:
        """The master's options."""
        return {
            "pki_dir": str(self.pki),
            "pillar_roots": {
                "base": [str(self.folder / "repository"), str(self.folder / "pillar")]
            },
            "metis_store": str(self.folder / "store"),
            "gpg_keydir": str(self.folder / "keys"),
        }

    def use(self) -> None:
        """Have the modules work on this master."""
        vars(metis_backup_master)["__opts__"].clear()
        vars(metis_backup_master)["__opts__"].update(self.opts())

    def everything(self) -> dict[str, bytes]:
        """All that stands in files."""
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found}


@pytest.fixture
def master(tmp_path: Path) -> Master:
    """A master that has deployed acme."""
    made = Master(tmp_path / "old")
    for folder in ("pillar/orgs", "pillar/releases"):
        (made.folder / folder).mkdir()
    made.org.write_text("# As the operator wrote it.\nmetis: {}\n")
    made.release.write_text("release: 0.3.0\n")
    return made


@pytest.fixture
def configure_loader_modules(master: Master) -> dict[ModuleType, dict[str, Any]]:
    own = {"__salt__": orgs.by_salts_name(*MODULES), "__opts__": master.opts()}
    return dict.fromkeys(MODULES, own)


@pytest.fixture
def topology() -> dict[str, Any]:
    metis_secrets.edit("acme", lambda known: known.update(mysql_password="secret-word"))
    metis_deployed.keep("acme", {"consul@h1": {"release": "0.3.0", "previous": "0.2.0"}})
    metis_pins.put("0.3.0", "carrier", "carrier", PIN["sha256"], "an operator")
    metis_pins.put("0.9.0", "carrier", "carrier", "cd" * 32, "an operator")
    deployed = {"consul@h1": {"release": "0.3.0", "previous": "0.2.0"}}
    instances = [{"settings": {"certificate": None}}, {"settings": {}}]
    return {"org": "acme", "release": "0.3.0", "deployed": deployed, "instances": instances}


@pytest.fixture
def other(tmp_path: Path) -> Master:
    """A master that knows of nothing."""
    return Master(tmp_path / "new")


def test_a_backup_has_what_the_master_knows_of_one_organization(
    master: Master, topology: dict[str, Any]
) -> None:
    found = metis_backup_master.parts(topology)
    assert sorted(found) == [
        *("deployed.yaml", "org.sls", "pins.yaml", "releases/0.3.0.yaml", "secrets.yaml"),
    ]
    assert found["org.sls"] == {"content": master.org.read_bytes(), "path": str(master.org)}
    assert found["secrets.yaml"]["content"] == master.secrets.read_bytes()
    pins = yaml.safe_load(found["pins.yaml"]["content"])
    assert {release: list(names) for release, names in pins.items()} == {"0.3.0": ["carrier"]}


def test_a_master_that_knows_nothing_knows_all_afterwards(
    master: Master, topology: dict[str, Any], other: Master
) -> None:
    kept = metis_backup_master.parts(topology)
    before = master.everything()
    other.use()
    assert metis_backup_master.differing("acme", kept) == sorted(kept)
    done = metis_backup_master.unpack("acme", kept, confirmed=False)
    assert len(done["written"]) == len(kept)
    after = other.everything()
    for name in ("pillar/orgs/acme.sls", "pillar/releases/0.3.0.yaml"):
        assert after[name] == before[name]
        assert stat.S_IMODE((other.folder / name).stat().st_mode) == 0o640
    for name in ("pki/metis/acme.yaml", "pki/metis/deployed/acme.yaml"):
        assert yaml.safe_load(after[name]) == yaml.safe_load(before[name])
        assert stat.S_IMODE((other.folder / name).stat().st_mode) == 0o600
    pin = metis_pins.of("0.3.0")["carrier"]
    assert (pin["sha256"], pin["from"]) == (PIN["sha256"], "an operator")
    assert metis_pins.of("0.9.0") == {}
    assert metis_backup_master.differing("acme", kept) == []
    again = metis_backup_master.unpack("acme", kept, confirmed=False)
    assert (again["written"], len(again["same"])) == ([], len(kept))


def test_all_that_is_another_is_told_and_nothing_is_written(
    master: Master, topology: dict[str, Any]
) -> None:
    kept = metis_backup_master.parts(topology)
    master.org.write_text("another")
    metis_secrets.edit("acme", lambda known: known.update(mysql_password="another"))
    metis_pins.put("0.3.0", "carrier", "carrier", "ef" * 32, "an operator")
    master.release.unlink()
    before = master.everything()
    with pytest.raises(CommandExecutionError) as raised:
        metis_backup_master.unpack("acme", kept, confirmed=False)
    assert ": secrets.yaml, pins.yaml, org.sls. Nothing was written" in str(raised.value)
    assert "confirm=acme" in str(raised.value)
    assert "secret-word" not in str(raised.value)
    assert master.everything() == before


def test_what_is_another_is_replaced_where_that_is_confirmed(
    master: Master, topology: dict[str, Any]
) -> None:
    kept = metis_backup_master.parts(topology)
    before = master.org.read_bytes()
    master.org.write_text("another")
    metis_secrets.edit("acme", lambda known: known.update(mysql_password="another", more="x"))
    done = metis_backup_master.unpack("acme", kept, confirmed=True)
    assert len(done["written"]) == 2
    assert master.org.read_bytes() == before
    assert yaml.safe_load(master.secrets.read_text()) == {"mysql_password": "secret-word"}


def test_the_file_comes_last_as_secrets_are_made_for_one_that_is_there(
    topology: dict[str, Any], other: Master, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = metis_backup_master.parts(topology)
    other.use()

    def full(target: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(metis_backup_master, "_write", full)
    with pytest.raises(CommandExecutionError, match="No space left on device; mend this"):
        metis_backup_master.unpack("acme", kept, confirmed=False)
    assert not other.org.exists()
    assert yaml.safe_load(other.secrets.read_text()) == {"mysql_password": "secret-word"}
    monkeypatch.undo()
    other.use()
    metis_backup_master.unpack("acme", kept, confirmed=False)
    assert metis_backup_master.differing("acme", kept) == []


def test_the_operators_own_certificates_come_back_to_their_place(
    topology: dict[str, Any], other: Master, tmp_path: Path
) -> None:
    own = [tmp_path / "ssl/acme.crt", tmp_path / "ssl/private/acme.key"]
    for file in own:
        file.parent.mkdir(exist_ok=True)
        file.write_text(file.name)
    settings = {"certificate": str(own[0]), "certificate_key": str(own[1])}
    topology["instances"].append({"settings": settings})
    kept = metis_backup_master.parts(topology)
    for file in own:
        file.unlink()
    own[1].parent.rmdir()
    other.use()
    metis_backup_master.unpack("acme", kept, confirmed=False)
    assert [file.read_text() for file in own] == ["acme.crt", "acme.key"]
    assert not any(stat.S_IMODE(file.stat().st_mode) & 0o007 for file in own)


def test_what_is_encrypted_in_the_file_can_be_read_on_the_other_master(
    master: Master,
    topology: dict[str, Any],
    other: Master,
    operator: Keyring,
    empty_keyring: str,
) -> None:
    words = ("--armor", "--trust-model", "always", "--encrypt", "--recipient", "operator")
    message = operator.run(*words, given=b"a password").decode()
    vars(metis_backup_master)["__opts__"]["gpg_keydir"] = operator.home
    # As an operator writes it.
    text = "".join(f"      {line}\n" for line in message.splitlines())
    master.org.write_text(f"metis:\n  admin:\n    mysql_password: |\n{text}")
    kept = metis_backup_master.parts(topology)
    other.use()
    vars(metis_backup_master)["__opts__"]["gpg_keydir"] = empty_keyring
    metis_backup_master.unpack("acme", kept, confirmed=False)
    listed = operator.run("--homedir", empty_keyring, "--list-secret-keys")
    assert operator.fingerprint.encode() in listed.replace(b" ", b"")


def test_what_cannot_be_read_is_no_backup(master: Master, topology: dict[str, Any]) -> None:
    topology["instances"].append({"settings": {"certificate": "/nowhere/acme.crt"}})
    with pytest.raises(CommandExecutionError, match=r"/nowhere/acme\.crt cannot be backed up"):
        metis_backup_master.parts(topology)


def test_a_restore_that_was_begun_is_known_until_it_is_through() -> None:
    assert metis_backup_master.begun("acme") == {}
    record = {"backup": "ab", "parts": ["p2p.key"], "since": 1}
    metis_backup_master.keep_begun("acme", record)
    assert metis_backup_master.begun("acme") == record
    metis_secrets.forget("acme", "restoring")
    assert metis_backup_master.begun("acme") == {}
