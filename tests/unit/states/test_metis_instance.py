"""The look at a host's instances at the end of a run."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest

from _modules import metis_instance as module
from _states import metis_instance

VIEW = {"org": "acme", "roles": {}}


@pytest.fixture
def status() -> Any:
    return create_autospec(module.status)


@pytest.fixture
def configure_loader_modules(status: Mock) -> dict[ModuleType, dict[str, Any]]:
    own = {"__salt__": {"metis_instance.status": status}, "__pillar__": {"metis": VIEW}}
    return {metis_instance: own}


def test_what_is_seen_is_handed_on_and_demands_nothing(status: Mock) -> None:
    found = [{"id": "consul@h1", "healthy": True}, {"id": "carrier@h1", "healthy": False}]
    status.return_value = found
    done = metis_instance.seen("look")
    assert (done["result"], done["changes"]) == (True, {})
    assert done["comment"] == "1 of 2 instances are healthy"
    assert done["instances"] == found
    # The pillar of this very run: no second one is asked for, and nothing is waited for.
    status.assert_called_once_with(seen=VIEW)
