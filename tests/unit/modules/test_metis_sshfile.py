"""The operator's ssh file: what it says, and every fault of it, without a password in any."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_sshfile

HOSTS = ["acme1", "acme2"]
SECRET = "a secret that nobody sees"
FINGERPRINT = "SHA256:" + "A" * 43


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return {metis_sshfile: {}}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "ssh.yaml"
    file.touch(0o600)
    return file


def _faults(file: Path, text: str) -> list[str]:
    file.write_text(text)
    found = metis_sshfile.read(str(file), HOSTS)
    assert (found["common"], found["hosts"]) == ({}, {})
    faults: list[str] = found["faults"]
    assert faults
    assert SECRET not in "\n".join(faults)
    return faults


def _access(file: Path, text: str) -> tuple[list[str], dict[str, dict[str, Any]]]:
    file.write_text(text)
    found = metis_sshfile.read(str(file), HOSTS)
    assert found["faults"] == []
    addresses = {"acme1": "10.0.0.11", "acme2": "10.0.0.12"}
    return metis_sshfile.access(found, addresses, "ssh.yaml")


def test_a_host_wins_over_what_is_common(file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o600)
    faults, hosts = _access(
        file,
        f"user: ops\npassword: {SECRET}\n"
        f"hosts:\n  acme2: {{user: root, password: null, key: {key}, port: 2222,"
        f" address: 192.0.2.2, fingerprint: '{FINGERPRINT}'}}\n",
    )
    assert faults == []
    first, second = hosts["acme1"], hosts["acme2"]
    assert (first["user"], first["address"], first["port"]) == ("ops", "10.0.0.11", 22)
    # That of sudo is the same where it is not said.
    assert (first["password"], first["sudo_password"]) == (SECRET, SECRET)
    assert first["accept_new_host_keys"] is False
    assert (second["user"], second["address"], second["port"]) == ("root", "192.0.2.2", 2222)
    assert (second["password"], second["key"]) == (None, str(key))
    assert second["fingerprint"] == FINGERPRINT


def test_what_is_missing_is_told_of_every_host(file: Path) -> None:
    faults, _ = _access(file, "hosts: {acme1: {user: ops}, acme2: {password: x}}\n")
    assert faults == [
        "ssh.yaml: acme1 has neither `password` nor `key`",
        "ssh.yaml: acme2 has no `user` to log in as",
    ]


def test_a_key_that_others_read_or_that_is_missing_is_refused(file: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.touch(0o644)
    faults, _ = _access(file, f"user: ops\nhosts: {{acme1: {{key: {key}}}, acme2: {{key: /no}}}}\n")
    assert faults[0].endswith(f"{key} is readable by others: chmod 0600 {key}")
    assert "/no cannot be read: No such file" in faults[1]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_read_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    (fault,) = _faults(file, f"password: {SECRET}\n")
    assert fault == f"the ssh file {file} is readable by others: chmod 0600 {file}"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    found = metis_sshfile.read(str(tmp_path / "none"), HOSTS)
    assert "none cannot be read: No such file or directory" in found["faults"][0]
    (fault,) = metis_sshfile.read("ssh.yaml", HOSTS)["faults"]
    assert fault == "the ssh file ssh.yaml is to be an absolute path"


def test_all_faults_are_told_at_once_and_no_password(file: Path) -> None:
    faults = _faults(
        file,
        f"pasword: {SECRET}\npassword: 123456789012\nport: 70000\nkey: [{SECRET}]\n"
        f"hosts:\n  acme1: {{fingerprint: {SECRET}, user: {{{SECRET}: x}}}}\n",
    )
    text = "\n".join(faults)
    for part in (
        "pasword is no setting of this file; known are user, password, sudo_password",
        "password is to be text: write it in quotes",
        "port is to be a port, 1 to 65535",
        "key is to be text",
        "hosts:acme1:fingerprint is to be SHA256:",
        "hosts:acme1:user is to be text",
    ):
        assert part in text
    assert "123456789012" not in text


def test_hosts_of_no_organization_and_wrong_addresses_are_told(file: Path) -> None:
    faults = _faults(
        file, "master: salt\npackage_source: /no/such\nhosts: {acme3: {}, acme1: {address: x}}\n"
    )
    text = "\n".join(faults)
    assert "hosts:acme3 is no host of the organization; it has acme1, acme2" in text
    assert "hosts:acme1:address is to be an address" in text
    assert "master is to be an address" in text
    assert "package_source /no/such is no file" in text


def test_what_is_no_yaml_is_told_by_its_line(file: Path) -> None:
    (fault,) = _faults(file, f"user: ops\npassword: '{SECRET}\n")
    assert fault.startswith(f"the ssh file {file} is no YAML, line")


@pytest.mark.parametrize("text", ["", "- a\n", "text\n"])
def test_what_is_no_mapping_is_refused(file: Path, text: str) -> None:
    assert str(file) in _faults(file, text)[0]


ASKS = """
import json, sys
from _modules import metis_sshfile
if metis_sshfile.may_ask():
    json.dump(metis_sshfile.ask(["acme1"]), open(sys.argv[1], "w"))
"""
REPOSITORY = Path(__file__).resolve().parents[3]


def _typed(answers: dict[str, str], file: Path) -> tuple[str, dict[str, Any]]:
    """What the terminal showed, and what was understood, where each prompt is answered."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(REPOSITORY)
        os.execv(sys.executable, [sys.executable, "-c", ASKS, str(file)])
    shown = ""
    left = dict(answers)
    while True:
        try:
            shown += os.read(terminal, 1024).decode()
        except OSError:
            break
        for prompt in [prompt for prompt in left if shown.endswith(prompt)]:
            os.write(terminal, f"{left.pop(prompt)}\n".encode())
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown
    understood: dict[str, Any] = json.loads(file.read_text())
    return shown, understood


def test_on_a_terminal_it_is_asked_for_and_no_password_is_shown(tmp_path: Path) -> None:
    answers = {"user: ": "ops", " password: ": SECRET, "the same): ": ""}
    shown, understood = _typed(answers, tmp_path / "out")
    assert "ssh access to acme1" in shown
    assert SECRET not in shown
    faults, hosts = metis_sshfile.access(understood, {"acme1": "10.0.0.11"}, "ask")
    assert faults == []
    assert (hosts["acme1"]["user"], hosts["acme1"]["sudo_password"]) == ("ops", SECRET)


def test_root_is_asked_for_no_password_of_sudo(tmp_path: Path) -> None:
    shown, understood = _typed({"user: ": "root", " password: ": SECRET}, tmp_path / "out")
    assert "sudo" not in shown
    assert understood["common"]["password"] == SECRET


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    out = tmp_path / "out"
    argv = [sys.executable, "-c", ASKS, str(out)]
    subprocess.run(argv, cwd=REPOSITORY, start_new_session=True, check=True, timeout=60)
    assert not out.exists()
