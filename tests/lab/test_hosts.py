"""A small lab of its own, really booted: what the fleet tests take for granted."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.lab import cgroups, mounts, network, record
from tests.lab.errors import LabError
from tests.lab.fleet import Lab
from tests.lab.host import RUN, STATE
from tests.lab.venv import REPOSITORY

NAME = "spare"
ONE = "metis:\n  hosts:\n    one: {address: 10.77.0.11, roles: [data]}\n"
CONSUL = """\
metis:
  release: sandbox
  hosts:
    alone: {address: 10.77.0.71, roles: [consul]}
  carrier: {enabled: false}
  admin: {enabled: false}
"""
TWO = ONE + "    two: {address: 10.77.0.12}\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("orgs") / "spare.sls"
    file.write_text(ONE)
    return file


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("orgs") / "other.sls"
    file.write_text("metis:\n  hosts:\n    three: {address: 10.77.0.13}\n")
    return file


@pytest.fixture(scope="module")
def lab(file: Path) -> Iterator[Lab]:
    lab = Lab(NAME, file)
    lab.down()
    lab.up()
    yield lab
    lab.down()


def _boot_id(lab: Lab) -> str:
    return lab.host("one").run(["cat", "/proc/sys/kernel/random/boot_id"]).stdout


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # One that has ended waits here until the machine's first process has noticed.
    return state != "Z"


def test_hosts_are_real(lab: Lab) -> None:
    host = lab.host("one")
    assert host.run(["systemctl", "is-system-running"]).stdout == "running\n"
    assert host.run(["hostname"]).stdout == "one\n"
    assert "10.77.0.11/24" in host.run(["ip", "-brief", "address"]).stdout
    assert host.run(["getent", "hosts", "master"]).stdout.split() == ["10.77.0.10", "master"]
    assert host.run(["date", "+%Z"]).stdout == "UTC\n"


def test_commands_report_how_they_ended(lab: Lab) -> None:
    host = lab.host("one")
    assert host.run(["cat"], input="text").stdout == "text"
    assert host.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    with pytest.raises(LabError, match=r"one: sh -c .*exit code 3\n    why"):
        host.run(["sh", "-c", "echo why >&2; exit 3"])
    with pytest.raises(LabError, match="took longer than 0 s"):
        host.run(["sleep", "30"], timeout=0.3)


def test_minions_take_orders(lab: Lab) -> None:
    answer = lab.salt(["one", "test.ping", "--out=json", "--static"])
    assert json.loads(answer.stdout) == {"one": True}
    accepted = lab.salt_run(["manage.up", "--out=json"])
    assert json.loads(accepted.stdout) == ["one"]


def test_packages_are_really_installed(lab: Lab) -> None:
    host = lab.host("one")
    assert host.run(["which", "unzip"], check=False).returncode != 0
    answer = lab.salt(["one", "pkg.install", "unzip", "--out=json", "--static"], timeout=120)
    assert "unzip" in json.loads(answer.stdout)["one"]
    host.run(["which", "unzip"])


def test_the_repository_is_the_masters_alone_and_read_only(lab: Lab) -> None:
    lab.master.run(["test", "-e", "/srv/metis/lab"])
    assert lab.master.run(["touch", "/srv/metis/lab"], check=False).returncode != 0
    assert lab.host("one").run(["ls", "/srv/metis"]).stdout == ""


def test_the_sandbox_release_is_served(lab: Lab) -> None:
    lab.host("one").run(["curl", "--fail", "--silent", "http://10.77.0.10:8000/sandbox.yaml"])


def test_a_host_keeps_its_disk_over_reboot_stop_and_power_cut(lab: Lab) -> None:
    host = lab.host("one")
    host.run(["touch", "/root/mark"])
    seen = [_boot_id(lab)]
    host.reboot()
    seen.append(_boot_id(lab))
    host.stop()
    assert host.leader() is None
    with pytest.raises(LabError, match="does not run"):
        host.run(["true"])
    host.start()
    seen.append(_boot_id(lab))
    host.kill()
    assert host.leader() is None
    host.start()
    seen.append(_boot_id(lab))
    assert len(set(seen)) == 4
    host.run(["test", "-e", "/root/mark"])
    lab.await_minions(["one"])


def test_minions_that_do_not_come_are_named(lab: Lab) -> None:
    with pytest.raises(LabError, match="did not connect to the master: absent"):
        lab.await_minions(["one", "absent"], timeout=2)


def test_up_leaves_what_stands_and_adds_what_is_new(lab: Lab, file: Path) -> None:
    before = _boot_id(lab)
    file.write_text(TWO)
    lab.up()
    assert _boot_id(lab) == before
    assert sorted(lab.hosts) == ["one", "two"]
    lab.host("one").run(["getent", "hosts", "two"])
    lab.salt(["two", "test.ping"])


def test_up_adds_the_hosts_of_another_organization(lab: Lab, file: Path, other: Path) -> None:
    before = _boot_id(lab)
    Lab(NAME, file, other).up()
    assert _boot_id(lab) == before
    assert sorted(lab.hosts) == ["one", "three", "two"]
    lab.salt(["three", "test.ping"])
    orgs = lab.master.run(["ls", "/srv/metis-local/pillar/orgs"]).stdout.split()
    assert orgs == ["other.sls", "spare.sls"]


def test_an_organization_is_not_taken_out_of_a_lab_that_is_up(lab: Lab, other: Path) -> None:
    with pytest.raises(LabError, match=r"(?s)spare\.sls.*other\.sls.*\./lab down --name spare"):
        Lab(NAME, other).up()
    with pytest.raises(LabError, match=r"\./lab down --name spare"):
        lab.up()


def test_the_command_line_looks_into_hosts(lab: Lab) -> None:
    def command(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [REPOSITORY / "lab", *argv], capture_output=True, text=True, timeout=60
        )

    shell = command("shell", "--name", NAME, "one", "sh", "-c", "hostname; exit 4")
    assert (shell.returncode, shell.stdout) == (4, "one\n")
    status = command("status", "--name", NAME)
    row = next(line for line in status.stdout.splitlines() if line.startswith("one "))
    leader = str(lab.host("one").leader())
    assert row.split() == ["one", "10.77.0.11", "data", leader, "running", "active"]
    unknown = command("shell", "--name", NAME, "four")
    assert unknown.returncode == 1
    assert unknown.stderr.startswith("lab: there is no host four")


def test_a_demo_deploys_and_shows_it_and_changes_nothing_when_it_is_run_again(
    tmp_path: Path,
) -> None:
    file = tmp_path / "shown.sls"
    file.write_text(CONSUL)
    argv = [str(REPOSITORY / "lab"), "demo", "--name", "shown", "--org", str(file)]

    def demo() -> str:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^Failed: +0$", done.stdout, re.MULTILINE)
        rows = done.stdout.partition("INSTANCE ")[2].splitlines()
        assert [row.split()[0] for row in rows if "healthy" in row] == ["consul@alone"]
        assert "\n  ./lab shell --name shown alone\n" in done.stdout
        return done.stdout

    lab = Lab("shown", file)
    lab.down()
    try:
        assert "(changed=" in demo()
        assert "(changed=" not in demo()
    finally:
        lab.down()


def test_a_lab_that_was_interrupted_is_made_anew(lab: Lab) -> None:
    before = _boot_id(lab)
    record.save(NAME, replace(record.require(NAME), complete=False))
    lab.up()
    assert sorted(lab.hosts) == ["one", "two"]
    assert _boot_id(lab) != before


def test_down_leaves_nothing_and_may_be_said_twice(lab: Lab) -> None:
    pids = cgroups.processes(NAME)
    assert len(pids) > 10
    lab.down()
    lab.down()
    assert not [pid for pid in pids if _runs(pid)]
    assert not mounts.mounted_below(STATE / NAME)
    assert not (STATE / NAME).exists()
    assert not (RUN / NAME).exists()
    assert not network.path(NAME).exists()
    assert not [tree for tree in cgroups.hierarchies() if (tree / "metis-lab" / NAME).exists()]
    names = [entry.name for entry in os.scandir("/run/systemd/nspawn/propagate")]
    assert not [name for name in names if name.startswith(f"{NAME}-")]
