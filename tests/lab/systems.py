"""The systems that a host of a lab may have."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class System:
    """What a host starts from."""

    name: str
    codename: str
    # The minor release of its Python, which an environment is for.
    python: str
    # Nothing but sshd and sudo: no Salt, no Python.
    bare: bool = False


DEFAULT = System("debian12", "bookworm", "3.11")
BARE = System("debian12-bare", "bookworm", "3.11", bare=True)
BARE_13 = System("debian13-bare", "trixie", "3.13", bare=True)
SYSTEMS = {system.name: system for system in (DEFAULT, BARE, BARE_13)}
