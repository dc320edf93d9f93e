"""Hosts with nothing but sshd, in a lab of their own: they become minions, and are deployed."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from tests.lab import systems
from tests.lab.fleet import Lab
from tests.lab.host import ENVIRONMENT

ORG_FILE = Path(__file__).with_name("bare.sls")
SYSTEMS = {"bare1": systems.BARE, "bare2": systems.BARE_13}
USER, PASSWORD = "worker", "{{ what nobody sees }} 'k$x"
ACCESS = "/root/bare-ssh.yaml"
KEY, PASSPHRASE = "/root/bare-key", '{{ nor this }} "k$x'
SOURCE = "/root/bare.sources"
# Everything that is on a host's disk, but what runs by itself and what sudo notes of its first use.
FILES = """
find / -xdev -type f -not -path '/proc/*' -not -path '/sys/*' -not -path '/run/*' \
    -not -path '/var/log/*' -not -path '/var/lib/sudo/*' -not -name .sudo_as_admin_successful \
    -printf '%p %T@ %m\\n' | sort
"""

Done = subprocess.CompletedProcess[str]


class Bare:
    """The lab, and the verb that is asked of it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def run(self, verb: str, *options: str, **pillar: str) -> Done:
        asked = json.dumps({"org": "bare"} | pillar)
        return self.lab.salt_run(
            ["state.orchestrate", f"metis.{verb}", f"pillar={asked}", *options, "--out=json"],
            check=False,
            timeout=400,
        )

    def bootstrap(self, *options: str) -> Done:
        return self.run("bootstrap", *options, ssh=ACCESS)

    def access(self, **changed: dict[str, Any]) -> None:
        """Write the operator's ssh file, with what is changed of a host."""
        hosts: dict[str, dict[str, Any]] = {
            "bare1": {"user": USER, "password": PASSWORD},
            "bare2": {"user": "root", "key": KEY, "key_passphrase": PASSPHRASE},
        }
        for name, settings in changed.items():
            hosts[name] |= settings
        file = {"accept_new_host_keys": True, "package_source": SOURCE, "hosts": hosts}
        text = json.dumps(file)
        self.lab.master.run(["sh", "-c", f"umask 077; cat > {ACCESS}"], input=text)

    def files(self) -> set[str]:
        """Every file of every host, with its time and mode."""
        found = set()
        for name, host in self.lab.hosts.items():
            lines = host.run(["sh", "-c", FILES]).stdout.splitlines()
            found |= {f"{name} {line}" for line in lines}
        return found


def _states(done: Done) -> dict[str, Any]:
    (states,) = json.loads(done.stdout)["data"].values()
    return {state["__id__"]: state for state in states.values()}


def _failed(done: Done) -> dict[str, Any]:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    found = next(state for state in _states(done).values() if state["result"] is False)
    assert isinstance(found, dict)
    return found


@pytest.fixture(scope="module")
def bare() -> Iterator[Bare]:
    lab = Lab("bare", ORG_FILE, systems=SYSTEMS)
    lab.down()
    lab.up()
    user, root = lab.host("bare1"), lab.host("bare2")
    user.run(["useradd", "--create-home", "--groups=sudo", "--shell=/bin/bash", USER])
    user.run(["chpasswd"], input=f"{USER}:{PASSWORD}")
    lab.master.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", PASSPHRASE, "-f", KEY])
    root.run(["install", "-d", "-m", "0700", "/root/.ssh"])
    public = (lab.master.root / f"{KEY[1:]}.pub").read_text()
    (root.root / "root/.ssh/authorized_keys").write_text(public)
    # One has the source of salt-minion, the other gets it.
    line = root.root / "etc/apt/sources.list"
    _, _, uri, suite = line.read_text().split()
    (lab.master.root / SOURCE[1:]).write_text(
        f"Types: deb\nURIs: {uri}\nSuites: {suite}\nTrusted: yes\n"
    )
    line.write_text("")
    yield Bare(lab)
    lab.down()


def test_hosts_are_bare(bare: Bare) -> None:
    for host in bare.lab.hosts.values():
        assert host.run(["which", "python3", "salt-minion"], check=False).returncode != 0


