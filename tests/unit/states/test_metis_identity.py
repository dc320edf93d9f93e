"""The identity is noted when MariaDB is stopped."""

from __future__ import annotations

from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pytest
from salt.exceptions import CommandExecutionError

from _modules import metis_identity as module
from _states import metis_identity


@pytest.fixture
def functions() -> dict[str, Any]:
    return {
        "metis_identity.note": create_autospec(module.note, return_value=""),
        "metis_identity.seal": create_autospec(module.seal, return_value=None),
    }


@pytest.fixture
def configure_loader_modules(
    functions: dict[str, Any], opts: dict[str, Any]
) -> dict[ModuleType, dict[str, Any]]:
    return {metis_identity: {"__salt__": functions, "__opts__": opts}}


def test_it_is_noted_and_counts(functions: dict[str, Any]) -> None:
    assert metis_identity.noted("a", "metis_admin")["result"] is True
    functions["metis_identity.note"].assert_called_once_with("metis_admin")
    assert metis_identity.sealed("b")["result"] is True
    functions["metis_identity.seal"].assert_called_once_with()


def test_a_dry_run_notes_nothing(functions: dict[str, Any], opts: dict[str, Any]) -> None:
    opts["test"] = True
    for state in (metis_identity.noted("a", "metis_admin"), metis_identity.sealed("b")):
        assert (state["result"], state["changes"]) == (True, {})
    functions["metis_identity.note"].assert_not_called()
    functions["metis_identity.seal"].assert_not_called()


def test_what_is_not_to_be_known_does_not_keep_an_organization_from_stopping(
    functions: dict[str, Any],
) -> None:
    functions["metis_identity.note"].return_value = "MariaDB cannot be asked"
    state = metis_identity.noted("a", "metis_admin")
    assert state["result"] is True
    assert state["comment"] == "is not known: MariaDB cannot be asked"


def test_a_note_that_cannot_be_written_is_told(functions: dict[str, Any]) -> None:
    functions["metis_identity.seal"].side_effect = CommandExecutionError("no space")
    state = metis_identity.sealed("b")
    assert (state["result"], state["comment"]) == (False, "no space")
