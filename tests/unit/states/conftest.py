from __future__ import annotations

from typing import Any

import pytest
import salt.config
import salt.loader


@pytest.fixture
def opts() -> dict[str, Any]:
    """The options of the state module under test."""
    return {"test": False}


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
