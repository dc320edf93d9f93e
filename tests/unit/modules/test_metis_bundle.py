"""A release in one file: all of it, or nothing; and no place but the store's."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import salt.config
import yaml
from salt.exceptions import CommandExecutionError

from _modules import metis_bundle, metis_orgs, metis_pins, metis_release, metis_store
from tests.unit import orgs
from tests.unit.store import Store, digest, wired

# Name in the tar, type, content, what it links to.
Member = tuple[str, bytes, bytes, str]


@pytest.fixture
def releases(tmp_path: Path) -> Path:
    folder = tmp_path / "pillar/releases"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def configure_loader_modules(store: Store, tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    made = wired(store, tmp_path / "pillar")
    own = made[metis_orgs]
    opts = dict(salt.config.DEFAULT_MASTER_OPTS) | own["__opts__"]
    return made | {metis_orgs: own | {"__opts__": opts}}


def _body(name: str) -> bytes:
    return f"the bytes of {name}".encode() * 1000


@pytest.fixture
def made() -> dict[str, Any]:
    """A whole release, of which the checksum of carrier is not in the file."""
    found: dict[str, Any] = json.loads(json.dumps(orgs.RELEASE_FILE))
    for name, artifact in found["artifacts"].items():
        artifact |= {"sha256": digest(_body(name)), "sources": []}
    found["artifacts"]["carrier"]["sha256"] = None
    return found


@pytest.fixture
def full(store: Store, releases: Path, made: dict[str, Any]) -> dict[str, Any]:
    """A store that has all of it; gives the release with its pin."""
    (releases / "0.3.0.yaml").write_text(yaml.safe_dump(made))
    metis_pins.put("0.3.0", "carrier", "carrier", digest(_body("carrier")), "an operator")
    for name, artifact in metis_release.all_of(made).items():
        file = store.file(artifact["stored"])
        metis_store.make_folder(str(file))
        file.write_bytes(_body(name))
    return metis_pins.merged(made)


@pytest.fixture
def bundle(full: dict[str, Any], store: Store, tmp_path: Path) -> Path:
    file = tmp_path / "bundle.tar"
    done = metis_bundle.write(full, str(file), store.say)
    assert done["missing"] == []
    assert done["size"] == file.stat().st_size
    return file


@pytest.fixture
def elsewhere(bundle: Path, store: Store, releases: Path, tmp_path: Path) -> Path:
    """The bundle, on a master that has nothing."""
    store.root.rename(tmp_path / "old")
    (releases / "0.3.0.yaml").unlink()
    return bundle


def test_a_master_that_has_nothing_gets_all_of_it(
    elsewhere: Path, store: Store, releases: Path, full: dict[str, Any], tmp_path: Path
) -> None:
    done = metis_bundle.read(str(elsewhere), store.say)
    assert done["release"] == "0.3.0"
    assert len(done["artifacts"]) == len(full["artifacts"])
    assert done["file"] == str(releases / "0.3.0.yaml")
    artifacts = {k: v for k, v in store.everything().items() if k.startswith("artifacts/")}
    old = Store(tmp_path / "old").everything()
    assert artifacts == {k: v for k, v in old.items() if k.startswith("artifacts/")}
    assert list((store.root / "parts").iterdir()) == []
    assert metis_store.fill(full, ["carrier", "admin", "data", "consul"])["changes"] == {}
    # What came from elsewhere is read without Jinja.
    assert (releases / "0.3.0.yaml").read_text().startswith("#!yaml\n")
    assert yaml.safe_load((releases / "0.3.0.yaml").read_text()) == full


def test_a_master_that_knows_the_release_pins_what_it_did_not_know(
    elsewhere: Path, store: Store, releases: Path, made: dict[str, Any]
) -> None:
    (releases / "0.3.0.yaml").write_text(yaml.safe_dump(made))
    done = metis_bundle.read(str(elsewhere), store.say)
    assert done["file"] is None
    assert "carrier" in done["pinned"]
    assert yaml.safe_load((releases / "0.3.0.yaml").read_text()) == made
    pinned = metis_pins.of("0.3.0")["carrier"]
    assert (pinned["sha256"], pinned["from"]) == (digest(_body("carrier")), "a bundle")


def test_a_second_time_nothing_is_new(bundle: Path, store: Store) -> None:
    before = store.everything()
    done = metis_bundle.read(str(bundle), store.say)
    assert (done["artifacts"], done["file"]) == ([], None)
    assert store.everything() == before


def test_what_the_store_lacks_is_told(full: dict[str, Any], store: Store, tmp_path: Path) -> None:
    store.file("0.3.0/admin.jar").unlink()
    done = metis_bundle.write(full, str(tmp_path / "bundle.tar"), store.say)
    assert done["missing"] == ["admin_jar"]


def test_a_damaged_store_gives_no_bundle(
    full: dict[str, Any], store: Store, tmp_path: Path
) -> None:
    store.file("0.3.0/admin.jar").write_bytes(b"other")
    with pytest.raises(CommandExecutionError, match="admin_jar is not what the release says"):
        metis_bundle.write(full, str(tmp_path / "bundle.tar"), store.say)
    assert not (tmp_path / "bundle.tar").exists()


def test_nothing_is_written_over(bundle: Path, full: dict[str, Any], store: Store) -> None:
    before = bundle.read_bytes()
    with pytest.raises(CommandExecutionError, match="is there already"):
        metis_bundle.write(full, str(bundle), store.say)
    assert bundle.read_bytes() == before
    with pytest.raises(CommandExecutionError, match="cannot be written: No such file"):
        metis_bundle.write(full, str(bundle.parent / "none/x.tar"), store.say)


def test_another_release_than_the_one_that_is_known_is_refused(
    elsewhere: Path, store: Store, releases: Path, made: dict[str, Any]
) -> None:
    made["artifacts"]["admin_jar"]["sha256"] = "ab" * 32
    (releases / "0.3.0.yaml").write_text(yaml.safe_dump(made))
    with pytest.raises(
        CommandExecutionError, match=r"0\.3\.0/admin\.jar has sha256 .*; here it is"
    ):
        metis_bundle.read(str(elsewhere), store.say)
    assert store.everything() == {}


def _members(file: Path) -> list[Member]:
    with tarfile.open(file) as tar:
        return [
            (member.name, member.type, opened.read() if opened else b"", member.linkname)
            for member in tar
            for opened in [tar.extractfile(member)]
        ]


def _write(file: Path, members: list[Member]) -> None:
    with tarfile.open(file, "w") as tar:
        for name, kind, content, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def _manifest(members: list[Member], change: Callable[[dict[str, Any]], Any]) -> list[Member]:
    """Another manifest in place of the first member."""
    manifest = json.loads(members[0][2])
    change(manifest)
    return [("manifest.json", tarfile.REGTYPE, json.dumps(manifest).encode(), ""), *members[1:]]


def _at(members: list[Member], name: str, *, content: bytes) -> list[Member]:
    """Other bytes in a member, as its manifest says."""

    def told(manifest: dict[str, Any]) -> None:
        known = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        manifest["files"][name] = known

    changed = [(n, t, content if n == name else c, link) for n, t, c, link in members]
    return _manifest(changed, told)


def _placed(members: list[Member], name: str) -> list[Member]:
    """One more file, of which the manifest tells the truth."""
    body = b"evil"

    def told(manifest: dict[str, Any]) -> None:
        manifest["files"][name] = {"sha256": hashlib.sha256(body).hexdigest(), "size": len(body)}

    return _manifest([*members, (name, tarfile.REGTYPE, body, "")], told)


CARRIER = "artifacts/0.3.0/carrier"
LINK = (CARRIER, tarfile.SYMTYPE, b"", "/etc/shadow")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m[1:], "does not begin with manifest"),
        (lambda m: m[:-1], "lacks artifacts/0.3.0/"),
        (lambda m: [*m, m[-1]], "not in its manifest once"),
        (lambda m: [*m, ("extra", tarfile.REGTYPE, b"", "")], "not in its manifest once"),
        (lambda m: [*(x for x in m if x[0] != CARRIER), LINK], "as a file"),
        (
            lambda m: [(n, t, c[::-1] if n == CARRIER else c, k) for n, t, c, k in m],
            f"{CARRIER} has sha256",
        ),
        (
            lambda m: [(n, t, c[:-1] if n == CARRIER else c, k) for n, t, c, k in m],
            "bytes, not",
        ),
        (lambda m: _placed(m, "artifacts/0.3.0/../../../../etc/cron.d/x"), "no place in the store"),
        (lambda m: _placed(m, "/etc/cron.d/x"), "no place in the store"),
        (lambda m: _placed(m, "artifacts/0.3.0/.hidden"), "no place in the store"),
        (lambda m: _placed(m, "artifacts/other/carrier"), "no place in the store"),
        (lambda m: _placed(m, "pins.yaml"), "no place in the store"),
        (lambda m: _placed(m, "artifacts/0.3.0/more"), "0.3.0/more is no artifact"),
        (lambda m: _manifest(m, lambda f: f.update(release="../x")), "names no release"),
        (lambda m: _manifest(m, lambda f: f.update(release="other")), "no place in the store"),
        (lambda m: _manifest(m, lambda f: f.update(format=2)), "another format"),
        (lambda m: _manifest(m, lambda f: f.pop("files")), "has no list of files"),
        (lambda m: _manifest(m, lambda f: f["files"].update({CARRIER: 5})), "says nothing good"),
        (lambda m: _at(m, "release.json", content=b"{}"), "release file is wrong"),
        (lambda m: _at(m, "release.json", content=b"{"), "is no JSON"),
        (lambda m: _at(m, CARRIER, content=b"another program"), "here it is"),
    ],
)
def test_a_bundle_that_was_altered_leaves_nothing(
    elsewhere: Path,
    store: Store,
    releases: Path,
    change: Callable[[list[Member]], list[Member]],
    said: str,
) -> None:
    _write(elsewhere, change(_members(elsewhere)))
    around = sorted(elsewhere.parent.rglob("*"))
    with pytest.raises(CommandExecutionError) as raised:
        metis_bundle.read(str(elsewhere), store.say)
    assert said in str(raised.value)
    assert store.everything() == {}
    assert list(releases.iterdir()) == []
    new = set(elsewhere.parent.rglob("*")) - set(around)
    assert all(path.is_dir() and store.root in (path, *path.parents) for path in new)


def test_half_a_bundle_leaves_nothing(elsewhere: Path, store: Store) -> None:
    whole = elsewhere.read_bytes()
    for size in (0, 100, len(whole) // 2):
        elsewhere.write_bytes(whole[:size])
        with pytest.raises(CommandExecutionError):
            metis_bundle.read(str(elsewhere), store.say)
        assert store.everything() == {}


def test_what_came_in_a_bundle_runs_no_jinja(elsewhere: Path, store: Store, releases: Path) -> None:
    release = json.loads({m[0]: m[2] for m in _members(elsewhere)}["release.json"])
    release["artifacts"]["carrier"]["version"] = "{{ salt['cmd.run']('touch /root/x') }}"
    members = _at(_members(elsewhere), "release.json", content=json.dumps(release).encode())
    _write(elsewhere, members)
    metis_bundle.read(str(elsewhere), store.say)
    assert metis_orgs._render(releases / "0.3.0.yaml") == release
