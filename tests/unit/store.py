"""A store in a folder, and the modules that work on it wired as Salt does it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from _modules import (
    metis_artifact,
    metis_bundle,
    metis_orgs,
    metis_pins,
    metis_progress,
    metis_release,
    metis_releasefile,
    metis_store,
)
from tests.unit import orgs

ROLES = ["carrier", "admin"]


def digest(body: bytes) -> str:
    """Give the sha256 of a file, in hex."""
    return hashlib.sha256(body).hexdigest()


def release(**bodies: bytes | None) -> dict[str, Any]:
    """Give a release of the artifacts of carrier; of one that is None no checksum is known.

    Args:
        bodies: what each artifact's file holds.
    """
    artifacts = {
        name: {
            "version": "1",
            "kind": "binary",
            "roles": ["carrier"],
            "file": name,
            "sha256": None if body is None else digest(body),
            "sources": [],
        }
        for name, body in bodies.items()
    }
    return {"release": "0.3.0", "artifacts": artifacts}


class Store:
    """The folder of a master's store, and what an operator is told."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.said: list[str] = []

    def file(self, stored: str) -> Path:
        """The place of an artifact."""
        return self.root / "artifacts" / stored

    def say(self, text: str) -> None:
        """Be told."""
        self.said.append(text)

    def everything(self) -> dict[str, bytes]:
        """Every file that is there, but for the index, which only saves time."""
        return {
            str(path.relative_to(self.root)): path.read_bytes()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and path.name != "index.json"
        }


def wired(store: Store, pillar_root: Path) -> dict[ModuleType, dict[str, Any]]:
    """Give what `configure_loader_modules` needs.

    Args:
        store: where the store is.
        pillar_root: where release files are, in `releases`.
    """
    pure = orgs.wired()
    modules = (metis_artifact, metis_bundle, metis_orgs, metis_pins, metis_release, metis_store)
    functions = next(iter(pure.values()))["__salt__"]
    functions |= orgs.by_salts_name(*modules, metis_progress, metis_releasefile)

    def plain(name: str) -> Any:
        file = pillar_root / "releases" / f"{name}.yaml"
        if not file.exists():
            return None
        return metis_pins.merged(yaml.safe_load(file.read_text("utf-8")))

    functions["metis_orgs.release"] = plain
    opts = {"metis_store": str(store.root), "pillar_roots": {"base": [str(pillar_root)]}}
    own = {"__salt__": functions, "__opts__": opts}
    return pure | dict.fromkeys(modules, own)
