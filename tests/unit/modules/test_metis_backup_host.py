"""What leaves a host for a backup, sealed, and comes back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import stat
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from salt.exceptions import CommandExecutionError

from _modules import (
    metis_artifact,
    metis_backup_host,
    metis_consul,
    metis_host,
    metis_mysql,
    metis_p2p_key,
    metis_sealed,
    metis_unit,
)

ALL = ["consul.snapshot", "p2p.key", "database.sql.gz"]
KEY = "ab" * 32
AGENT = {"address": "10.0.0.1", "port": 8500}


@pytest.fixture(scope="module")
def keys() -> list[tuple[Any, str]]:
    """Pairs of keys, which take time to make."""
    return [metis_sealed.pair(), metis_sealed.pair()]


class Host:
    """A host with all roles, in a folder."""

    def __init__(self, folder: Path, keys: list[tuple[Any, str]]) -> None:
        self.folder = folder
        self.key = folder / "etc/carrier/p2p.key"
        self.served = folder / "served"
        self.alone = create_autospec(metis_host.alone)
        self.states = {"metis-carrier.service": "active", "metis-admin.service": "active"}
        self.states["mariadb.service"] = "active"
        self.masked: set[str] = set()
        self.act = create_autospec(metis_unit.act)
        self.restored: list[bytes] = []
        # Whether there was a key when the host was marked.
        self.marked: list[bool] = []
        self.loaded: list[bytes] = []
        self.set_key = create_autospec(metis_consul.set_key)
        self.settle = create_autospec(metis_mysql.settle)
        self.dump = ["sh", "-c", "echo CREATE DATABASE"]
        (private, self.public), (self.masters, self.asked) = keys
        for name in ("cache", "pki", "etc/carrier", "data/admin", "data/consul"):
            (folder / name).mkdir(parents=True)
        text = private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        (folder / "pki/minion.pem").write_bytes(text)

    def mark(self, view: dict[str, Any]) -> None:
        """Stand in for `metis_ownership.mark`."""
        assert view == self.view(unmask=True)["metis"]
        self.marked.append(self.key.exists())

    def view(self, unmask: bool) -> dict[str, Any]:
        """Stand in for `pillar.items`."""
        assert unmask
        release = {"facts": {"database": "metis_admin"}}
        roles = {
            "consul": {
                "data": str(self.folder / "data/consul"),
                "instances": [{"keys": {"metis/via_ip_port": "10.0.0.1_1"}}],
            },
            "carrier": {"user": "nobody", "instances": [{"p2p_key": str(self.key)}]},
            "admin": {
                "data": str(self.folder / "data/admin"),
                "releases": {"0.3.0": release},
                "instances": [{"release": "0.3.0"}],
            },
        }
        return {"metis": {"agent": AGENT, "roles": roles}}

    def save(self, agent: dict[str, Any], file: str) -> None:
        """Stand in for `metis_consul.save_snapshot`."""
        assert agent == AGENT
        Path(file).write_bytes(b"a snapshot")

    def load(self, agent: dict[str, Any], file: str) -> None:
        """Stand in for `metis_consul.load_snapshot`."""
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        self.loaded.append(Path(file).read_bytes())

    def restore(self, database: str, file: str) -> None:
        """Stand in for `metis_schema.restore`."""
        assert database == "metis_admin"
        assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
        self.restored.append(Path(file).read_bytes())

    def facts(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Stand in for `metis_unit.facts`."""
        return {n: {"state": self.states[n], "masked": n in self.masked} for n in names}

    def fetch(self, url: str) -> str:
        """Stand in for `cp.cache_file`."""
        assert url == "salt://_restore/acme/part?saltenv=metis_store"
        return str(self.served) if self.served.exists() else ""

    def serve(self, data: bytes, public: str | None = None) -> str:
        """Put data on the master for this host; returns the checksum."""
        lines = metis_sealed.lines(public or self.public, [data])
        self.served.write_text("".join(f"{line}\n" for line in lines))
        return hashlib.sha256(data).hexdigest()

    def left(self) -> list[str]:
        """What is left in the minion's cache."""
        return [p.name for p in (self.folder / "cache").rglob("*") if p.is_file()]


@pytest.fixture
def host(tmp_path: Path, keys: list[tuple[Any, str]]) -> Host:
    return Host(tmp_path, keys)


