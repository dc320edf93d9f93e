"""What is looked at on a host that is to be a minion, and what it gets."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_bootstrap

SCRIPT = Path(__file__).resolve().parents[3] / "salt/minion/install.sh"
MASTER = "10.0.0.10"
HOSTS = {"acme1": {"user": "root"}}
SEEN = "machine=x86_64\r\napt=yes\r\n"


class Keys:
    """The master's keys of minions, in Salt's form."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, str]] = {}

    def fetch(self, bank: str, host: str) -> dict[str, str] | None:
        return self.known.get(host)

    def store(self, bank: str, host: str, key: dict[str, str]) -> None:
        self.known[host] = key

    def flush(self, bank: str, host: str) -> None:
        self.known.pop(host, None)


class Ssh:
    """Stands in for metis_ssh."""

    def __init__(self) -> None:
        self.command = self.as_root = ""
        self.scripts: dict[str, str] = {}
        self.answer: dict[str, Any] = {"problem": "", "unreached": False, "output": SEEN}
        self.interrupts = False

    def run(
        self,
        hosts: dict[str, Any],
        command: str,
        scripts: dict[str, str] | None = None,
        keep: bool = True,
        progress: Any = None,
        as_root: str = "true",
    ) -> dict[str, dict[str, Any]]:
        self.command, self.as_root = command, as_root
        self.scripts = scripts or {}
        if self.interrupts:
            raise KeyboardInterrupt
        return {host: dict(self.answer) for host in hosts}


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Keys:
    found = Keys()
    monkeypatch.setattr(metis_bootstrap, "_keys", lambda: found)
    return found


