"""An inventory on the master becomes an organization file, or nothing is written."""

from __future__ import annotations

import copy
import os
import pwd
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pytest
import salt.config
import yaml
from salt.exceptions import CommandExecutionError
from salt.runners import salt as salt_runner

from _modules import metis_import, metis_orgs
from _output import metis_table
from _runners import metis
from tests.unit import inventory, orgs

FILLED = inventory.filled()


@pytest.fixture
def roots(tmp_path: Path) -> list[Path]:
    found = [tmp_path / "repository", tmp_path / "own"]
    (found[0] / "orgs").mkdir(parents=True)
    (found[0] / "releases").mkdir()
    found[1].mkdir()
    (found[0] / "releases/0.3.0.yaml").write_text(yaml.safe_dump(orgs.RELEASE_FILE))
    return found


@pytest.fixture
def opts(roots: list[Path], tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "pki").mkdir()
    own = {
        "pillar_roots": {"base": [str(root) for root in roots]},
        "pki_dir": str(tmp_path / "pki"),
    }
    return dict(salt.config.DEFAULT_MASTER_OPTS) | own


@pytest.fixture
def configure_loader_modules(opts: dict[str, Any]) -> dict[ModuleType, dict[str, Any]]:
    pure = inventory.wired()
    functions = next(iter(pure.values()))["__salt__"] | orgs.by_salts_name(metis_import, metis_orgs)

    def cmd(fun: str, *args: Any, **kwargs: Any) -> Any:
        return functions[fun](*args, **kwargs)

    own = {"salt.cmd": create_autospec(salt_runner.cmd, side_effect=cmd)}
    return pure | {
        metis_orgs: {"__opts__": opts, "__salt__": functions},
        metis_import: {"__opts__": opts, "__salt__": functions},
        metis: {"__salt__": own},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The inventory."""
    found = tmp_path / "inventory.ini"
    found.write_text(FILLED, "utf-8")
    return found


def _shown(path: Any, retcode: int = 0, **kwargs: Any) -> str:
    shown = metis.import_inventory(path, **kwargs)
    assert shown["retcode"] == retcode, shown
    text = metis_table.output(shown)
    for secret in (inventory.PASSWORD, inventory.SSH_PASSWORD, inventory.SUDO_PASSWORD):
        assert secret not in text
    return text


def _refused(path: Any, roots: list[Path], **kwargs: Any) -> str:
    """Why nothing is written."""
    before = sorted(roots[0].parent.rglob("*"))
    text = _shown(path, 1, **kwargs)
    assert sorted(roots[0].parent.rglob("*")) == before
    return text


def test_an_inventory_becomes_an_organization_below_the_last_root(
    path: Path, roots: list[Path]
) -> None:
    text = _shown(str(path))
    file = roots[1] / "orgs/demo-cluster.sls"
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(file.parent) == ["demo-cluster.sls"]
    lines = text.splitlines()
    assert lines[0] == f"{file} is the organization demo-cluster, as {path} has it"
    number = FILLED.splitlines().index("mysql_root_password = metis_root") + 1
    assert any(line.startswith(f"  line {number}: mysql_root_password not") for line in lines)
    by_hand = lines.index(f"to complete by hand in {file}:")
    assert lines[by_hand + 1 :] == [
        "  data_center is missing, and carrier does not start without one: "
        "add `data_center: {address: ..., port: ...}`",
        "next:",
        """  salt-run state.orchestrate metis.deploy pillar='{"org": "demo-cluster"}'""",
    ]


def test_the_file_is_an_organization_once_it_is_complete(path: Path, roots: list[Path]) -> None:
    _shown(str(path), org="acme")
    file = roots[1] / "orgs/acme.sls"
    file.write_text(file.read_text("utf-8").replace("  # data_center:", "  data_center:"), "utf-8")
    org = metis_orgs.read()["acme"]
    assert org["faults"] == []
    assert org["topology"]["cluster_name"] == "demo-cluster"
    assert len(org["topology"]["instances"]) == 12


def test_a_complete_inventory_has_nothing_to_complete(path: Path) -> None:
    more = "dataCenter_ip = 203.0.113.5\ndataCenter_port = 9090\n"
    path.write_text(FILLED + more, "utf-8")
    assert "by hand" not in _shown(str(path))


def test_the_template_with_everything_on_one_machine_is_imported(path: Path) -> None:
    groups = ("consul", "carrier", "admin", "ice_via", "data", "compute")
    text = inventory.filled(**dict.fromkeys(groups, "1"))
    path.write_text(text + "dataCenter_ip = 203.0.113.5\ndataCenter_port = 9090\n", "utf-8")
    lines = _shown(str(path), org="acme").splitlines()
    number = text.splitlines().index("data_port = [8700, 8701, 8702]") + 1
    said = f"  line {number}: data_port carried over without 8701, 8702: [data] has 1 host, and"
    assert any(line.startswith(said) for line in lines)
    assert not any("by hand" in line for line in lines)
    assert metis_orgs.read()["acme"]["faults"] == []


def test_the_name_and_the_place_may_be_given(path: Path, tmp_path: Path) -> None:
    to = tmp_path / "elsewhere.sls"
    lines = _shown(str(path), org="acme", to=str(to)).splitlines()
    assert lines[0].startswith(f"{to} is the organization acme,")
    assert lines[-2] == "next, once it is orgs/acme.sls in a pillar root:"
    assert to.is_file()
    folder = tmp_path / "folder"
    folder.mkdir()
    _shown(str(path), org="acme", to=str(folder))
    assert (folder / "acme.sls").is_file()


def test_what_salt_made_a_number_of_is_a_name(path: Path, roots: list[Path]) -> None:
    _shown(str(path), org=2022)
    assert (roots[1] / "orgs/2022.sls").is_file()


def test_a_password_that_is_too_short_is_to_be_completed(path: Path) -> None:
    path.write_text(inventory.changed(FILLED, admin_password="hunter2"), "utf-8")
    text = _shown(str(path))
    assert "  admin.mysql_password " in text
    assert "(not shown)" in text
    assert "hunter2" not in text


def test_hosts_of_another_organization_are_to_be_completed(path: Path) -> None:
    _shown(str(path), org="acme")
    path.write_text(FILLED + "dataCenter_ip = 203.0.113.5\ndataCenter_port = 9090\n", "utf-8")
    _shown(str(path), org="first")
    text = _shown(str(path), org="second")
    assert "hosts.node-10-0-0-1 is a host of the organization first too" in text


def test_checksums_that_are_missing_are_counted(path: Path, roots: list[Path]) -> None:
    release = copy.deepcopy(orgs.RELEASE_FILE)
    for name in ("consul", "carrier", "admin_jar", "admin_sql"):
        release["artifacts"][name]["sha256"] = None
    (roots[0] / "releases/0.3.0.yaml").write_text(yaml.safe_dump(release))
    lines = _shown(str(path)).splitlines()
    (at,) = [n for n, line in enumerate(lines) if "artifact admin_jar has no checksum" in line]
    assert lines[at + 1] == "  release: 3 more of its artifacts have no checksum"
    assert not any("artifact admin_sql" in line for line in lines)


def test_faults_are_told_with_their_lines_and_nothing_is_written(
    path: Path, roots: list[Path]
) -> None:
    path.write_text(inventory.TEMPLATE, "utf-8")
    lines = _refused(str(path), roots).splitlines()
    assert lines[0] == f"nothing was written: {path} has 8 faults:"
    number = inventory.TEMPLATE.splitlines().index("[ice_via]") + 2
    assert lines[1].startswith(f"  line {number}: [ice_via] has a host that is not filled in")
    assert len(lines) == 9


def test_a_file_that_is_there_is_left_as_it_is(path: Path, roots: list[Path]) -> None:
    _shown(str(path), org="acme")
    file = roots[1] / "orgs/acme.sls"
    file.write_text("mine")
    text = _refused(str(path), roots, org="acme")
    assert f"{file} is there already" in text
    assert "name another organization, org=..., or another file, to=/.../acme.sls" in text
    assert f"{file} is there already" in _refused(str(path), roots, org="acme", to=str(file))
    assert file.read_text() == "mine"


def test_a_name_that_an_earlier_root_has_is_not_taken(path: Path, roots: list[Path]) -> None:
    (roots[0] / "orgs/acme.sls").write_text("mine")
    assert str(roots[0] / "orgs/acme.sls") in _refused(str(path), roots, org="acme")


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("utf-8-sig", ""),
        ("gb18030", "read as GB18030"),
        ("utf-16", "read as UTF-16"),
    ],
)
def test_chinese_comments_in_what_editors_write(
    path: Path, roots: list[Path], encoding: str, words: str
) -> None:
    path.write_bytes(FILLED.replace("\n", "\r\n").encode(encoding))
    text = _shown(str(path))
    assert words in text
    assert ("read as" in text) == bool(words)
    made = (roots[1] / "orgs/demo-cluster.sls").read_text("utf-8")
    assert "# 集群的名称\uff0c自定义即可\n" in made


def test_what_is_no_text_has_its_line(path: Path, roots: list[Path]) -> None:
    path.write_bytes(b"[consul]\n10.0.0.1\n\xff\xff\n")
    assert f"{path}: line 3 is neither UTF-8 nor GB18030" in _refused(str(path), roots)


def test_what_cannot_be_read_or_written_is_one_line(
    path: Path, roots: list[Path], tmp_path: Path, opts: dict[str, Any]
) -> None:
    missing, large = tmp_path / "missing.ini", tmp_path / "large.ini"
    large.write_text("#" * 1_000_001)
    (tmp_path / "file").write_text("")
    for given, words in (
        ((missing, {}), f"{missing} cannot be read: No such file or directory"),
        ((tmp_path, {}), f"{tmp_path} is no file"),
        ((path / "below", {}), "Not a directory"),
        ((large, {}), "too large"),
        (
            (path, {"to": str(tmp_path / "nowhere/acme.sls")}),
            f"{tmp_path / 'nowhere'} is no folder",
        ),
        ((path, {"org": "../acme"}), "org is no name for a file"),
    ):
        text = _refused(str(given[0]), roots, **given[1])
        assert words in text
        assert "Traceback" not in text
    opts["pillar_roots"] = {"base": []}
    assert "no pillar_roots" in _refused(str(path), roots)
    opts["pillar_roots"] = {"base": [str(tmp_path / "file")]}
    assert "is no folder" in _refused(str(path), roots)


def test_a_master_without_what_checks_the_form_is_told_what_to_install(
    path: Path, roots: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(metis_orgs)["__salt__"], "metis_orgform.checked")
    text = _refused(str(path), roots)
    assert text.startswith(
        "nothing was written: the master's Python lacks pydantic, rich or zxcvbn"
    )


# salt-run leaves root for the master's user, and what root made may be closed to that one.


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that everyone may look into."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def closed(place: Path) -> Iterator[Path]:
    """A folder that nobody but root may look into."""
    folder = place / "orgs"
    folder.mkdir(0)
    yield folder
    folder.chmod(0o700)


@pytest.fixture
def user() -> Iterator[str]:
    """The user that Salt is: root becomes another one, as it may read everything."""
    before = os.geteuid()
    os.seteuid(before or 65534)
    yield pwd.getpwuid(os.geteuid()).pw_name
    os.seteuid(before)


@pytest.fixture
def secret(place: Path) -> Path:
    """An inventory that nobody but root may read."""
    file = place / "inventory.ini"
    file.touch(0)
    return file


def test_an_inventory_that_salt_s_user_may_not_read(secret: Path, closed: Path, user: str) -> None:
    for path in (secret, closed / "inventory.ini"):
        assert _shown(str(path), 1) == (
            f"nothing was written: {path} cannot be read: Permission denied. Salt's user {user} "
            "may not read it: chown it, or copy it to where that user may"
        )


def test_a_folder_that_salt_s_user_may_not_look_into(
    closed: Path, opts: dict[str, Any], user: str
) -> None:
    opts["pillar_roots"] = {"base": [str(closed.parent)]}
    for to in (None, str(closed / "other.sls"), str(closed / "below")):
        with pytest.raises(CommandExecutionError) as caught:
            metis_import.write("acme", "", to)
        file = to or closed / "acme.sls"
        assert str(caught.value) == (
            f"{file} cannot be looked for: Permission denied. Salt's user {user} may not look "
            "there: chown the folder, or name another file, to=..."
        )


def test_a_folder_that_salt_s_user_may_not_write_into(
    closed: Path, opts: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    closed.chmod(0o555)
    opts["pillar_roots"] = {"base": [str(closed.parent)]}
    user = request.getfixturevalue("user")
    with pytest.raises(CommandExecutionError) as caught:
        metis_import.write("acme", "")
    assert str(caught.value) == (
        f"{closed}/acme.sls cannot be written: Permission denied. Salt's user {user} may not "
        f"write there: make it the owner of {closed}, or name another file, to=..."
    )
