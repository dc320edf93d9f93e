from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_run


@pytest.fixture
def opts(tmp_path: Path) -> dict[str, Any]:
    """The options of a master whose runs write below a folder of the test."""
    return {"test": False, "pki_dir": str(tmp_path), "log_file": str(tmp_path / "master")}


@pytest.fixture
def run(configure_loader_modules: dict[ModuleType, dict[str, Any]]) -> metis_run.Run:
    """A run of metis.deploy that has its journal and its lock."""
    metis_run.begin("deploy", ["consul runs", "all passes"])
    metis_run.keep_journal("acme")
    assert metis_run.lock() == []
    return metis_run.now()
