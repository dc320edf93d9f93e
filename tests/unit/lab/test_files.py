import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lab import files, host, keys, record, systems
from tests.lab.errors import LabError
from tests.lab.host import Host
from tests.lab.nodes import MASTER

LAB = "unit"


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "STATE", tmp_path / "state")
    monkeypatch.setattr(host, "RUN", tmp_path / "run")
    monkeypatch.setattr(record, "RUN", tmp_path / "run")


def _host(name: str, address: str, system: str = systems.DEFAULT.name) -> Host:
    return Host(LAB, name, address, ("data",), system, (("/from", "/to"),))


def test_every_host_is_named() -> None:
    text = files.hosts([_host("one", "10.77.0.11"), _host("two", "10.77.0.12")])
    assert "10.77.0.11 one\n10.77.0.12 two\n" in text
    assert text.startswith("127.0.0.1 localhost\n")


def test_a_minion_is_made() -> None:
    made = _host("one", "10.77.0.11")
    files.write_host(made, "private", "public")
    etc = made.root / "etc"
    assert (etc / "hostname").read_text() == "one\n"
    assert "Address=10.77.0.11/24" in (etc / "systemd/network/10-lab.network").read_text()
    settings = yaml.safe_load((etc / "salt/minion.d/lab.conf").read_text())
    assert (settings["id"], settings["master"]) == ("one", MASTER.address)
    private = etc / "salt/pki/minion/minion.pem"
    assert private.read_text() == "private"
    assert private.stat().st_mode & 0o777 == 0o400
    wants = etc / "systemd/system/multi-user.target.wants"
    assert [link.name for link in wants.iterdir()] == ["salt-minion.service"]


def test_a_bare_host_has_keys_of_ssh_and_nothing_of_salt() -> None:
    made = _host("one", "10.77.0.11", systems.BARE.name)
    (made.root / "etc/ssh").mkdir(parents=True)
    files.write_host(made, "private", "public")
    etc = made.root / "etc"
    assert (etc / "hostname").read_text() == "one\n"
    assert (etc / "ssh/ssh_host_ed25519_key").stat().st_mode & 0o077 == 0
    assert not (etc / "salt").exists()
    assert not (etc / "systemd/system/multi-user.target.wants").exists()


def test_hosts_have_machine_ids_of_their_own() -> None:
    ids = set()
    for name in ("one", "two"):
        made = _host(name, "10.77.0.11")
        files.write_host(made, "private", "public")
        ids.add((made.root / "etc/machine-id").read_text())
    assert len(ids) == 2


def test_the_master_is_made() -> None:
    made = _host(MASTER.name, MASTER.address)
    files.write_host(made, "private", "public")
    etc = made.root / "etc"
    settings = yaml.safe_load((etc / "salt/master.d/zz-lab.conf").read_text())
    assert settings["pillar_roots"]["base"] == ["/srv/metis/pillar", "/srv/metis-local/pillar"]
    # The lab's settings must be read after the repository's.
    names = sorted(path.name for path in (etc / "salt/master.d").iterdir())
    assert names == ["metis.conf", "zz-lab.conf"]
    wants = etc / "systemd/system/multi-user.target.wants"
    assert sorted(link.name for link in wants.iterdir()) == [
        "salt-master.service",
        "sandbox-datacenter.service",
        "sandbox-release.service",
    ]


def test_the_master_is_given_every_organization(tmp_path: Path) -> None:
    given = [tmp_path / "a.sls", tmp_path / "b.sls"]
    releases = [tmp_path / "sandbox.yaml", tmp_path / "sandbox2.yaml"]
    for file in (*given, *releases):
        file.write_text(file.name)
    made = _host(MASTER.name, MASTER.address)
    files.share(made, given, releases)
    pillar = made.root / "srv/metis-local/pillar"
    texts = {str(f.relative_to(pillar)): f.read_text() for f in pillar.rglob("*") if f.is_file()}
    assert texts == {
        "orgs/a.sls": "a.sls",
        "orgs/b.sls": "b.sls",
        "releases/sandbox.yaml": "sandbox.yaml",
        "releases/sandbox2.yaml": "sandbox2.yaml",
    }


def test_a_key_pair_belongs_together() -> None:
    private, public = keys.pair()
    assert private.startswith("-----BEGIN RSA PRIVATE" + " KEY-----")
    derived = subprocess.run(
        ["openssl", "rsa", "-pubout"], input=private, capture_output=True, text=True, timeout=30
    )
    assert derived.stdout == public


def test_a_record_is_read_as_it_was_written() -> None:
    assert record.load(LAB) is None
    hosts = (_host(MASTER.name, MASTER.address), _host("one", "10.77.0.11"))
    written = record.Record(("/orgs/acme.sls", "/orgs/other.sls"), True, hosts)
    record.save(LAB, written)
    assert record.load(LAB) == written
    assert record.require(LAB).master == hosts[0]
    with pytest.raises(LabError, match="its hosts: master, one"):
        written.host("three")


def test_a_lab_of_an_older_repository_can_be_taken_down() -> None:
    hosts = (_host(MASTER.name, MASTER.address),)
    record.save(LAB, record.Record(("/orgs/acme.sls",), True, hosts))
    file = record.RUN / LAB / "lab.json"
    known = json.loads(file.read_text())
    del known["hosts"][0]["system"]
    file.write_text(json.dumps(known))
    found = record.load(LAB)
    assert found
    assert found.hosts == hosts


def test_a_lab_that_is_down_says_how_to_get_it_up() -> None:
    with pytest.raises(LabError, match=r"\./lab up --name unit"):
        record.require(LAB)
