"""An artifact on a host: told beforehand, downloaded from a real server, left alone when right."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from salt.modules import archive as archive_module

from _modules import metis_archive
from _modules import metis_artifact as module
from _states import metis_artifact
from tests.unit import loopback, orgs
from tests.unit.loopback import Loopback
from tests.unit.states.predicted import told_and_done

STORED = "0.3.0/carrier"
NAME = "The artifacts of carrier 0.3.0 are there"

BODY = b"\x7fELF and so on"
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], file_managed: Any, grains: dict[str, Any]
) -> dict[ModuleType, dict[str, Any]]:
    functions = orgs.by_salts_name(module, metis_archive)
    own = {
        "__opts__": opts,
        "__salt__": functions,
        "__states__": {"file.managed": file_managed},
    }
    archives = {"__salt__": {"archive.unzip": archive_module.unzip}}
    # The file server has nothing.
    made = {"archive.unzip": archive_module.unzip, "cp.get_file": lambda source, part: ""}
    minion = {"__opts__": {"master": "127.0.0.1"}, "__grains__": grains, "__salt__": made}
    made |= functions
    return {
        metis_artifact: own,
        module: minion,
        metis_archive: minion,
        archive_module: archives,
    }


@pytest.fixture
def grains() -> dict[str, Any]:
    return {"cpu_flags": ["sse2", "avx2"]}


def _present(server: Loopback, target: Path, **artifact: Any) -> dict[str, Any]:
    store = {"address": None, "port": server.port}
    carrier = {"file": "carrier", "kind": "binary", "stored": STORED, "sha256": SHA256}
    artifacts = {"carrier": carrier | artifact}
    done: dict[str, Any] = metis_artifact.present(NAME, str(target.parent), store, artifacts)
    return done


@pytest.fixture
def target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module.time, "sleep", lambda seconds: None)
    folder = tmp_path / "release"
    folder.mkdir()
    return folder / "carrier"


def _look(target: Path) -> list[tuple[str, bytes, int]]:
    return [
        (path.name, path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
        for path in target.parent.iterdir()
    ]


@pytest.mark.parametrize("before", [None, b"an older carrier"])
def test_an_artifact_is_downloaded_once(
    opts: dict[str, Any], server: Loopback, target: Path, before: bytes | None
) -> None:
    server.answers = [loopback.gives(BODY)]
    if before:
        target.write_bytes(before)
    old = hashlib.sha256(before).hexdigest() if before else None

    def apply() -> dict[str, Any]:
        return _present(server, target)

    done = told_and_done(opts, apply, lambda: _look(target))
    assert done["changes"] == {"carrier": {"old": old, "new": SHA256}}
    assert done["name"] == NAME
    assert _look(target) == [("carrier", BODY, 0o755)]
    assert server.asked == [f"GET /{STORED}"]


def test_a_right_artifact_needs_no_server(
    opts: dict[str, Any], server: Loopback, target: Path
) -> None:
    target.write_bytes(BODY)
    target.chmod(0o755)

    def apply() -> dict[str, Any]:
        return _present(server, target)

    assert told_and_done(opts, apply, lambda: _look(target))["changes"] == {}


def test_a_changed_mode_is_set_right(opts: dict[str, Any], server: Loopback, target: Path) -> None:
    target.write_bytes(BODY)
    target.chmod(0o600)

    def apply() -> dict[str, Any]:
        return _present(server, target)

    assert told_and_done(opts, apply, lambda: _look(target))["changes"] == {
        "carrier": {"mode": "0755"}
    }
    assert _look(target) == [("carrier", BODY, 0o755)]


def test_a_download_that_fails_changes_nothing_and_says_why(server: Loopback, target: Path) -> None:
    target.write_bytes(b"an older carrier")
    before = _look(target)
    server.answers = [loopback.gives(b"", status=503)]
    done = _present(server, target)
    assert (done["result"], done["changes"]) == (False, {})
    assert "carrier could not be downloaded" in done["comment"]
    assert "503" in done["comment"]
    assert f"salt://{STORED}?saltenv=metis_store: the master's file server" in done["comment"]
    assert _look(target) == before


def test_an_artifact_without_a_checksum_is_refused(server: Loopback, target: Path) -> None:
    done = _present(server, target, sha256="")
    assert (done["result"], done["changes"]) == (False, {})
    assert "no checksum of carrier" in done["comment"]
    assert "metis.prepare" in done["comment"]
    assert not target.exists()
    assert server.asked == []


def test_of_several_each_is_told_and_what_fails_keeps_nothing_from_the_rest(
    opts: dict[str, Any], server: Loopback, target: Path
) -> None:
    def answer(handler: Any) -> None:
        loopback.gives(BODY, 404 if "two" in handler.path else 200)(handler)

    server.answers = [answer]
    artifacts = {
        name: {"file": f"{name}.whl", "kind": "wheel", "stored": f"x/{name}", "sha256": SHA256}
        for name in ("one", "two", "three")
    }
    target.with_name("three.whl").write_bytes(BODY)
    target.with_name("three.whl").chmod(0o600)
    store = {"address": None, "port": server.port}
    opts["test"] = True
    told = metis_artifact.present(NAME, str(target.parent), store, artifacts)
    new = {"old": None, "new": SHA256}
    assert told["result"] is None
    assert told["changes"] == {"one.whl": new, "two.whl": new, "three.whl": {"mode": "0644"}}
    opts["test"] = False
    done = metis_artifact.present(NAME, str(target.parent), store, artifacts)
    assert done["result"] is False
    assert done["changes"] == {"one.whl": new, "three.whl": {"mode": "0644"}}
    assert "two.whl could not be downloaded" in done["comment"]
    assert target.with_name("one.whl").read_bytes() == BODY


@pytest.mark.parametrize(("flags", "build"), [(["avx", "avx2"], "avx2"), (["avx"], "no_avx2")])
def test_the_processor_decides_which_build_is_taken(
    server: Loopback, target: Path, grains: dict[str, Any], flags: list[str], build: str
) -> None:
    grains["cpu_flags"] = flags
    other = "no_avx2" if build == "avx2" else "avx2"
    builds = {
        build: {"stored": f"0.3.0/{build}/carrier", "sha256": SHA256},
        other: {"stored": f"0.3.0/{other}/carrier", "sha256": "cd" * 32},
    }
    server.answers = [loopback.gives(BODY)]
    done = _present(server, target, builds=builds, stored=None, sha256=None)
    assert done["changes"] == {"carrier": {"old": None, "new": SHA256}}
    assert server.asked == [f"GET /0.3.0/{build}/carrier"]


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (None, "http://127.0.0.1:8014/0.3.0/carrier"),
        ("store.example", "http://store.example:8014/0.3.0/carrier"),
        ("2001:db8::1", "http://[2001:db8::1]:8014/0.3.0/carrier"),
    ],
)
def test_the_store_is_where_the_master_is_or_where_the_file_says(
    address: str | None, said: str
) -> None:
    found = module.sources({"address": address, "port": 8014}, STORED)
    assert found == [said, f"salt://{STORED}?saltenv=metis_store"]


def test_an_archive_is_unpacked_once(opts: dict[str, Any], target: Path) -> None:
    archive = target.with_name("carrier.zip")
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("carrier", BODY)

    def apply() -> dict[str, Any]:
        into = str(target.parent)
        return metis_artifact.unpacked(into, str(archive), SHA256, str(target))

    done = told_and_done(opts, apply, lambda: _look(target))
    assert done["changes"] == {"unpacked": {"old": None, "new": SHA256}}
    assert target.read_bytes() == BODY


def test_a_damaged_file_of_an_archive_is_mended(opts: dict[str, Any], target: Path) -> None:
    archive = target.with_name("carrier.zip")
    names = [f"file{number}" for number in range(20)]
    with zipfile.ZipFile(archive, "w") as file:
        for name in ("carrier", *names):
            file.writestr(name, BODY)

    def apply() -> dict[str, Any]:
        into = str(target.parent)
        return metis_artifact.unpacked(into, str(archive), SHA256, str(target))

    apply()
    target.write_bytes(b"another program")
    done = told_and_done(opts, apply, lambda: _look(target))
    assert done["changes"]["mended"]["old"] == [str(target)]
    assert target.read_bytes() == BODY
    for name in names:
        target.with_name(name).unlink()
    done = told_and_done(opts, apply, lambda: _look(target))
    assert len(done["changes"]["mended"]["old"]) == 11
    assert done["changes"]["mended"]["old"][-1] == "and 10 more"
    assert target.with_name("file19").read_bytes() == BODY


def test_what_is_no_archive_is_a_failure(target: Path) -> None:
    archive = target.with_name("carrier.zip")
    archive.write_bytes(b"no zip")
    done = metis_artifact.unpacked(str(target.parent), str(archive), SHA256, str(target))
    assert (done["result"], done["changes"]) == (False, {})
    assert "carrier.zip" in done["comment"]
