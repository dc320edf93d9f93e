"""The node's data directory, with the names that leveldb would leave there."""

import fcntl
import json
from pathlib import Path
from typing import TextIO

from .settings import ConfigError


class Storage:
    """The open data directory; a second carrier on it is refused.

    Args:
        datadir: made if it is missing.

    Raises:
        ConfigError: it cannot be written, or another process holds it.
    """

    def __init__(self, datadir: Path) -> None:
        self._locks: list[TextIO] = []
        try:
            for name in ("datachain", "consensuswal"):
                folder = datadir / name
                folder.mkdir(parents=True, exist_ok=True)
                lock = (folder / "LOCK").open("a")
                self._locks.append(lock)
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                (folder / "CURRENT").write_text("MANIFEST-000000\n")
        except OSError as error:
            raise ConfigError(f"could not open the database in {datadir}: {error}") from error
        self._meta = datadir / "metaData"

    def remember(self, node_id: str) -> None:
        """Count this start in ``metaData``.

        Args:
            node_id: the peer id. A new one starts a new count, as losing the key is a new node.
        """
        known = json.loads(self._meta.read_text()) if self._meta.exists() else {}
        starts = known["starts"] if known.get("node_id") == node_id else 0
        self._meta.write_text(json.dumps({"node_id": node_id, "starts": starts + 1}))