@pytest.fixture
def ssh() -> Ssh:
    return Ssh()


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "master.pub").write_text("the master's key\n")
    return {
        "interface": "0.0.0.0",
        "pki_dir": str(tmp_path),
        "publish_port": 4505,
        "ret_port": 4506,
    }


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which minions do not come to the master."""
    found: list[str] = []
    monkeypatch.setattr(metis_bootstrap, "_absent", lambda hosts, timeout: sorted(found))
    return found


@pytest.fixture
def configure_loader_modules(
    keys: Keys, ssh: Ssh, absent: list[str], options: dict[str, Any], monkeypatch: Any
) -> dict[ModuleType, dict[str, Any]]:
    monkeypatch.setattr(metis_bootstrap, "_options", lambda: options)
    answers = {"acme1": {"return": True}, "acme2": {"return": None}}
    functions = {
        "cp.get_file_str": lambda path: SCRIPT.read_text(),
        "metis_fleet.run": lambda hosts, *_: {host: answers[host] for host in hosts},
        "metis_ssh.run": ssh.run,
    }
    return {metis_bootstrap: {"__salt__": functions, "__opts__": {"conf_file": "/etc/salt"}}}


def _install() -> dict[str, Any]:
    found: dict[str, Any] = metis_bootstrap.install(HOSTS, MASTER, None, 60)["acme1"]
    return found


def _value(script: str, name: str) -> str:
    """What a variable of a script is."""
    start = script.index(f"{name}=")
    return shlex.split(script[start:])[0].removeprefix(f"{name}=")


def test_minions_are_those_whose_key_is_accepted_and_that_answer(keys: Keys) -> None:
    keys.known = {
        "acme1": {"state": "accepted"},
        "acme2": {"state": "accepted"},
        "acme3": {"state": "rejected"},
        "acme4": {"state": "pending"},
    }
    hosts = [*keys.known, "acme5"]
    assert metis_bootstrap.minions(hosts) == ["acme1"]
    assert metis_bootstrap.rejected(hosts) == ["acme3"]


def test_the_masters_address_is_the_operators_or_what_is_certain(options: dict[str, Any]) -> None:
    assert metis_bootstrap.master_address("192.0.2.1", "192.0.2.2") == "192.0.2.1"
    assert metis_bootstrap.master_address(None, "192.0.2.2") == "192.0.2.2"
    assert metis_bootstrap.master_address(None, None) is None
    options["interface"] = MASTER
    assert metis_bootstrap.master_address(None, None) == MASTER


@pytest.mark.parametrize(
    ("output", "problem"),
    [
        (SEEN, ""),
        ("machine=x86_64\n", "acme1 has no apt-get: it is to be Debian or Ubuntu"),
        ("machine=aarch64\napt=yes\n", "acme1 is aarch64: the programs are for x86_64"),
        (SEEN + "sudo=no\n", "acme1 has no sudo: install it there, or log in as root"),
        (SEEN + "systemd=no\n", "acme1 does not run systemd"),
        (
            SEEN + "closed=4505\nclosed=4506\n",
            "acme1 does not reach the master at 10.0.0.10, port 4505 and 4506: look for a "
            "firewall, or write the right `master` into the ssh file",
        ),
    ],
)
def test_a_host_that_cannot_be_a_minion_says_why(ssh: Ssh, output: str, problem: str) -> None:
    ssh.answer["output"] = output
    assert metis_bootstrap.probe(HOSTS, MASTER, False)["acme1"]["problem"] == problem
    # salt-ssh takes the first for its own program, and the second ends a command.
    assert "/bin/sh" not in ssh.command
    assert "\n" not in ssh.command


@pytest.mark.parametrize(
    ("theirs", "problem"),
    [
        (None, ""),
        ("the master's key", ""),
        ("the master's\r\nkey\r\n", ""),
        (
            "the key of somebody else's master\n",
            "acme1 is a minion of another master: look at the address; where that master is over, "
            "systemctl stop salt-minion and rm {file} on it",
        ),
    ],
)
def test_a_minion_of_another_master_stays_its(
    ssh: Ssh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, theirs: str | None, problem: str
) -> None:
    file = tmp_path / "minion_master.pub"
    monkeypatch.setattr(metis_bootstrap, "_ITS_MASTER", str(file))
    if theirs is not None:
        file.write_text(theirs, newline="")
    metis_bootstrap.probe(HOSTS, MASTER, False)
    done = subprocess.run(
        ["sh", "-c", ssh.as_root], check=True, capture_output=True, text=True, timeout=30
    )
    ssh.answer["output"] = SEEN + done.stdout
    found = metis_bootstrap.probe(HOSTS, MASTER, False)["acme1"]["problem"]
    assert found == problem.format(file=file)
    # Who logs in as root needs no sudo to see it.
    assert ssh.as_root in ssh.command


def test_a_host_gets_a_pair_whose_public_key_is_accepted(keys: Keys, ssh: Ssh) -> None:
    keys.known["acme1"] = {"state": "accepted", "pub": "of another machine"}
    assert _install()["problem"] == ""
    script = ssh.scripts["acme1"]
    public = _value(script, "PUBLIC")
    assert keys.known == {"acme1": {"state": "accepted", "pub": public + "\n"}}
    assert _value(script, "PRIVATE").startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert _value(script, "MASTER_KEY") == "the master's key"
    assert (_value(script, "ID"), _value(script, "MASTER")) == ("acme1", MASTER)
    assert _value(script, "SOURCE") == ""
    # The private key is nowhere on the command line.
    assert ssh.command == "true"
    assert script.endswith(SCRIPT.read_text())


@pytest.mark.parametrize("before", [{}, {"acme1": {"state": "pending", "pub": "what asked"}}])
@pytest.mark.parametrize("unreached", [False, True])
def test_the_key_of_a_host_that_failed_is_accepted_no_more(
    keys: Keys, ssh: Ssh, before: dict[str, Any], *, unreached: bool
) -> None:
    keys.known = dict(before)
    # Where ssh does not connect any more, nothing was done to the host.
    ssh.answer["unreached"] = unreached
    ssh.answer["problem"] = "acme1: apt-get install: no such package"
    assert _install()["problem"] == "acme1: apt-get install: no such package"
    assert keys.known == before


def test_the_keys_are_as_they_were_where_an_operator_interrupts(keys: Keys, ssh: Ssh) -> None:
    before = {"acme1": {"state": "accepted", "pub": "of a minion that was silent"}}
    keys.known = dict(before)
    ssh.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        _install()
    assert keys.known == before


def test_a_minion_that_does_not_come_is_named(keys: Keys, absent: list[str]) -> None:
    absent.append("acme1")
    found = _install()
    assert found["unreached"] is True
    assert found["problem"] == (
        "acme1 has a minion that does not come to the master at 10.0.0.10 within 60 s: look at "
        "journalctl -u salt-minion on it"
    )
    assert keys.known["acme1"]["state"] == "accepted"


def test_a_source_of_packages_is_handed_on(ssh: Ssh, tmp_path: Path) -> None:
    source = tmp_path / "salt.sources"
    source.write_text("Types: deb\nURIs: http://mirror.example/salt\n")
    metis_bootstrap.install(HOSTS, MASTER, str(source), 60)
    assert _value(ssh.scripts["acme1"], "SOURCE") == source.read_text().strip()
