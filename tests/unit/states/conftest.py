from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import salt.config
import salt.loader

from _modules import (
    metis_ask,
    metis_deployed,
    metis_host,
    metis_journal,
    metis_lock,
    metis_predicted,
    metis_roll,
    metis_run,
    metis_secrets,
)
from _states import metis
from tests.unit import orgs
from tests.unit.states.fleet import Fleet, Modules

# What every verb runs on.
RUN = (
    metis_ask,
    metis_deployed,
    metis_journal,
    metis_lock,
    metis_predicted,
    metis_roll,
    metis_run,
    metis_secrets,
)


@pytest.fixture
def opts() -> dict[str, Any]:
    """The options of the state module under test."""
    return {"test": False}


@pytest.fixture
def asked() -> dict[str, Any]:
    """The pillar that the operator gives a verb."""
    return {}


@pytest.fixture
def verb(
    opts: dict[str, Any],
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Modules]:
    """Wires the phases of a verb over hosts; what they write is below a folder of the test."""
    opts |= {"pki_dir": str(tmp_path), "log_file": str(tmp_path / "log")}
    opts |= {"module_dirs": [str(tmp_path)], "states_dirs": [str(tmp_path)]}
    opts["metis_store"] = str(tmp_path / "store")
    chunk = {"state": "metis", "name": "the last", "__sls__": "metis.deploy"}
    monkeypatch.setattr(metis, "__low__", chunk, raising=False)
    monkeypatch.setattr(metis, "__lowstate__", [chunk], raising=False)

    def over(
        hosts: Fleet, *modules: ModuleType, functions: dict[str, Any] | None = None
    ) -> Modules:
        pure = orgs.wired()
        every = (metis, *RUN, *modules)
        # Those of state modules are not in `__salt__`.
        execution = [one for one in every if one.__name__.startswith("_modules.")]
        found = next(iter(pure.values()))["__salt__"]
        found |= orgs.by_salts_name(*execution)
        found |= {
            "metis_fleet.run": hosts.function,
            "metis_fleet.up": lambda addresses: dict.fromkeys(addresses, True),
            "metis_fleet.refused_keys": lambda: {"h1": "unaccepted"},
            "metis_host.fingerprint": metis_host.fingerprint,
            # Nobody's: a test runs phases of several runs, and its process has not ended.
            "metis_lock.take": lambda org, holder: dict.fromkeys(("file", "held", "before")),
            "metis_run.heed_signals": lambda: None,
        }
        found |= functions or {}
        own = {"__salt__": found, "__opts__": opts, "__pillar__": asked, "__context__": {}}
        return pure | dict.fromkeys(every, own)

    return over


@pytest.fixture
def acme(configure_loader_modules: Modules, asked: dict[str, Any]) -> dict[str, Any]:
    """The usual organization, as the master's pillar has it."""
    found = {"file": "/pillar/orgs/acme.sls", **orgs.built(orgs.org_file())}
    asked["metis"] = {"orgs": {"acme": found}}
    return found


@pytest.fixture(scope="session")
def _managed(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Any]:
    found = {}
    for test in (False, True):
        own = {"cachedir": str(tmp_path_factory.mktemp("cache")), "test": test, "id": "h1"}
        opts = dict(salt.config.DEFAULT_MINION_OPTS) | own
        functions = salt.loader.minion_mods(opts)
        utils, serializers = salt.loader.utils(opts), salt.loader.serializers(opts)
        loaded = salt.loader.states(opts, functions, utils, serializers)
        found[test] = loaded["file.managed"]
    return found


@pytest.fixture
def file_managed(_managed: dict[bool, Any], opts: dict[str, Any]) -> Any:
    """Salt's own file.managed, as one state module calls another."""
    return lambda *args, **kwargs: _managed[opts["test"]](*args, **kwargs)
