"""Salt's own loader finds every function of the project under the name that others call it by."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest
import salt.config
import salt.loader
import salt.output

from tests.unit import orgs

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def opts(tmp_path: Path) -> dict[str, Any]:
    folders = {
        f"{form}_dirs": [str(REPOSITORY / folder)]
        for form, folder in (
            ("module", "_modules"),
            ("states", "_states"),
            ("runner", "_runners"),
            ("outputter", "_output"),
        )
    }
    own = {"cachedir": str(tmp_path), "extension_modules": str(tmp_path / "extmods"), "id": "h1"}
    return dict(salt.config.DEFAULT_MINION_OPTS) | own | folders


def _defined(folder: str) -> list[str]:
    modules = [
        importlib.import_module(f"{folder}.{path.stem}")
        for path in sorted((REPOSITORY / folder).glob("*.py"))
    ]
    assert modules
    return list(orgs.by_salts_name(*modules))


def _is_documented(function: Any) -> bool:
    return bool(function.__doc__ and function.__doc__.strip())


def test_every_execution_module_loads(opts: dict[str, Any]) -> None:
    loaded = salt.loader.minion_mods(opts)
    for name in _defined("_modules"):
        assert name in loaded
        assert _is_documented(loaded[name]), name


def test_a_function_may_have_another_name_for_salt(opts: dict[str, Any]) -> None:
    loaded = salt.loader.minion_mods(opts)
    assert "metis" in loaded["metis_orgform.schema"]()["properties"]


def test_what_a_lost_lock_raises_in_one_module_is_caught_in_another(
    opts: dict[str, Any], tmp_path: Path
) -> None:
    own = {"pki_dir": str(tmp_path), "log_file": str(tmp_path / "master"), "test": False}
    loaded = salt.loader.minion_mods(opts | own)
    loaded["metis_run.begin"]("deploy", ["consul runs"])
    loaded["metis_run.keep_journal"]("acme")
    assert loaded["metis_run.lock"]() == []

    def phase(name: str) -> dict[str, Any]:
        loaded["metis_lock.forget"]("acme")
        answer: dict[str, Any] = loaded["metis_ask.ask"]("h1", "test.arg", {}, 5, dict)
        return answer

    done = loaded["metis_run.phase"](phase, "consul runs", [], {})
    assert (done["result"], done["reason"]) == (False, "locked")


def test_every_state_module_loads(opts: dict[str, Any]) -> None:
    functions = salt.loader.minion_mods(opts)
    utils, serializers = salt.loader.utils(opts), salt.loader.serializers(opts)
    loaded = salt.loader.states(opts, functions, utils, serializers)
    for name in _defined("_states"):
        assert name in loaded
        assert _is_documented(loaded[name]), name


def test_every_runner_loads(opts: dict[str, Any]) -> None:
    loaded = salt.loader.runner(opts)
    for name in _defined("_runners"):
        assert name in loaded
        assert _is_documented(loaded[name]), name


def test_salt_shows_what_a_runner_returns_by_its_outputter(opts: dict[str, Any]) -> None:
    returned = {"data": [{"a": "1"}], "outputter": "metis_table", "retcode": 1}
    assert salt.output.out_format(returned, "metis_table", opts) == "A\n1"


@pytest.mark.parametrize(
    ("library", "function"),
    [
        ("pydantic", "metis_orgform.checked"),
        ("zxcvbn", "metis_orgform.checked"),
        ("rich", "metis_progress.shown"),
    ],
)
def test_a_minion_without_what_the_master_needs_has_the_other_modules(
    opts: dict[str, Any], monkeypatch: pytest.MonkeyPatch, library: str, function: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    loaded = salt.loader.minion_mods(opts)
    assert function not in loaded
    assert "metis_unit.facts" in loaded
    assert "metis_topology.build" in loaded
    assert library in loaded.missing_fun_string(function)
