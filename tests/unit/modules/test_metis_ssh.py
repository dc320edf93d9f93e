"""Commands over ssh: what salt-ssh is given, and what an operator is told where it fails."""

from __future__ import annotations

import base64
import json
import multiprocessing
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_ssh

PASSWORD, SUDO = "the password of ssh", "the password of sudo"
KEY = base64.b64encode(b"a host's key").decode()
ACCESS = {
    "address": "10.0.0.11",
    "port": 22,
    "user": "ops",
    "password": PASSWORD,
    "sudo_password": SUDO,
    "key": None,
    "key_passphrase": None,
    "accept_new_host_keys": False,
    "fingerprint": None,
}


class SaltSsh:
    """Stands in for salt-ssh: answers as the test says, and keeps what it was given."""

    def __init__(self) -> None:
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.given: list[dict[str, Any]] = []
        self.opts: dict[str, Any] = {}

    def __call__(self, path: str, options: dict[str, Any]) -> SaltSsh:
        self.opts = options
        return self

    def cmd_iter(
        self, hosts: list[str], command: str, **options: Any
    ) -> Iterator[dict[str, dict[str, Any]]]:
        """What an SSHClient does."""
        roster = json.loads(Path(options["roster_file"]).read_text().removeprefix("#!json\n"))
        scripts = {
            host: Path(entry["ssh_pre_flight"]).read_text()
            for host, entry in roster.items()
            if "ssh_pre_flight" in entry
        }
        self.given.append({"command": command, "roster": roster, "scripts": scripts})
        for host in hosts:
            left = self.answers.get(host, [])
            yield {host: left.pop(0) if left else {"stdout": "", "stderr": "", "retcode": 0}}


@pytest.fixture
def salt_ssh(monkeypatch: pytest.MonkeyPatch) -> SaltSsh:
    found = SaltSsh()
    monkeypatch.setattr(metis_ssh.salt.client.ssh.client, "SSHClient", found)
    monkeypatch.setattr(metis_ssh.salt.config, "client_config", lambda path: {"sock_dir": "/bus"})
    return found


@pytest.fixture
def offers(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    found: dict[str, str] = {}
    monkeypatch.setattr(metis_ssh, "offered", lambda address, port=22: found)
    return found


@pytest.fixture
def configure_loader_modules(
    tmp_path: Path, salt_ssh: SaltSsh, offers: dict[str, str]
) -> dict[ModuleType, dict[str, Any]]:
    functions = {"metis_secrets.folder": lambda below: tmp_path}
    return {metis_ssh: {"__salt__": functions, "__opts__": {"conf_file": "/etc/salt/master"}}}


def _problem(salt_ssh: SaltSsh, said: str, **access: Any) -> dict[str, Any]:
    salt_ssh.answers["acme1"] = [{"stdout": "", "stderr": said, "retcode": 255}]
    answers = metis_ssh.run({"acme1": ACCESS | access}, "true", {"acme1": "a script"})
    # Nothing more is tried on a host that failed.
    assert len(salt_ssh.given) == 1
    found: dict[str, Any] = answers["acme1"]
    assert PASSWORD not in str(found)
    return found


def test_each_step_has_the_password_that_it_needs(salt_ssh: SaltSsh) -> None:
    root = ACCESS | {"user": "root", "key": "/root/key", "password": None, "sudo_password": None}
    hosts = {"acme1": ACCESS, "acme2": root}
    salt_ssh.answers["acme1"] = [{"stdout": "what it printed\n", "stderr": "", "retcode": 0}]
    scripts = dict.fromkeys(hosts, "a script")
    answers = metis_ssh.run(hosts, "uname -m", scripts)
    assert {host: answer["problem"] for host, answer in answers.items()} == {
        "acme1": "",
        "acme2": "",
    }
    assert answers["acme1"]["output"].strip() == "what it printed"
    look, sudo, script = salt_ssh.given
    assert look["command"] == "sh -c 'uname -m'"
    assert {host: entry["passwd"] for host, entry in look["roster"].items()} == {
        "acme1": PASSWORD,
        "acme2": "",
    }
    assert look["roster"]["acme1"]["tty"] is False
    # Root needs no sudo.
    assert list(sudo["roster"]) == ["acme1"]
    assert (sudo["roster"]["acme1"]["passwd"], sudo["roster"]["acme1"]["tty"]) == (SUDO, True)
    assert script["scripts"] == scripts
    assert script["roster"]["acme2"]["priv"] == "/root/key"
    # The master's bus, which others listen to, hears nothing of it.
    assert salt_ssh.opts["sock_dir"] != "/bus"
    for given in salt_ssh.given:
        assert PASSWORD not in given["command"]
        assert SUDO not in given["command"]


def test_what_a_user_sees_as_root_is_in_the_output(salt_ssh: SaltSsh) -> None:
    well = {"stderr": "", "retcode": 0}
    salt_ssh.answers["acme1"] = [well | {"stdout": "first\n"}, well | {"stdout": "second\r\n"}]
    answers = metis_ssh.run({"acme1": ACCESS}, "true", as_root="cat /etc/shadow")
    assert answers["acme1"]["output"].split() == ["first", "second"]
    assert salt_ssh.given[1]["command"].endswith("sh -c 'cat /etc/shadow'")


def test_nothing_is_left_on_disk(salt_ssh: SaltSsh, tmp_path: Path) -> None:
    metis_ssh.run({"acme1": ACCESS}, "true", {"acme1": "a script"})
    option = salt_ssh.given[0]["roster"]["acme1"]["ssh_options"][2].strip("'")
    assert not Path(option.removeprefix("ControlPath=")).parent.exists()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_where_an_operator_interrupts(
    salt_ssh: SaltSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(metis_ssh, "_MEMORY", str(memory))
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))

    def interrupted(hosts: list[str], command: str, **options: Any) -> Any:
        # As salt-ssh has both in the middle of it.
        Path(tempfile.mkstemp()[1]).write_text("a private key")
        child.start()
        raise KeyboardInterrupt

    monkeypatch.setattr(salt_ssh, "cmd_iter", interrupted)
    before = tempfile.tempdir
    with pytest.raises(KeyboardInterrupt):
        metis_ssh.run({"acme1": ACCESS}, "true", {"acme1": "a script"})
    assert list(memory.iterdir()) == []
    assert child.exitcode == -signal.SIGTERM
    assert tempfile.tempdir == before