def test_faults_of_the_ssh_file_are_told_before_a_host_is_touched(bare: Bare) -> None:
    bare.access(bare1={"port": "many"})
    failed = _failed(bare.bootstrap())
    assert failed["reason"] == "invalid-input"
    assert f"{ACCESS}: hosts:bare1:port is to be a number" in failed["comment"]
    bare.lab.master.run(["chmod", "0644", ACCESS])
    assert "readable by others: chmod 0600" in _failed(bare.bootstrap())["comment"]
    # No terminal to ask on, either.
    failed = _failed(bare.run("bootstrap"))
    assert "name a file with ssh access to them" in failed["comment"]
    bare.lab.master.run(["rm", ACCESS])


def test_a_host_that_refuses_or_is_not_reached_is_named(bare: Bare) -> None:
    bare.access(bare1={"password": "not that one", "sudo_password": PASSWORD})
    sshd = bare.lab.host("bare2")
    sshd.run(["systemctl", "stop", "ssh.service"])
    try:
        done = bare.bootstrap()
    finally:
        sshd.run(["systemctl", "start", "ssh.service"])
    failed = _failed(done)
    assert failed["reason"] == "hosts-missing"
    assert "bare1 refuses worker with its password" in failed["comment"]
    assert "bare2 is not reached at 10.77.0.52:22 by ssh: ssh: connect to" in failed["comment"]
    assert "FAILED  bare1 refuses worker" in done.stderr
    bare.access(bare1={"sudo_password": "not that one"}, bare2={"key_passphrase": None})
    failed = _failed(bare.bootstrap())
    assert failed["reason"] == "failed"
    assert "bare1 refuses sudo to worker: sudo: 3 incorrect" in failed["comment"]
    assert f"bare2 needs the `key_passphrase` of {KEY}" in failed["comment"]


def test_an_unknown_host_key_is_shown_and_refused(bare: Bare) -> None:
    bare.access(bare1={"accept_new_host_keys": False})
    bare.lab.master.run(["rm", "-f", "/etc/salt/pki/master/metis/ssh/known_hosts"])
    comment = _failed(bare.bootstrap("test=True"))["comment"]
    shown = bare.lab.host("bare1").run(
        ["ssh-keygen", "-l", "-f", "/etc/ssh/ssh_host_ed25519_key.pub"]
    )
    fingerprint = shown.stdout.split()[1]
    assert "bare1 is not known to the master: it offers the host keys" in comment
    assert fingerprint in comment
    bare.access(bare1={"fingerprint": fingerprint})


def test_access_is_asked_for_at_a_terminal(bare: Bare) -> None:
    key = (bare.lab.host("bare1").root / "etc/ssh/ssh_host_ed25519_key.pub").read_text()
    bare.lab.master.run(["install", "-d", "-m", "0700", "/root/.ssh"])
    (bare.lab.master.root / "root/.ssh/known_hosts").write_text(f"10.77.0.51 {key}")
    pillar = json.dumps({"org": "bare", "hosts": "bare1", "ssh": "ask"})
    verb = ["salt-run", "state.orchestrate", "metis.bootstrap", f"pillar={pillar}", "test=True"]
    command, *words = bare.lab.master.enter(verb)
    terminal = pexpect.spawn(command, words, env=ENVIRONMENT, encoding="utf-8", timeout=60)
    shown = ""
    for question, answer in (
        ("user: ", USER),
        ("password: ", PASSWORD),
        ("sudo password (empty: the same): ", ""),
    ):
        terminal.expect_exact(question)
        shown += terminal.before or ""
        terminal.sendline(answer)
    terminal.expect(pexpect.EOF)
    shown += terminal.before or ""
    assert terminal.wait() == 0, shown
    assert "ssh access to bare1\r\n" in shown
    assert "bare1: would get salt-minion 3008.3 with a key of its own" in shown
    assert PASSWORD not in shown


def test_minions_of_another_master_are_left_to_it(bare: Bare) -> None:
    key = "/etc/salt/pki/minion/minion_master.pub"
    for host in bare.lab.hosts.values():
        host.run(["install", "-d", "-m", "0700", "/etc/salt/pki/minion"])
        (host.root / key[1:]).write_text("the key of another master\n")
    comment = _failed(bare.bootstrap())["comment"]
    for name, host in bare.lab.hosts.items():
        assert f"{name} is a minion of another master" in comment
        assert (host.root / key[1:]).read_text() == "the key of another master\n"
        host.run(["rm", "-r", "/etc/salt"])


