"""The sandbox's releases: the first, the second with another schema, and the second broken.

The second is the first in all that did not change, and its release file names the same sources.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.lab.sandbox import admin, consul, wheels
from tests.lab.sandbox.bundles import CARRIER, SECOND_CARRIER
from tests.lab.sandbox.piece import SECOND_VERSION, VERSION, Piece

NAME = "sandbox"
SECOND = "sandbox2"
_FIGHTERS = ["data", "compute"]
_CHANGE = "admin_sql_031"

Facts = dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """An artifact of a release.

    Attributes:
        piece: whose folder has the file.
        facts: what the release file says of it, but for checksum and sources.
        breaks: makes of the file's content that of a broken form; nothing where None.
        lies: whether the release file has the checksum of the content that is not broken.
    """

    piece: Piece
    facts: Facts
    breaks: Callable[[bytes], bytes] | None = None
    lies: bool = False

    def content(self, cache: Path) -> tuple[bytes, bytes]:
        """What is served, and what the release file has the checksum of."""
        right = (self.piece.folder(cache) / self.facts["file"]).read_bytes()
        served = self.breaks(right) if self.breaks else right
        return served, right if self.lies else served


@dataclass(frozen=True)
class Release:
    """A release: its artifacts by name, and the changes of the schema that it needs."""

    name: str
    artifacts: Mapping[str, Artifact]
    schema_changes: list[str] = field(default_factory=list)

    def text(self, artifacts: Mapping[str, Facts]) -> Facts:
        """The content of its release file.

        Args:
            artifacts: with their checksums and sources.
        """
        return {
            "release": self.name,
            "kv": {
                "datacenter": "metis/dataCenter_ip_port",
                "glacier2": "metis/via_ip_port",
                "icegrid": None,
            },
            "fighter": {
                "python": "/usr/bin/python3",
                "data": "metis.data_svc.main",
                "compute": "metis.compute_svc.main",
            },
            "admin": {
                "database": "metis_admin",
                "context_path": "/metis-admin",
                "schema_changes": self.schema_changes,
            },
            "artifacts": dict(artifacts),
        }


def _facts(kind: str, roles: list[str], file: str, version: str, **more: str) -> Facts:
    return {"version": version, "kind": kind, "roles": roles, "file": file, **more}


def _first() -> dict[str, Artifact]:
    private = {
        name: Artifact(
            wheels.FIGHTER, _facts("wheel", _FIGHTERS, wheels.wheel_file(name, version), version)
        )
        for name, version in wheels.VERSIONS.items()
    }
    web = _facts("tar", ["admin"], admin.WEB, VERSION, unpacks="network/index.html")
    house = _facts(
        "wheelhouse", _FIGHTERS, wheels.WHEELHOUSE, VERSION, unpacks="wheelhouse/requirements.txt"
    )
    return {
        "consul": Artifact(
            consul.CONSUL, _facts("zip", ["consul"], consul.FILE, consul.VERSION, unpacks="consul")
        ),
        "carrier": Artifact(CARRIER, _facts("binary", ["carrier"], "carrier", VERSION)),
        "admin_jar": Artifact(admin.ADMIN_JAR, _facts("jar", ["admin"], admin.JAR, VERSION)),
        "admin_web": Artifact(admin.ADMIN_SITE, web),
        "admin_sql": Artifact(admin.ADMIN_SITE, _facts("sql", ["admin"], admin.SQL, VERSION)),
        **private,
        "fighter_wheelhouse": Artifact(wheels.FIGHTER_WHEELHOUSE, house),
    }


def _second() -> dict[str, Artifact]:
    version = wheels.SECOND_VERSIONS["metis_dcv"]
    wheel = wheels.wheel_file("metis_dcv", version)

    def of_admin(piece: Piece, kind: str, file: str) -> Artifact:
        return Artifact(piece, _facts(kind, ["admin"], file, SECOND_VERSION))

    return _first() | {
        "carrier": Artifact(
            SECOND_CARRIER, _facts("binary", ["carrier"], "carrier", SECOND_VERSION)
        ),
        "admin_jar": of_admin(admin.SECOND_ADMIN_JAR, "jar", admin.JAR),
        # A database that is new has the change already.
        "admin_sql": of_admin(admin.SECOND_ADMIN_SCHEMA, "sql", admin.SQL),
        _CHANGE: of_admin(admin.SECOND_ADMIN_SCHEMA, "sql", admin.CHANGE),
        "metis_dcv": Artifact(wheels.SECOND_FIGHTER, _facts("wheel", _FIGHTERS, wheel, version)),
    }


def _broken(
    form: str, name: str, breaks: Callable[[bytes], bytes], *, lies: bool = False
) -> Release:
    artifacts = _second()
    right = artifacts[name]
    artifacts[name] = Artifact(right.piece, right.facts, breaks, lies)
    return Release(f"{SECOND}-{form}", artifacts, [_CHANGE])


def _with_failing_change() -> Release:
    artifacts = _second()
    right = artifacts.pop(_CHANGE)
    # Of another name, as a database has each change once and may have the right one already.
    name = f"{_CHANGE}_failing"
    artifacts[name] = Artifact(right.piece, right.facts, lambda _: _FAILING)
    return Release(f"{SECOND}-schema", artifacts, [name])


# It is started again and again, and never becomes healthy.
_NEVER_HEALTHY = b"""\
#!/bin/sh
echo "starting carrier, which will register nothing"
sleep 1
echo "this release cannot serve" >&2
exit 1
"""
# Its first statement is done, and cannot be undone by the server itself.
_FAILING = b"""\
CREATE TABLE `half_done` (`id` int);
ALTER TABLE `a_table_that_is_not_there` ADD COLUMN `nothing` int;
"""

RELEASES = (
    Release(NAME, _first()),
    Release(SECOND, _second(), [_CHANGE]),
    _broken("carrier", "carrier", lambda _: _NEVER_HEALTHY),
    _broken("jar", "admin_jar", admin.without_main),
    _broken("corrupt", "metis_dcv", lambda right: right[:-1000], lies=True),
    _with_failing_change(),
)