@pytest.mark.parametrize(
    ("said", "problem", "unreached"),
    [
        ("ssh: connect to host 10.0.0.11 port 22: Connection refused", "is not reached at", True),
        ("Connection timed out during banner exchange", "is not reached at 10.0.0.11:22", True),
        ("", "is not reached at 10.0.0.11:22 by ssh: no answer", True),
        ("ops@10.0.0.11: Permission denied (password).", "refuses ops with its password", False),
        ("Password authentication failed", "refuses ops with its password", False),
        ("Host key verification failed.", "is not known to the master: it offers", False),
        ("@ REMOTE HOST IDENTIFICATION HAS CHANGED! @", "has another host key than", False),
        ("Private key file need passphrase", "needs the `key_passphrase` of", False),
        ("something else\nthe last line", "cannot be used over ssh: the last line", False),
    ],
)
def test_a_failure_names_the_host_and_the_cause(
    salt_ssh: SaltSsh, said: str, problem: str, unreached: bool
) -> None:
    found = _problem(salt_ssh, said)
    assert found["problem"].startswith(f"acme1 {problem}")
    assert found["unreached"] is unreached


def test_a_refused_key_is_named(salt_ssh: SaltSsh) -> None:
    found = _problem(salt_ssh, "Permission denied (publickey).", key="/root/key", password=None)
    assert found["problem"] == "acme1 refuses ops with the key /root/key"


def test_refused_sudo_is_told_before_a_script_runs(salt_ssh: SaltSsh) -> None:
    well = {"stdout": "", "stderr": "", "retcode": 0}
    refused = {"stdout": "Sorry, try again.\r\nsudo: 3 incorrect password attempts\r\n"}
    salt_ssh.answers["acme1"] = [well, refused | {"stderr": "", "retcode": 1}]
    answers = metis_ssh.run({"acme1": ACCESS}, "true", {"acme1": "a script"})
    assert answers["acme1"]["problem"] == (
        "acme1 refuses sudo to ops: sudo: 3 incorrect password attempts"
    )
    assert [given["scripts"] for given in salt_ssh.given] == [{}, {}]


def test_a_script_says_why_it_failed(salt_ssh: SaltSsh) -> None:
    well = {"stdout": "", "stderr": "", "retcode": 0}
    failed = {"stdout": "metis: no such package\r\nmore\r\n", "stderr": "", "retcode": 1}
    salt_ssh.answers["acme1"] = [well, well, failed]
    answers = metis_ssh.run({"acme1": ACCESS}, "true", {"acme1": "a script"})
    assert answers["acme1"]["problem"] == "acme1: no such package"


def test_a_host_key_counts_where_its_fingerprint_is_written(
    salt_ssh: SaltSsh, offers: dict[str, str]
) -> None:
    line = f"10.0.0.11 ssh-ed25519 {KEY}"
    right = metis_ssh.fingerprint(line)
    offers[right] = line
    answers = metis_ssh.run({"acme1": ACCESS | {"fingerprint": right}}, "true")
    assert answers["acme1"]["problem"] == ""
    options = salt_ssh.given[0]["roster"]["acme1"]["ssh_options"]
    assert "StrictHostKeyChecking=yes" in options
    salt_ssh.given.clear()
    wrong = "SHA256:" + "B" * 43
    answers = metis_ssh.run({"acme1": ACCESS | {"fingerprint": wrong}}, "true")
    assert answers["acme1"]["problem"] == (
        f"acme1 has another key than its `fingerprint` says; it offers {right}"
    )
    assert salt_ssh.given == []


@pytest.mark.parametrize(("accepts", "checking"), [(False, "yes"), (True, "accept-new")])
def test_an_unknown_host_key_is_refused_unless_the_operator_says_otherwise(
    salt_ssh: SaltSsh, accepts: bool, checking: str
) -> None:
    metis_ssh.run({"acme1": ACCESS | {"accept_new_host_keys": accepts}}, "true")
    options = salt_ssh.given[0]["roster"]["acme1"]["ssh_options"]
    assert f"StrictHostKeyChecking={checking}" in options
    # The first of several that are given counts, and these would come before.
    assert not salt_ssh.opts["ignore_host_keys"]
    assert not salt_ssh.opts["no_host_keys"]


def test_a_fingerprint_is_what_ssh_shows() -> None:
    # As ssh-keygen -l shows this key.
    line = "host ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
    assert metis_ssh.fingerprint(line) == "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
