"""carrier's identity on its host: made once, then only its owner and mode are kept."""

from __future__ import annotations

import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_p2p_key as module
from _states import metis_p2p_key
from tests.unit import orgs
from tests.unit.states.predicted import told_and_done

# Of those that every Debian has: one whose group is called as it is.
USER = "games"


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], file_managed: Any
) -> dict[ModuleType, dict[str, Any]]:
    own = {
        "__opts__": opts,
        "__salt__": orgs.by_salts_name(module),
        "__states__": {"file.managed": file_managed},
    }
    return {metis_p2p_key: own}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "p2p.key"


def _look(key: Path) -> tuple[str, int, int] | None:
    if not key.exists():
        return None
    found = key.stat()
    return key.read_text(), stat.S_IMODE(found.st_mode), found.st_uid


def test_a_key_is_made_once(opts: dict[str, Any], key: Path) -> None:
    done = told_and_done(opts, lambda: metis_p2p_key.present(str(key), USER), lambda: _look(key))
    assert done["changes"] == {str(key): {"old": None, "new": "a new key"}}
    found = _look(key)
    assert found
    assert len(found[0]) == 64
    assert found[1] == 0o600


def test_the_key_is_told_to_nobody(key: Path) -> None:
    done = metis_p2p_key.present(str(key), USER)
    assert key.read_text() not in repr(done)


@pytest.mark.parametrize("content", ["ab" * 32, "an operator's own, carrier will say", ""])
def test_a_key_that_is_there_is_never_replaced(
    opts: dict[str, Any], key: Path, content: str
) -> None:
    key.write_text(content)
    key.chmod(0o644)
    done = told_and_done(opts, lambda: metis_p2p_key.present(str(key), USER), lambda: _look(key))
    assert done["changes"]["mode"] == "0600"
    assert done["changes"]["user"] == USER
    found = _look(key)
    assert found
    assert found[:2] == (content, 0o600)


def test_a_key_that_cannot_be_made_is_told(opts: dict[str, Any], key: Path) -> None:
    for name, user in ((str(key), "metis-no-such-user"), (str(key / "none" / "p2p.key"), USER)):
        done = metis_p2p_key.present(name, user)
        assert (done["result"], done["changes"]) == (False, {})
        assert f"{name} was not made" in done["comment"]
    assert list(key.parent.iterdir()) == []
