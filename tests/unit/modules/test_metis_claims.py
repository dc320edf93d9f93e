"""What an organization makes on a host; that nothing is forgotten is seen in tests/render."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from _modules import metis_claims, metis_mysql
from tests.unit import orgs

Claim = dict[str, Any]


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired() | {metis_claims: {}}


def _claims(*roles: Any, **changes: Any) -> dict[tuple[str, str], Claim]:
    view = orgs.views(orgs.topology(orgs.one_host(*roles, **changes)))["h1"]
    return {(claim["kind"], claim["name"]): claim for claim in metis_claims.of(view)}


def test_the_instances_of_a_template_have_one_file() -> None:
    file = "/usr/local/lib/systemd/system/metis-data@.service"
    assert metis_claims.unit_file("metis-data@8700.service") == file
    assert metis_claims.unit_file("metis-data@8701.service") == file
    carrier = "/usr/local/lib/systemd/system/metis-carrier.service"
    assert metis_claims.unit_file("metis-carrier.service") == carrier


def test_a_thing_is_claimed_once_by_all_who_need_it() -> None:
    found = _claims("data", "data", "compute")
    fighters = ["data@h1:8700", "data@h1:8701", "compute@h1:8800"]
    assert found["tree", "/opt/metis/fighter"]["for"] == fighters
    assert found["package", "python3-venv"]["for"] == fighters
    assert found["package", "curl"]["for"] == ["carrier@h1", *fighters]
    assert found["user", "metis-data"]["for"] == fighters[:2]
    assert found["tree", "/var/lib/metis/data/8701"]["for"] == ["data@h1:8701"]


@pytest.mark.parametrize(
    ("part", "things"),
    [
        (
            "data",
            {
                "/var/lib/metis/consul",
                "/var/lib/metis/carrier",
                "/etc/metis/carrier/p2p.key",
                "/var/lib/metis/admin",
                "/srv/disk/8700",
            },
        ),
        ("logs", {"/var/log/metis/carrier", "/var/log/metis/admin", "/var/log/metis/data"}),
        ("database", {"metis_admin", "mariadb-server", "/var/lib/mysql", "/var/lib/metis/admin"}),
    ],
)
def test_what_is_kept_with_a_part(part: str, things: set[str]) -> None:
    found = _claims("admin", {"data": {"data_directory": "/srv/disk"}})
    named = {name for (_, name), claim in found.items() if part in claim["parts"]}
    assert things <= named
    assert not named & {"/etc/metis/admin", "/opt/metis/admin", "metis-carrier", "nginx-light"}


def test_what_is_a_servers_says_so() -> None:
    found = _claims("admin")
    own = {name for (_, name), claim in found.items() if claim.get("service") == "mariadb.service"}
    assert own == {
        "mariadb-server",
        "mariadb.service",
        "/var/lib/mysql",
        "/etc/mysql/mariadb.conf.d/60-metis.cnf",
        "/etc/systemd/system/mariadb.service",
        "/etc/systemd/system/mariadb.service.d/metis.conf",
    }
    assert metis_claims.DATABASES == metis_mysql.FOLDER
