import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from saltfactories.manager import FactoriesManager

from tests.integration.site import REPOSITORY, Site


@pytest.fixture(scope="session")
def salt_factories_default_root_dir() -> Iterator[Path]:
    # Short, as the path of a socket has 107 characters at the most.
    with tempfile.TemporaryDirectory(prefix="metis-") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def salt_factories_config() -> dict[str, Any]:
    return {"slow_stop": False}


def _drop_in(configuration: Path, pillar_root: Path) -> None:
    """Write the project's drop-in with this repository's place, and the operator's after it."""
    folder = configuration / "master.d"
    folder.mkdir()
    text = (REPOSITORY / "master.d/metis.conf").read_text()
    (folder / "metis.conf").write_text(text.replace("/srv/metis", str(REPOSITORY)))
    (folder / "own.conf").write_text(
        f"pillar_roots: {{base: [{REPOSITORY}/pillar, {pillar_root}]}}\n"
        f"metis_store: {pillar_root.with_name('store')}\n"
    )


def _quiet(kind: str) -> dict[str, Any]:
    # Every record of a debug log would be sent here, and shown with a test that fails.
    return {"log_level_logfile": "warning", f"pytest-{kind}": {"log": {"level": "warning"}}}


@pytest.fixture(scope="package")
def site(
    salt_factories: FactoriesManager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    master = salt_factories.salt_master_daemon("metis_master", overrides=_quiet("master"))
    configuration = Path(master.config_dir)
    root = Path(master.config["root_dir"])
    made = Site(tmp_path_factory.mktemp("site"), configuration, root)
    _drop_in(configuration, made.pillar_root)
    with master.started():
        salt_factories.environ["PATH"] = f"{made.programs}:{os.environ['PATH']}"
        quiet = _quiet("minion")
        one, two = (master.salt_minion_daemon(name, overrides=quiet) for name in ("one", "two"))
        with ThreadPoolExecutor() as pool:
            assert all(pool.map(lambda minion: minion.start(), (one, two)))
        keys = Path(master.config["pki_dir"]) / "minions"
        for name in ("gone", "five", "six"):
            shutil.copy(keys / "one", keys / name)
        for minion in (one, two):
            made.modules[minion.id] = Path(minion.config["extension_modules"])
            assert not list(made.modules[minion.id].rglob("*.py"))
        made.begin_slow()
        yield made
        made.end_slow()
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda minion: minion.terminate(), (one, two)))