def test_a_dry_run_says_what_would_be_and_changes_nothing(bare: Bare) -> None:
    before = bare.files()
    done = bare.bootstrap("test=True")
    assert done.returncode == 0, done.stderr
    states = _states(done)
    assert set(states["Every host is a minion"]["changes"]) == {"bare1", "bare2"}
    for host in ("bare1", "bare2"):
        assert f"{host}: would get salt-minion 3008.3 with a key of its own" in done.stderr
    assert bare.files() ^ before == set()
    assert bare.lab.master.run(["ls", "/etc/salt/pki/master/minions"]).stdout == ""


@pytest.fixture(scope="module")
def bootstrapped(bare: Bare) -> Done:
    done = bare.bootstrap()
    if done.returncode:
        pytest.fail(done.stderr, pytrace=False)
    return done


def test_they_become_minions_with_the_keys_that_the_master_made(
    bare: Bare, bootstrapped: Done
) -> None:
    answer = bare.lab.salt(["*", "test.ping", "--out=json", "--static"])
    assert json.loads(answer.stdout) == {"bare1": True, "bare2": True}
    accepted = bare.lab.master.run(["ls", "/etc/salt/pki/master/minions"]).stdout.split()
    assert accepted == ["bare1", "bare2"]
    assert bare.lab.master.run(["ls", "/etc/salt/pki/master/minions_pre"]).stdout == ""
    master = bare.lab.master.root / "etc/salt/pki/master"
    for name, host in bare.lab.hosts.items():
        own = host.root / "etc/salt/pki/minion"
        assert (own / "minion.pub").read_text().strip() == (
            (master / "minions" / name).read_text().strip()
        )
        assert (own / "minion_master.pub").read_text().strip() == (
            bare.lab.master.run(["cat", "/etc/salt/pki/master/master.pub"]).stdout.strip()
        )
        assert (own / "minion.pem").stat().st_mode & 0o077 == 0


def test_progress_tells_of_each_host(bootstrapped: Done) -> None:
    for line in (
        "s  no minions that answer: bare1, bare2\n",
        "s  minions now: bare1, bare2\n",
    ):
        assert line in bootstrapped.stderr


def test_no_secret_is_left_anywhere(bare: Bare, bootstrapped: Done) -> None:
    for secret in (PASSWORD, PASSPHRASE):
        assert secret not in bootstrapped.stdout + bootstrapped.stderr
    private = [
        (host.root / "etc/salt/pki/minion/minion.pem").read_text().splitlines()[3]
        for host in bare.lab.hosts.values()
    ]
    patterns = "\n".join([PASSWORD, PASSPHRASE, *private])
    for host in (bare.lab.master, *bare.lab.hosts.values()):
        places = ["/etc", "/var", "/tmp", "/home", "/root", "/run"]
        found = host.run(
            ["grep", "-rlFs", "-f", "-", "--exclude-dir=metis-lab", *places],
            check=False,
            input=patterns,
            timeout=120,
        )
        own = ACCESS if host.name == "master" else "/etc/salt/pki/minion/minion.pem"
        assert found.stdout == f"{own}\n"
    left = bare.lab.master.run(["ls", "/tmp", "/dev/shm"])
    assert not [name for name in left.stdout.split() if name.startswith(("metis-ssh-", "tmp"))]


def test_they_are_ready_for_their_roles(bare: Bare, bootstrapped: Done) -> None:
    for host, packages in (("bare1", ["curl"]), ("bare2", ["mariadb-server", "zeroc-glacier2"])):
        bare.lab.host(host).run(["dpkg-query", "--show", *packages])
    bare.lab.host("bare1").run(["id", "metis-carrier"])
    bare.lab.host("bare2").run(["test", "-d", "/var/lib/metis/compute"])
    zone = bare.lab.host("bare2").run(["readlink", "-f", "/etc/localtime"])
    assert zone.stdout.strip().endswith("/UTC")


def test_a_second_run_asks_no_ssh_and_changes_nothing(bare: Bare, bootstrapped: Done) -> None:
    done = bare.run("bootstrap")
    assert done.returncode == 0, done.stderr
    assert {
        name: state["changes"] for name, state in _states(done).items() if state["changes"]
    } == {}
    assert "minions already: bare1, bare2" in done.stderr


def test_they_can_be_deployed(bare: Bare, bootstrapped: Done) -> None:
    done = bare.run("deploy")
    assert done.returncode == 0, done.stderr
    status = bare.lab.salt_run(["metis.status", "org=bare", "--out=json"], check=False)
    rows = json.loads(status.stdout)["data"]
    assert {row["health"] for row in rows} == {"healthy"}
    assert len(rows) == 7
