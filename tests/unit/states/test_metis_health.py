"""The gates of web servers and Ice endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_health as health_module
from _modules import metis_unit as unit_module
from _states import metis_health
from tests.unit import loopback
from tests.unit.loopback import ICE_GREETING, Loopback
from tests.unit.states.predicted import told_and_done
from tests.unit.systemd import Systemd, Unit, up

UNIT = "metis-admin.service"
JOURNAL = ["java[9]: Table 'metis_admin.local_org' doesn't exist"]


@pytest.fixture
def systemd() -> Systemd:
    found = Systemd()
    found.units[UNIT] = up(1000.0, journal=JOURNAL)
    return found


@pytest.fixture
def configure_loader_modules(
    opts: dict[str, Any], systemd: Systemd
) -> dict[ModuleType, dict[str, Any]]:
    return systemd.wired(metis_health, opts, health_module)


def _explained(done: dict[str, Any], cause: str) -> None:
    assert (done["result"], done["changes"]) == (False, {})
    first, state, *journal = done["comment"].splitlines()
    assert first == cause
    assert state == f"{UNIT} is active (running); the end of its journal:"
    assert journal == JOURNAL


def test_a_web_server_that_answers_is_well(opts: dict[str, Any], server: Loopback) -> None:
    server.answers = [loopback.gives(b"Hello, Metis-Admin")]
    done = told_and_done(
        opts,
        lambda: metis_health.answers_http("h", server.url(), "Metis-Admin", UNIT),
        lambda: None,
    )
    assert done["changes"] == {}


def test_a_web_server_that_comes_late_is_waited_for(server: Loopback) -> None:
    server.answers = [loopback.gives(b"", status=502), loopback.gives(b"Hello, Metis-Admin")]
    done = metis_health.answers_http("h", server.url(), "Metis-Admin", UNIT, timeout=10)
    assert done["result"] is True


def test_a_web_server_that_stays_wrong_is_explained(opts: dict[str, Any], server: Loopback) -> None:
    server.answers = [loopback.gives(b"", status=502)]
    done = metis_health.answers_http("h", server.url(), "Metis-Admin", UNIT, timeout=0.2)
    _explained(done, f"{server.url()} answers 502 after 0 s")
    opts["test"] = True
    asked = len(server.asked)
    told = metis_health.answers_http("h", server.url(), "Metis-Admin", UNIT, timeout=60)
    assert (told["result"], told["changes"]) == (None, {})
    assert "answers 502" in told["comment"]
    assert len(server.asked) == asked + 1


def test_a_program_that_ends_again_and_again_is_not_waited_for(
    server: Loopback, systemd: Systemd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unit_module, "LOOK_AGAIN", 0.02)
    unit = systemd.units[UNIT] = Unit(active="activating", sub="auto-restart", enabled=True)

    def fails(handler: Any) -> None:
        unit.restarts += 1
        loopback.gives(b"", status=502)(handler)

    server.answers = [fails]
    done = metis_health.answers_http("h", server.url(), "", UNIT, timeout=60)
    assert done["result"] is False
    assert f"answers 502, and {UNIT} ended " in done["comment"]


@pytest.fixture
def ice_port() -> Iterator[int]:
    """An Ice endpoint's port."""
    with loopback.endpoint(lambda connection: connection.sendall(ICE_GREETING)) as port:
        yield port


def test_an_ice_endpoint_that_greets_is_well(opts: dict[str, Any], ice_port: int) -> None:
    told_and_done(
        opts, lambda: metis_health.answers_ice("i", "127.0.0.1", ice_port, UNIT), lambda: None
    )


def test_an_ice_endpoint_that_is_not_there_is_explained(
    opts: dict[str, Any], closed: dict[str, Any]
) -> None:
    wrong = f"Ice endpoint 127.0.0.1:{closed['port']}: Connection refused"
    done = metis_health.answers_ice("i", "127.0.0.1", closed["port"], UNIT, timeout=0.2)
    _explained(done, f"{wrong} after 0 s")
    opts["test"] = True
    told = metis_health.answers_ice("i", "127.0.0.1", closed["port"], UNIT)
    assert told["result"] is None
    assert wrong in told["comment"]
