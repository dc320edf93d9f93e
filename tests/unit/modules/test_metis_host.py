"""What the verbs ask of a host."""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
import salt.payload
import salt.utils.minion
from salt.exceptions import CommandExecutionError
from salt.modules import saltutil
from salt.modules import state as state_module

from _modules import metis_host


@pytest.fixture
def master(tmp_path: Path) -> list[Path]:
    """The master's module folders."""
    folders = [tmp_path / "srv" / name for name in ("_modules", "_states")]
    for folder in folders:
        folder.mkdir(parents=True)
        (folder / "metis_unit.py").write_text(f"# of {folder.name}")
    (folders[0] / "metis_consul.py").write_text("")
    return folders


@pytest.fixture
def minion(tmp_path: Path) -> Path:
    """Where a minion has what it was sent."""
    return tmp_path / "extmods"


@pytest.fixture
def functions(master: list[Path], minion: Path) -> dict[str, Any]:
    def sync(form: str, source: Path) -> Any:
        def run(*args: Any, **kwargs: Any) -> list[str]:
            # Salt sends other modules of the file roots too, and compiles what it loads.
            shutil.copytree(source, minion / form, dirs_exist_ok=True)
            (minion / form / "other.py").write_text("")
            (minion / form / "__pycache__").mkdir(exist_ok=True)
            return []

        return create_autospec(getattr(saltutil, f"sync_{form}"), side_effect=run)

    return {
        "saltutil.sync_modules": sync("modules", master[0]),
        "saltutil.sync_states": sync("states", master[1]),
        "saltutil.is_running": create_autospec(saltutil.is_running, return_value=[]),
        "state.sls": create_autospec(state_module.sls, return_value={"tag": {"result": True}}),
    }


@pytest.fixture
def configure_loader_modules(
    functions: dict[str, Any], minion: Path
) -> dict[ModuleType, dict[str, Any]]:
    opts = {"id": "h1", "extension_modules": str(minion), "cachedir": str(minion.parent / "cache")}
    return {metis_host: {"__opts__": opts, "__salt__": functions}}


def _wanted(master: list[Path]) -> str:
    return metis_host.fingerprint([str(folder) for folder in master])


def test_a_fingerprint_is_of_names_and_contents(master: list[Path]) -> None:
    first = _wanted(master)
    assert _wanted(master) == first
    (master[0] / "README.md").write_text("no module")
    (master[0] / "other.py").write_text("no module of ours")
    assert _wanted(master) == first
    (master[0] / "metis_consul.py").rename(master[0] / "metis_other.py")
    renamed = _wanted(master)
    (master[0] / "metis_other.py").write_text("changed")
    assert len({first, renamed, _wanted(master)}) == 3


def test_a_module_and_a_state_of_one_name_are_told_apart(master: list[Path]) -> None:
    first = _wanted(master)
    one, other = (folder / "metis_unit.py" for folder in master)
    text = one.read_text()
    one.write_text(other.read_text())
    other.write_text(text)
    assert _wanted(master) != first


def test_a_host_without_modules_fetches_them_once(
    master: list[Path], functions: dict[str, Any]
) -> None:
    for _ in range(2):
        assert metis_host.ready(_wanted(master)) is True
    for form in ("modules", "states"):
        functions[f"saltutil.sync_{form}"].assert_called_once_with(refresh=True)


def test_a_host_with_old_modules_fetches_the_new(
    master: list[Path], functions: dict[str, Any]
) -> None:
    metis_host.ready(_wanted(master))
    (master[1] / "metis_unit.py").write_text("# newer")
    assert metis_host.ready(_wanted(master)) is True
    assert functions["saltutil.sync_states"].call_count == 2


def test_a_master_that_sends_other_modules_than_it_has_is_told_how_to_go_on(
    functions: dict[str, Any],
) -> None:
    with pytest.raises(CommandExecutionError) as raised:
        metis_host.ready("0" * 64)
    assert "file_roots" in str(raised.value)
    assert "salt-run fileserver.clear_file_list_cache" in str(raised.value)


def _sls(functions: dict[str, Any]) -> Mock:
    found: Mock = functions["state.sls"]
    return found


def test_a_host_brings_its_own_roles_to_a_state_and_is_looked_at(
    functions: dict[str, Any],
) -> None:
    roles = {"h1": ["consul", "carrier"], "h2": ["admin"]}
    assert metis_host.reach("running", roles) == {"tag": {"result": True}}
    (call,) = _sls(functions).call_args_list
    assert call.args == (["roles.consul.running", "roles.carrier.running", "roles.seen"],)
    assert call.kwargs["test"] is False