@pytest.fixture
def configure_loader_modules(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[ModuleType, dict[str, Any]]:
    monkeypatch.setattr(metis_backup_host, "_MARIADB", str(tmp_path / "mysql"))
    functions = {
        "cp.cache_file": host.fetch,
        "metis_artifact.checksum": metis_artifact.checksum,
        "metis_consul.load_snapshot": host.load,
        "metis_consul.save_snapshot": host.save,
        "metis_consul.set_key": host.set_key,
        "metis_consul.version": lambda agent: "1.10.4",
        "metis_host.alone": host.alone,
        "metis_mysql.ask": lambda words: "10.11.6-MariaDB\n",
        "metis_mysql.settle": host.settle,
        "metis_ownership.mark": host.mark,
        "metis_p2p_key.put_back": metis_p2p_key.put_back,
        "metis_schema.dump_command": lambda database: host.dump,
        "metis_schema.restore": host.restore,
        "metis_sealed.lines": metis_sealed.lines,
        "metis_sealed.opened": metis_sealed.opened,
        "metis_sealed.private": metis_sealed.private,
        "metis_unit.act": host.act,
        "metis_unit.facts": host.facts,
        "pillar.items": host.view,
    }
    opts = {"id": "h1", "cachedir": str(tmp_path / "cache"), "pki_dir": str(tmp_path / "pki")}
    return {metis_backup_host: {"__salt__": functions, "__opts__": opts}}


def _give(host: Host, parts: list[str]) -> dict[str, Any]:
    return metis_backup_host.give({"h1": parts, "h2": ["p2p.key"]}, host.asked)


def _opened(host: Host, part: str, given: dict[str, Any]) -> bytes:
    own = given[part]
    lines = [*own["sealed"]]
    rest = range(len(lines), own["pieces"])
    lines += [metis_backup_host.piece(part, number) for number in rest]
    clear = b"".join(metis_sealed.opened(host.masters, lines))
    assert (len(clear), hashlib.sha256(clear).hexdigest()) == (own["size"], own["sha256"])
    return clear


def test_each_host_has_its_parts() -> None:
    instances = [
        {"role": role, "host": host}
        for host, role in (
            *(("h1", "consul"), ("h1", "carrier"), ("h2", "consul"), ("h2", "admin")),
            *(("h3", "consul"), ("h3", "ice_via"), ("h4", "data")),
        )
    ]
    found = metis_backup_host.parts(instances, "h1")
    assert found == {"h1": ["consul.snapshot", "p2p.key"], "h2": ["database.sql.gz"]}


def test_the_master_gets_what_the_host_has(host: Host) -> None:
    host.key.write_text(KEY)
    given = _give(host, ALL)
    assert _opened(host, "p2p.key", given) == KEY.encode()
    assert _opened(host, "consul.snapshot", given) == b"a snapshot"
    dump = gzip.decompress(_opened(host, "database.sql.gz", given))
    assert dump == b"CREATE DATABASE\n"
    assert {part: own["version"] for part, own in given.items()} == {
        "consul.snapshot": "1.10.4",
        "database.sql.gz": "10.11.6-MariaDB",
        "p2p.key": None,
    }
    assert KEY not in json.dumps(given)
    assert host.left() == []


def test_what_is_large_is_asked_for_piece_by_piece(host: Host) -> None:
    host.key.write_text(KEY)
    host.dump = ["head", "--bytes=3000000", "/dev/urandom"]
    given = _give(host, ALL)
    own = given["database.sql.gz"]
    assert own["pieces"] > len(own["sealed"])
    # With what is around it, below what Salt's bus carries.
    assert len(json.dumps(given)) < 1_000_000
    assert len(gzip.decompress(_opened(host, "database.sql.gz", given))) == 3_000_000
    assert host.left()
    assert metis_backup_host.forget() is True
    assert host.left() == []
    with pytest.raises(CommandExecutionError, match=r"database.sql.gz/3: No such file"):
        metis_backup_host.piece("database.sql.gz", 3)


def test_a_dump_that_fails_is_no_part(host: Host) -> None:
    host.key.write_text(KEY)
    host.dump = [
        "sh",
        "-c",
        "head --bytes=3000000 /dev/urandom; echo 'Got error: 2002' >&2; exit 2",
    ]
    with pytest.raises(CommandExecutionError, match="dumping metis_admin failed: Got error: 2002"):
        _give(host, ALL)
    assert host.left() == []


def test_a_key_that_is_gone_is_named(host: Host) -> None:
    with pytest.raises(CommandExecutionError, match=r"p2p.key: No such file"):
        _give(host, ["p2p.key"])
    assert host.left() == []


def test_a_look_tells_what_would_be_replaced(host: Host, tmp_path: Path) -> None:
    assert metis_backup_host.look() == {}
    host.key.write_text(KEY)
    (tmp_path / "data/consul/raft").mkdir()
    (tmp_path / "mysql/metis_admin").mkdir(parents=True)
    sha256 = hashlib.sha256(KEY.encode()).hexdigest()
    found = metis_backup_host.look()
    assert found == {"consul.snapshot": "", "p2p.key": sha256, "database.sql.gz": ""}


def test_a_host_without_a_view_says_so(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "view", lambda unmask: {})
    functions = vars(metis_backup_host)["__salt__"]
    monkeypatch.setitem(functions, "pillar.items", host.view)
    with pytest.raises(CommandExecutionError, match="h1 is a host of no valid organization file"):
        metis_backup_host.look()


# Coming back


def _take(part: str, sha256: str) -> None:
    assert metis_backup_host.take(part, "_restore/acme/part", sha256) is True


def _told(act: Mock) -> list[tuple[str, list[str]]]:
    return [call.args for call in act.call_args_list]


def test_an_identity_comes_back_while_carrier_is_stopped(host: Host) -> None:
    host.key.write_text("cd" * 32)
    _take("p2p.key", host.serve(KEY.encode()))
    assert host.key.read_text() == KEY
    assert (stat.S_IMODE(host.key.stat().st_mode), host.key.stat().st_uid) == (0o600, 65534)
    assert _told(host.act) == [("stop", ["metis-carrier.service"])]
    assert host.left() == []
    assert not host.served.exists()


def test_the_same_identity_stops_nothing(host: Host) -> None:
    host.key.write_text(KEY)
    _take("p2p.key", host.serve(KEY.encode()))
    assert _told(host.act) == []


def test_a_new_host_gets_an_identity_before_it_has_carrier(host: Host) -> None:
    host.states["metis-carrier.service"] = "absent"
    host.key.parent.rmdir()
    _take("p2p.key", host.serve(KEY.encode()))
    assert host.key.read_text() == KEY
    assert stat.S_IMODE(host.key.parent.stat().st_mode) == 0o700
    assert _told(host.act) == []
    # What is put back is not what was there before the organization.
    assert host.marked == [False]


def test_consul_gets_its_snapshot_and_where_programs_are_now(host: Host) -> None:
    _take("consul.snapshot", host.serve(b"a snapshot"))
    assert host.loaded == [b"a snapshot"]
    host.set_key.assert_called_once_with(AGENT, "metis/via_ip_port", "10.0.0.1_1")


@pytest.mark.parametrize(
    ("state", "masked", "told"),
    [
        ("active", False, ["stop metis-admin.service"]),
        ("inactive", False, ["stop metis-admin.service", "start mariadb.service"]),
        (
            "inactive",
            True,
            ["stop metis-admin.service", "unmask mariadb.service", "start mariadb.service"],
        ),
    ],
)
def test_the_database_comes_back_while_admin_is_stopped(
    host: Host, tmp_path: Path, state: str, masked: bool, told: list[str]
) -> None:
    host.states["mariadb.service"] = state
    host.masked = {"mariadb.service"} if masked else set()
    _take("database.sql.gz", host.serve(b"a dump"))
    assert host.restored == [b"a dump"]
    assert [f"{verb} {units[0]}" for verb, units in _told(host.act)] == told
    # An import that was cut off would have the next deploy make the database anew.
    host.settle.assert_called_once_with()
    assert list((tmp_path / "data/admin/backups").iterdir()) == []


def test_a_dump_stays_where_reading_it_back_is_cut_off(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(database: str, file: str) -> None:
        raise CommandExecutionError("restoring metis_admin failed: Terminated")

    monkeypatch.setitem(vars(metis_backup_host)["__salt__"], "metis_schema.restore", dies)
    with pytest.raises(CommandExecutionError, match="Terminated"):
        _take("database.sql.gz", host.serve(b"a dump"))
    (dump,) = (tmp_path / "data/admin/backups").iterdir()
    assert dump.read_bytes() == b"a dump"


@pytest.mark.parametrize("part", ALL)
def test_what_is_not_what_it_should_be_is_put_nowhere(host: Host, part: str) -> None:
    host.serve(b"another")
    with pytest.raises(CommandExecutionError, match=r"what came has sha256 .*, not abc"):
        _take(part, "abc")
    assert (host.loaded, host.restored, host.key.exists()) == ([], [], False)
    assert _told(host.act) == []
    assert host.left() == []


def test_what_is_for_another_host_is_not_opened(host: Host) -> None:
    sha256 = host.serve(KEY.encode(), host.asked)
    with pytest.raises(CommandExecutionError, match="sealed for another"):
        _take("p2p.key", sha256)


def test_a_master_that_does_not_serve_it_is_told_of(host: Host) -> None:
    with pytest.raises(CommandExecutionError, match="file_roots has metis_store"):
        _take("p2p.key", "abc")


def test_a_host_that_takes_a_part_back_is_not_worked_on_by_another_run(host: Host) -> None:
    host.alone.side_effect = CommandExecutionError("another run is at work on this host")
    with pytest.raises(CommandExecutionError, match="another run is at work"):
        metis_backup_host.take(
            "p2p.key", "_restore/acme/part", host.serve(KEY.encode()), __pub_jid="20261125"
        )
    host.alone.assert_called_once_with("metis_backup_host.take", "20261125")
    assert not host.key.exists()
