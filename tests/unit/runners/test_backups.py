"""What the operator is told of a backup, and how a new master gets to know an organization."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import (
    metis_backup_file,
    metis_backup_master,
    metis_gpg,
    metis_lock,
    metis_orgs,
    metis_pins,
    metis_run,
    metis_secrets,
    metis_store,
)
from _output import metis_table
from _runners import metis
from tests.unit import orgs
from tests.unit.keyring import Keyring

MODULES = (
    *(metis_backup_file, metis_backup_master, metis_gpg, metis_orgs, metis_pins),
    *(metis_lock, metis_run, metis_secrets, metis_store),
)
MEMBERS = {
    "hosts/p2p.key": b"ab" * 32,
    "master/org.sls": b"metis: {}\n",
    "master/secrets.yaml": b"mysql_password: secret-word\n",
}


@pytest.fixture
def configure_loader_modules(tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    for name in ("pki", "pillar"):
        (tmp_path / name).mkdir()
    functions = orgs.by_salts_name(*MODULES)
    opts = {"pki_dir": str(tmp_path / "pki"), "pillar_roots": {"base": [str(tmp_path / "pillar")]}}
    own = {"__salt__": functions, "__opts__": opts | {"metis_store": str(tmp_path / "store")}}
    runner = {"salt.cmd": lambda name, *args, **kwargs: functions[name](*args, **kwargs)}
    return dict.fromkeys(MODULES, own) | {metis: {"__salt__": runner, "__opts__": opts}}


@pytest.fixture
def backup(tmp_path: Path, operator: Keyring) -> str:
    files = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "path": ""}
        | {"from": "h1", "version": None}
        for name, data in MEMBERS.items()
    }
    files["master/org.sls"]["path"] = "/srv/pillar/orgs/acme.sls"
    manifest = {"org": "acme", "made": "2026-11-25T14:00:00Z", "files": files}
    manifest["releases"] = {"carrier@h1": "0.3.0"}
    receiver = metis_gpg.receiver(operator.fingerprint, operator.home)
    to = str(tmp_path / "acme.backup")
    sources = {name: [data] for name, data in MEMBERS.items()}
    metis_backup_file.write(to, receiver, operator.home, manifest, sources)
    return to


def _said(shown: dict[str, Any], retcode: int = 0) -> str:
    assert shown["retcode"] == retcode, shown["data"]
    return metis_table.output(shown)


def test_a_look_shows_what_a_backup_is_of_and_no_secret(backup: str, operator: Keyring) -> None:
    said = _said(metis.inspect_backup(backup, keyring=operator.home))
    assert f"{backup}: the organization acme, as it was at 2026-11-25T14:00:00Z" in said
    assert "  hosts/p2p.key: 64 bytes of h1" in said
    assert "  carrier@h1: 0.3.0" in said
    assert "secret-word" not in said


def test_a_look_without_the_key_says_so(backup: str, empty_keyring: str) -> None:
    said = _said(metis.inspect_backup(backup, keyring=empty_keyring), 1)
    assert "the private key is not in the keyring" in said


@pytest.mark.parametrize("runner", [metis.inspect_backup, metis.unpack_backup])
def test_a_damaged_backup_is_none(
    backup: str, operator: Keyring, tmp_path: Path, runner: Any
) -> None:
    file = Path(backup)
    file.write_bytes(file.read_bytes()[:-50])
    assert "damaged" in _said(runner(backup, keyring=operator.home), 1)
    assert list((tmp_path / "pillar").iterdir()) == []


def test_a_new_master_knows_the_organization(
    backup: str, operator: Keyring, tmp_path: Path
) -> None:
    said = _said(metis.unpack_backup(backup, keyring=operator.home))
    assert "secret-word" not in said
    file = tmp_path / "pillar/orgs/acme.sls"
    assert file.read_bytes() == MEMBERS["master/org.sls"]
    assert f"  org.sls ({file}): written" in said
    assert "salt-run state.orchestrate metis.restore" in said
    assert "secret-word" in (tmp_path / "pki/metis/acme.yaml").read_text()
    again = _said(metis.unpack_backup(backup, keyring=operator.home))
    assert "written" not in again
    assert f"  org.sls ({file}): is here already" in again


def test_a_master_that_knows_it_otherwise_is_asked(
    backup: str, operator: Keyring, tmp_path: Path
) -> None:
    file = tmp_path / "pillar/orgs/acme.sls"
    file.parent.mkdir()
    file.write_text("another")
    said = _said(metis.unpack_backup(backup, keyring=operator.home), 1)
    assert "not as the backup has it: org.sls. Nothing was written; confirm=acme" in said
    said = _said(metis.unpack_backup(backup, keyring=operator.home, confirm="other"), 1)
    assert "confirm is other, and the backup is of acme" in said
    assert file.read_text() == "another"
    assert not (tmp_path / "pki/metis/acme.yaml").exists()
    _said(metis.unpack_backup(backup, keyring=operator.home, confirm="acme"))
    assert file.read_bytes() == MEMBERS["master/org.sls"]


def test_what_a_master_knows_is_not_replaced_while_a_verb_is_at_work(
    backup: str, operator: Keyring, tmp_path: Path
) -> None:
    holder = {"run": "r1", "verb": "upgrade", "user": "root", "pid": 7, "begun": 0}
    verb = metis_lock.take("acme", holder)["file"]
    said = _said(metis.unpack_backup(backup, keyring=operator.home, confirm="acme"), 1)
    assert "nothing was written: acme is locked by metis.upgrade of root (process 7, run r1" in said
    assert list((tmp_path / "pillar").iterdir()) == []
    assert not (tmp_path / "pki/metis/acme.yaml").exists()
    metis_lock.release(verb)
    _said(metis.unpack_backup(backup, keyring=operator.home, confirm="acme"))
    # It lets go of the lock itself.
    assert metis_lock.holder("acme") is None


def test_no_verb_begins_while_what_a_master_knows_is_replaced(
    backup: str, operator: Keyring, configure_loader_modules: Any, capsys: Any
) -> None:
    functions = configure_loader_modules[metis_backup_master]["__salt__"]
    unpack = functions["metis_backup_master.unpack"]
    seen = []

    def looked(*args: Any) -> Any:
        seen.append(metis_lock.holder("acme"))
        return unpack(*args)

    functions["metis_backup_master.unpack"] = looked
    cut_off = {"run": "r1", "verb": "upgrade", "user": "root", "pid": 7, "begun": 0}
    os.close(metis_lock.take("acme", cut_off)["file"])
    _said(metis.unpack_backup(backup, keyring=operator.home))
    (holder,) = seen
    assert holder
    assert (holder["verb"], holder["pid"]) == ("unpack_backup", os.getpid())
    assert "the lock of metis.upgrade of root" in capsys.readouterr().err
