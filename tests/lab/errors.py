"""The one error that reaches a person."""

from __future__ import annotations


class LabError(Exception):
    """A fault whose text says what failed, where, and what to do next."""
