"""Secrets that are made once on the master, and kept there."""

from __future__ import annotations

import multiprocessing
import os
import re
import stat
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from salt.exceptions import CommandExecutionError

from _modules import metis_secrets

TIMEOUT = 20


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    found = tmp_path / "salt" / "pki"
    found.mkdir(parents=True)
    return found


@pytest.fixture
def configure_loader_modules(pki: Path) -> dict[ModuleType, dict[str, Any]]:
    return {metis_secrets: {"__opts__": {"pki_dir": str(pki)}}}


def _file(pki: Path, org: str) -> Path:
    return pki / "metis" / f"{org}.yaml"


def test_a_secret_is_made_and_kept(pki: Path) -> None:
    first = metis_secrets.kept("acme", ["mysql_password"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", first["mysql_password"])
    assert metis_secrets.kept("acme", ["mysql_password"]) == first
    assert yaml.safe_load(_file(pki, "acme").read_text()) == first


def test_a_further_secret_leaves_those_before_it() -> None:
    first = metis_secrets.kept("acme", ["a"])
    both = metis_secrets.kept("acme", ["b", "a"])
    assert set(both) == {"a", "b"}
    assert both["a"] == first["a"] != both["b"]
    # What is not asked for is not given.
    assert metis_secrets.kept("acme", ["b"]) == {"b": both["b"]}


def test_an_operator_s_own_secret_is_kept(pki: Path) -> None:
    metis_secrets.kept("acme", ["a"])
    _file(pki, "acme").write_text("mysql_password: chosen by hand\n")
    assert metis_secrets.kept("acme", ["mysql_password"]) == {"mysql_password": "chosen by hand"}


def test_organizations_share_no_secret() -> None:
    assert metis_secrets.kept("acme", ["a"]) != metis_secrets.kept("other", ["a"])


def test_no_secret_asked_for_is_none_made(pki: Path) -> None:
    assert metis_secrets.kept("acme", []) == {}
    assert not _file(pki, "acme").exists()


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_nobody_else_reads_them(pki: Path, mask: int) -> None:
    os.chown(pki, 65534, 65534)
    old = os.umask(mask)
    try:
        metis_secrets.kept("acme", ["a"])
        metis_secrets.kept("acme", ["b"])
    finally:
        os.umask(old)
    folder, file = _file(pki, "acme").parent.stat(), _file(pki, "acme").stat()
    assert stat.S_IMODE(folder.st_mode) == 0o700
    assert stat.S_IMODE(file.st_mode) == 0o600
    # salt-run is root and the master may be another user: it must read what salt-run wrote.
    assert {folder.st_uid, file.st_uid, folder.st_gid, file.st_gid} == {65534}
    assert list(_file(pki, "acme").parent.iterdir()) == [_file(pki, "acme")]


def test_many_at_once_make_each_secret_once(pki: Path) -> None:
    made: list[dict[str, str]] = []
    errors: list[BaseException] = []
    together = threading.Barrier(16)

    def ask(number: int) -> None:
        try:
            together.wait(TIMEOUT)
            made.append(metis_secrets.kept("acme", ["shared", f"own{number % 4}"]))
        except BaseException as err:
            errors.append(err)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert errors == []
    kept = yaml.safe_load(_file(pki, "acme").read_text())
    assert len(kept) == 5
    assert all(one.items() <= kept.items() for one in made)


def _ask(opts: dict[str, Any], answers: Any) -> None:
    metis_secrets.__opts__ = opts  # type: ignore[attr-defined]
    answers.put(metis_secrets.kept("acme", ["shared"])["shared"])


def test_processes_wait_for_each_other(pki: Path) -> None:
    fork = multiprocessing.get_context("fork")
    answers: Any = fork.Queue()
    opts = {"pki_dir": str(pki)}
    started = [fork.Process(target=_ask, args=(opts, answers)) for _ in range(4)]
    for process in started:
        process.start()
    got = [answers.get(timeout=TIMEOUT) for _ in started]
    for process in started:
        process.join(TIMEOUT)
    assert set(got) == {metis_secrets.kept("acme", ["shared"])["shared"]}


@pytest.mark.parametrize("content", [b"", b"\0", b"a: [", b"\xff", b"- a", b"a: !!int x"])
def test_what_is_damaged_is_named_and_left_as_it_is(pki: Path, content: bytes) -> None:
    metis_secrets.kept("acme", ["mysql_password"])
    _file(pki, "acme").write_bytes(content)
    with pytest.raises(CommandExecutionError, match=f"{_file(pki, 'acme')} is damaged"):
        metis_secrets.kept("acme", ["mysql_password"])
    assert _file(pki, "acme").read_bytes() == content
    # Nobody waits for its lock.
    assert metis_secrets.kept("other", ["mysql_password"])


def test_what_is_forgotten_is_made_anew(pki: Path) -> None:
    first = metis_secrets.kept("acme", ["mysql_password"])
    metis_secrets.kept("other", ["mysql_password"])
    metis_secrets.forget("acme")
    assert not _file(pki, "acme").exists()
    assert _file(pki, "other").exists()
    metis_secrets.forget("acme")
    assert metis_secrets.kept("acme", ["mysql_password"]) != first


def test_what_stands_beside_the_secrets_is_forgotten_alone(pki: Path) -> None:
    made = metis_secrets.kept("acme", ["mysql_password"])
    metis_secrets.edit("acme", lambda known: known.update(a=1), "deployed")
    metis_secrets.forget("acme", "deployed")
    assert list((pki / "metis/deployed").iterdir()) == []
    assert metis_secrets.kept("acme", ["mysql_password"]) == made