def test_what_a_verb_means_goes_along(functions: dict[str, Any]) -> None:
    metis_host.reach("laid_down", {"h1": ["data"]}, only=["data@h1:8700"], release="0.4.0")
    assert _sls(functions).call_args.kwargs["pillar"] == {
        "metis_agent_since": 0.0,
        "metis_only": ["data@h1:8700"],
        "metis_release": "0.4.0",
    }
    metis_host.reach("running", {"h1": ["data"]})
    assert _sls(functions).call_args.kwargs["pillar"] == {"metis_agent_since": 0.0}


def test_a_dry_run_stays_one(functions: dict[str, Any]) -> None:
    metis_host.reach("configured", {"h1": ["consul"]}, test=True)
    assert _sls(functions).call_args.kwargs["test"] is True


def _job(jid: str, cache: Path) -> Path:
    """What Salt knows of a job that runs on a minion."""
    record = cache / "proc" / jid
    record.parent.mkdir(parents=True)
    job = {"fun": "metis_host.reach", "jid": jid, "pid": os.getppid(), "arg": ["running"]}
    record.write_bytes(salt.payload.dumps(job))
    return record


def test_the_job_s_id_goes_along_and_nothing_else_of_salt_s(
    functions: dict[str, Any], minion: Path
) -> None:
    own: dict[str, Any] = {
        "__pub_jid": "20260101",
        "__pub_user": "root",
        "__pub_fun": "metis_host.reach",
    }
    _job("20260101", minion.parent / "cache")
    metis_host.reach("stopped", {"h1": ["consul"]}, **own)
    kwargs = _sls(functions).call_args.kwargs
    assert [key for key in kwargs if key.startswith("__")] == ["__pub_jid"]
    assert kwargs["__pub_jid"] == "20260101"


def test_what_does_not_render_is_handed_on(functions: dict[str, Any]) -> None:
    _sls(functions).return_value = ["Rendering SLS 'base:roles.consul.running' failed"]
    assert metis_host.reach("running", {"h1": ["consul"]}) == [
        "Rendering SLS 'base:roles.consul.running' failed"
    ]


def test_two_runs_do_not_meet_on_a_host(functions: dict[str, Mock]) -> None:
    functions["saltutil.is_running"].return_value = [
        {"fun": "state.highstate", "jid": "2026", "pid": 7}
    ]
    words = "state.highstate as job 2026: wait for its end, or salt"
    with pytest.raises(CommandExecutionError, match=words):
        metis_host.reach("running", {"h1": ["consul"]})
    functions["state.sls"].assert_not_called()


def test_who_leaves_and_what_is_kept_goes_along(functions: dict[str, Any]) -> None:
    metis_host.reach("absent", {"h1": ["data"]}, only=["data@h1:8700"])
    assert _sls(functions).call_args.kwargs["pillar"]["metis_leaving"] == {
        "roles": ["data"],
        "only": ["data@h1:8700"],
        "keep": [],
    }
    metis_host.reach("left", {"h1": ["data"]}, only=["data@h1:8700"], drain=60)
    assert _sls(functions).call_args.args == (["roles.data.left", "roles.seen"],)
    assert _sls(functions).call_args.kwargs["pillar"]["metis_leaving"] == {
        "roles": ["data"],
        "only": ["data@h1:8700"],
        "keep": [],
        "drain": 60,
    }
    besides = {"h1": ["carrier"], "h2": ["admin"]}
    metis_host.reach("absent", {"h1": ["data"]}, keep=["logs"], besides=besides)
    call = _sls(functions).call_args
    assert call.args == (["roles.data.absent", "roles.carrier.absent", "roles.seen"],)
    assert call.kwargs["pillar"]["metis_leaving"] == {
        "roles": ["data", "carrier"],
        "only": None,
        "keep": ["logs"],
    }


def test_salt_s_own_states_see_a_run_at_work(
    functions: dict[str, Any], minion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = minion.parent / "cache"
    record = _job("20260101", cache)
    metis_host.reach("running", {"h1": ["consul"]}, __pub_jid="20260101")
    # As a highstate looks, in a process of its own.
    monkeypatch.setattr(salt.utils.minion, "_check_cmdline", lambda data: True)
    (seen,) = salt.utils.minion.running({"cachedir": str(cache), "multiprocessing": True})
    assert fnmatch.fnmatch(seen["fun"], "state.*")
    assert "metis_host.reach" in seen["fun"]
    # Nothing else of the record changed, and the minion removes it as any other.
    assert (seen["jid"], seen["pid"], seen["arg"]) == ("20260101", os.getppid(), ["running"])
    assert [file.name for file in cache.rglob("*") if file.is_file()] == [record.name]


def test_a_host_whose_disk_is_full_says_so(
    functions: dict[str, Any], minion: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _job("20260101", minion.parent / "cache")

    def full(self: Path, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CommandExecutionError, match="No space left on device"):
        metis_host.reach("running", {"h1": ["consul"]}, __pub_jid="20260101")
    functions["state.sls"].assert_not_called()
