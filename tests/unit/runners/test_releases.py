"""What the operator is told of a release's programs: pins, a look at the store, bundles."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from _modules import metis_artifact
from _output import metis_table
from _runners import metis
from tests.unit import loopback, orgs
from tests.unit.loopback import Loopback
from tests.unit.store import Store, digest, wired

BODY = b"\x7fELF and so on"
SHA256 = digest(BODY)


@pytest.fixture
def release(server: Loopback, tmp_path: Path) -> dict[str, Any]:
    """The release file's content, as it is written by the end of the fixture."""
    found: dict[str, Any] = yaml.safe_load(yaml.safe_dump(orgs.RELEASE_FILE))
    found["artifacts"]["carrier"] |= {"sha256": None, "sources": [server.url("carrier")]}
    server.answers = [loopback.serves(BODY)]
    folder = tmp_path / "pillar/releases"
    folder.mkdir(parents=True)
    (folder / "0.3.0.yaml").write_text(yaml.safe_dump(found))
    return found


@pytest.fixture
def configure_loader_modules(store: Store, tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    made = wired(store, tmp_path / "pillar")
    functions = made[metis_artifact]["__salt__"]

    def cmd(fun: str, *args: Any, **kwargs: Any) -> Any:
        return functions[fun](*args, **kwargs)

    return made | {metis: {"__salt__": {"salt.cmd": cmd}}}


def _said(shown: dict[str, Any], retcode: int = 0) -> str:
    assert shown["retcode"] == retcode, shown["data"]
    return metis_table.output(shown)


@pytest.mark.usefixtures("release")
def test_the_command_that_is_shown_pins_what_was_looked_at() -> None:
    said = _said(metis.pin("0.3.0", "carrier"))
    assert f"size    {len(BODY)} bytes" in said
    assert "looks   a Linux program (ELF)" in said
    command = said.splitlines()[-1].split()
    assert command[:2] == ["salt-run", "metis.pin"]
    given = dict(word.split("=") for word in command[2:])
    assert given == {"release": "0.3.0", "artifact": "carrier", "sha256": SHA256}
    assert _said(metis.pin(**given)) == f"carrier of 0.3.0 is pinned to {SHA256}"


@pytest.mark.usefixtures("release")
def test_a_pin_without_a_look_and_one_in_place_of_another_say_so() -> None:
    assert "it was not inspected" in _said(metis.pin("0.3.0", "carrier", "ab" * 32))
    said = _said(metis.pin("0.3.0", "carrier", SHA256))
    assert f"until now it was pinned to {'ab' * 32}" in said


@pytest.mark.usefixtures("release")
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: metis.pin("0.9", "carrier"), "there is no release 0.9"),
        # As Salt reads it from a command line.
        (lambda: metis.pin(0.9, "carrier"), "there is no release 0.9"),
        (lambda: metis.pin("0.3.0", "keytool"), "has no artifact keytool"),
        (lambda: metis.pin("0.3.0", "carrier", "x"), "is no sha256"),
        (lambda: metis.bundle("0.3.0", "/none/x.tar"), "the store has nothing of release 0.3.0"),
        (lambda: metis.unbundle("/none/x.tar"), "/none/x.tar: No such file or directory"),
        (lambda: metis.verify("0.9"), "there is no release 0.9"),
    ],
)
def test_what_cannot_be_done_says_why_and_fails(call: Any, said: str) -> None:
    assert said in _said(call(), 1)


def test_a_release_file_with_faults_is_no_release(release: dict[str, Any], tmp_path: Path) -> None:
    del release["kv"]
    (tmp_path / "pillar/releases/0.3.0.yaml").write_text(yaml.safe_dump(release))
    assert "releases/0.3.0.yaml is wrong: kv is missing" in _said(metis.verify("0.3.0"), 1)


@pytest.mark.usefixtures("release")
def test_a_look_at_the_store_has_a_row_for_each_artifact(store: Store) -> None:
    metis.pin("0.3.0", "carrier", SHA256)
    file = store.file("0.3.0/carrier")
    file.parent.mkdir(parents=True)
    for body, word, retcode in ((BODY, "right", 0), (b"damage", "wrong", 1)):
        file.write_bytes(body)
        shown = metis.verify("0.3.0")
        rows = {row["artifact"]: row["is"] for row in shown["data"]}
        assert (rows.pop("carrier"), shown["retcode"]) == (word, retcode)
        assert set(rows.values()) == {"missing"}


@pytest.mark.usefixtures("release")
def test_a_bundle_goes_to_another_master(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metis.pin("0.3.0", "carrier", SHA256)
    file = store.file("0.3.0/carrier")
    file.parent.mkdir(parents=True)
    file.write_bytes(BODY)
    path = str(tmp_path / "bundle.tar")
    said = _said(metis.bundle("0.3.0", path))
    assert f"{path}: release 0.3.0, 1 artifacts" in said
    assert "not in it, as the store does not have it: admin_jar" in said
    store.root.rename(tmp_path / "old")
    (tmp_path / "pillar/releases/0.3.0.yaml").unlink()
    said = _said(metis.unbundle(path))
    assert "release 0.3.0: 1 artifacts taken in" in said
    assert f"its release file is {tmp_path}/pillar/releases/0.3.0.yaml" in said
    assert "0.3.0/carrier: every byte is right" in capsys.readouterr().err
