"""The phases of metis.bootstrap: who becomes a minion, and what an operator is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from _modules import metis_run, metis_sshfile
from _states import metis_bootstrap
from tests.unit.states.fleet import Fleet, Modules, problems

HOSTS = {"acme1": "10.0.0.11", "acme2": "10.0.0.12"}
FINE = {"problem": "", "unreached": False, "output": "", "accepted": ""}


class Site:
    """The hosts, and what was done to them."""

    def __init__(self) -> None:
        self.minions: list[str] = []
        self.rejected: list[str] = []
        self.terminal = False
        self.address: str | None = "10.0.0.10"
        self.answers: dict[str, dict[str, Any]] = {host: dict(FINE) for host in HOSTS}
        self.probed: list[str] = []
        self.kept: bool | None = None
        self.installed: list[str] = []

    def probe(self, hosts: dict[str, Any], master: str, keep: bool, say: Any) -> dict[str, Any]:
        self.probed, self.kept = list(hosts), keep
        return {host: self.answers[host] for host in hosts}

    def install(
        self, hosts: dict[str, Any], master: str, source: str | None, timeout: float, say: Any
    ) -> dict[str, Any]:
        self.installed = list(hosts)
        return {host: self.answers[host] for host in hosts}


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "ssh.yaml"
    file.touch(0o600)
    file.write_text("user: root\npassword: not to be seen\n")
    return {"ssh": str(file)}


@pytest.fixture
def configure_loader_modules(verb: Callable[..., Modules], site: Site) -> Modules:
    functions: dict[str, Any] = {
        "metis_bootstrap.install": site.install,
        "metis_bootstrap.master_address": lambda written, store: written or store or site.address,
        "metis_bootstrap.minions": lambda hosts: [h for h in hosts if h in site.minions],
        "metis_bootstrap.probe": site.probe,
        "metis_bootstrap.rejected": lambda hosts: [h for h in hosts if h in site.rejected],
        "metis_bootstrap.version": lambda: "3008.3",
        "metis_ssh.record": lambda: "/pki/known_hosts",
        "metis_sshfile.ask": lambda hosts: {
            "faults": [],
            "common": {
                "user": "root",
                "password": "typed",
                "sudo_password": None,
                "key": None,
            },
            "hosts": {},
        },
        "metis_sshfile.may_ask": lambda: site.terminal,
        "metis_verb.given": lambda given: {"fault": None},
    }
    return verb(Fleet(), metis_bootstrap, metis_sshfile, functions=functions)


@pytest.fixture(autouse=True)
def begun(configure_loader_modules: Any) -> Any:
    metis_run.begin("bootstrap", ["reachable", "installed", "the last"])
    run = metis_run.now()
    run["hosts"] = list(HOSTS)
    run["instances"] = [{"host": host, "id": f"consul@{host}"} for host in HOSTS]
    run["topology"] = {"hosts": HOSTS, "store": {"address": None}}
    return run


def _reachable() -> Any:
    return metis_bootstrap.reachable("reachable")


def test_only_hosts_that_are_no_minions_are_reached(site: Site) -> None:
    site.minions = ["acme1"]
    assert _reachable()["result"] is True
    assert site.probed == ["acme2"]
    done = metis_bootstrap.installed("installed")
    assert site.installed == ["acme2"]
    assert list(done["changes"]) == ["acme2"]


def test_where_all_are_minions_nobody_is_asked_for_access(
    site: Site, asked: dict[str, Any]
) -> None:
    site.minions = list(HOSTS)
    del asked["ssh"]
    done = _reachable()
    assert (done["result"], done["changes"], site.probed) == (True, {}, [])
    assert metis_bootstrap.installed("installed")["changes"] == {}


def test_a_fault_of_the_file_comes_before_a_look_at_a_host(
    site: Site, asked: dict[str, Any]
) -> None:
    asked["ssh"] = "/no/such"
    done = _reachable()
    assert done["reason"] == "invalid-input"
    assert "/no/such cannot be read" in done["comment"]
    assert site.probed == []


def test_without_a_file_and_a_terminal_the_file_is_asked_for(
    site: Site, asked: dict[str, Any]
) -> None:
    del asked["ssh"]
    done = _reachable()
    assert done["reason"] == "invalid-input"
    assert problems(done)[0].startswith("acme1, acme2: no minions that answer: name a file")


@pytest.mark.parametrize("ssh", ["ask", None])
def test_on_a_terminal_the_operator_is_asked(
    site: Site, asked: dict[str, Any], ssh: str | None
) -> None:
    asked["ssh"] = ssh
    site.terminal = True
    assert _reachable()["result"] is True
    assert site.probed == list(HOSTS)


def test_a_rejected_key_and_an_unknown_master_are_told_together(site: Site) -> None:
    site.rejected, site.address = ["acme2"], None
    done = _reachable()
    assert done["reason"] == "invalid-input"
    text = done["comment"]
    assert "it is not known where hosts reach this master: write `master: <address>`" in text
    assert "the key of acme2 is rejected: where that was wrong, salt-key -d acme2" in text
    assert site.probed == []


def test_hosts_that_are_not_reached_are_named_and_none_is_touched(site: Site) -> None:
    site.answers["acme1"] |= {"problem": "acme1 is not reached", "unreached": True}
    site.answers["acme2"] |= {"problem": "acme2 refuses root with its password"}
    done = _reachable()
    assert done["reason"] == "hosts-missing"
    assert problems(done) == [
        "acme1 is not reached",
        "acme2 refuses root with its password",
        "no host was touched",
    ]
    assert "not to be seen" not in str(done)
    assert metis_bootstrap.installed("installed")["comment"].startswith("not tried")
    assert site.installed == []


def test_a_host_key_that_was_accepted_is_told(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    site.answers["acme1"] |= {"accepted": "SHA256:x"}
    _reachable()
    told = capsys.readouterr().err
    assert "acme1: its host key SHA256:x is taken as it came, and kept in /pki/known_hosts" in told


def test_a_dry_run_says_who_would_become_a_minion_and_installs_nothing(
    site: Site, opts: dict[str, Any], begun: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    opts["test"] = True
    site.minions = ["acme1"]
    _reachable()
    done = metis_bootstrap.installed("installed")
    assert (done["result"], list(done["changes"])) == (None, ["acme2"])
    assert (site.installed, site.kept) == ([], False)
    assert "acme2: would get salt-minion 3008.3" in capsys.readouterr().err
    # The phases that follow ask minions only.
    assert begun["hosts"] == ["acme1"]
    assert [instance["host"] for instance in begun["instances"]] == ["acme1"]


def test_a_host_that_fails_hides_no_other(site: Site) -> None:
    _reachable()
    site.answers["acme1"] |= {"problem": "acme1: apt-get install: no such package"}
    done = metis_bootstrap.installed("installed")
    assert done["result"] is False
    assert list(done["changes"]) == ["acme2"]
    assert problems(done) == ["acme1: apt-get install: no such package"]
