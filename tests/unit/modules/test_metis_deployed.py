"""The record of what is deployed."""

from __future__ import annotations

import stat
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_deployed, metis_secrets
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules(tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    (tmp_path / "pki").mkdir()
    own = {"__opts__": {"pki_dir": str(tmp_path / "pki")}}
    functions = orgs.by_salts_name(metis_secrets)
    wired = orgs.wired()
    wired[metis_deployed] = own | {"__salt__": functions}
    return wired | {metis_secrets: own}


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    assert metis_deployed.read("acme") == {}
    metis_deployed.keep("acme", {"consul@h1": {"release": "0.3.0"}})
    later = {"consul@h1": {"release": "0.4.0", "previous": "0.3.0"}}
    metis_deployed.keep("acme", {"carrier@h1": {"release": "0.3.0"}})
    metis_deployed.keep("acme", later)
    assert metis_deployed.read("acme") == later | {"carrier@h1": {"release": "0.3.0"}}
    assert metis_deployed.read("other") == {}
    folder = tmp_path / "pki/metis/deployed"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "acme.yaml").stat().st_mode) == 0o600


def test_an_organization_of_the_same_name_keeps_its_secrets() -> None:
    made = metis_secrets.kept("deployed", ["a"])
    metis_deployed.keep("deployed", {"consul@h1": {"release": "0.3.0"}})
    assert metis_secrets.kept("deployed", ["a"]) == made


def test_a_new_organization_gets_what_it_wants() -> None:
    found = metis_deployed.of(orgs.topology(), {})
    assert len(found) == 9
    assert {entry["release"] for entry in found.values()} == {"0.3.0"}


def test_a_host_more_is_no_upgrade() -> None:
    known = {
        "data@h4:8700": {"release": "0.2.0"},
        "consul@h1": {"release": "0.1.0", "previous": "0.0.1"},
        "consul@h2": {"release": "0.1.0"},
    }
    found = metis_deployed.of(orgs.topology(), known)
    assert found["consul@h1"] == {"release": "0.1.0", "previous": "0.0.1"}
    # As its role's others run; where none does, as the organization's do.
    assert found["consul@h3"] == {"release": "0.1.0"}
    assert found["data@h4:8701"] == {"release": "0.2.0"}
    assert found["admin@h2"] == {"release": "0.1.0"}


def test_what_is_of_the_distribution_has_no_release_to_switch() -> None:
    found = metis_deployed.switchable(orgs.topology()["instances"])
    assert [i["id"] for i in found if i["role"] == "ice_via"] == []
    assert len(found) == 8


A_FEW = [
    ([{"release": "1"}], []),
    ([{"release": "2", "previous": "1"}], ["1"]),
    # A roll-out that failed, or was cut off, half-way; and a rollback that was.
    ([{"release": "2", "previous": "1"}, {"release": "1", "previous": "0"}], ["1"]),
    ([{"release": "2", "previous": "1"}, {"release": "1"}], ["1"]),
    ([{"release": "2", "previous": "1"}, {"release": "2", "previous": "0"}], ["0", "1"]),
]


@pytest.mark.parametrize(("entries", "before"), A_FEW)
def test_the_way_back_is_where_the_others_are(
    entries: list[dict[str, Any]], before: list[str]
) -> None:
    assert metis_deployed.before(entries) == before


def test_every_release_of_every_organization_is_told() -> None:
    assert metis_deployed.releases() == []
    undone = {"release": "0.2.0", "undo": {"release": "0.2.1", "previous": "0.2.0"}}
    metis_deployed.keep("acme", {"consul@h1": {"release": "0.4.0", "previous": "0.3.0"}})
    metis_deployed.keep("other", {"consul@o1": undone})
    assert metis_deployed.releases() == ["0.2.0", "0.2.1", "0.3.0", "0.4.0"]
    later = {"acme": {"consul@h1": {"release": "0.5.0", "previous": "0.4.0"}}}
    assert metis_deployed.releases(later) == ["0.2.0", "0.2.1", "0.4.0", "0.5.0"]


def test_what_is_gone_is_dropped() -> None:
    there = {"consul@h1": {"release": "0.3.0"}, "carrier@h1": {"release": "0.3.0"}}
    metis_deployed.keep("acme", there)
    metis_deployed.drop("acme", "carrier@h1")
    metis_deployed.drop("acme", "carrier@h1")
    assert metis_deployed.read("acme") == {"consul@h1": {"release": "0.3.0"}}


def test_where_an_instance_is_and_its_release_are_kept_apart() -> None:
    ice = {"id": "ice_via@h1", "role": "ice_via", "host": "h1"}
    data = {"id": "data@h1:1", "role": "data", "host": "h1"}
    metis_deployed.note("acme", {"ice_via@h1": ice, "data@h1:1": data})
    assert metis_deployed.read("acme") == {}
    metis_deployed.keep("acme", {"data@h1:1": {"release": "0.3.0"}})
    metis_deployed.keep("acme", {"data@h1:1": {"release": "0.4.0", "previous": "0.3.0"}})
    metis_deployed.note("acme", {"data@h1:1": data | {"host": "h2"}})
    assert metis_deployed.read("acme") == {"data@h1:1": {"release": "0.4.0", "previous": "0.3.0"}}
    assert metis_deployed.traces("acme") == {
        "ice_via@h1": ice | {"release": None},
        "data@h1:1": data | {"host": "h2", "release": "0.4.0"},
    }
