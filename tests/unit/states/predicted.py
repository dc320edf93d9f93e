"""What every state must hold to: a dry run that is true and touches nothing, and a second run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

State = dict[str, Any]


def told_and_done(
    opts: dict[str, Any], apply: Callable[[], State], look: Callable[[], Any]
) -> State:
    """Apply a state as told beforehand, then really, then once more.

    Args:
        opts: the state module's options; `test` is set in it.
        apply: applies the state.
        look: gives what the state may change, to compare.

    Returns:
        What the real run returned.
    """
    opts["test"] = True
    before = look()
    told = apply()
    assert look() == before
    opts["test"] = False
    done = apply()
    assert told["changes"] == done["changes"]
    assert told["result"] is (None if told["changes"] else True)
    assert done["result"] is True, done["comment"]
    after = look()
    again = apply()
    assert (again["result"], again["changes"]) == (True, {})
    assert look() == after
    return done
