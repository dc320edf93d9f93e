"""What a verb was asked for, and what the operator is told where that cannot be."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from _modules import metis_orgfile, metis_verb
from tests.unit import orgs


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


@pytest.fixture
def known() -> dict[str, dict[str, Any]]:
    return {
        "acme": {"file": "/pillar/orgs/acme.sls", **orgs.built(orgs.org_file())},
        "other": {"file": "/pillar/orgs/other.sls", **orgs.built(orgs.one_host())},
    }


def _ids(asked: dict[str, Any], known: dict[str, dict[str, Any]]) -> list[str]:
    request = metis_verb.request({"org": "acme"} | asked, known)
    assert request["error"] == ""
    assert request["org"] == "acme"
    assert request["topology"] is known["acme"]["topology"]
    return [instance["id"] for instance in request["instances"]]


def _error(asked: dict[str, Any], known: dict[str, dict[str, Any]]) -> str:
    request = metis_verb.request(asked, known)
    # With no instances in it, a verb that overlooks the error has nothing to act on.
    assert list(request) == ["error", "org"]
    error = request["error"]
    assert isinstance(error, str)
    assert error
    return error


def test_the_only_organization_need_not_be_named(known: dict[str, dict[str, Any]]) -> None:
    del known["other"]
    assert metis_verb.request({}, known)["org"] == "acme"
    assert metis_verb.request({"org": None}, known)["org"] == "acme"


def test_of_several_organizations_one_must_be_named(known: dict[str, dict[str, Any]]) -> None:
    error = _error({}, known)
    assert "pillar='{\"org\": ...}'" in error
    assert "acme, other" in error


def test_an_unknown_organization_is_told_with_those_that_are_known(
    known: dict[str, dict[str, Any]],
) -> None:
    assert _error({"org": "amce"}, known) == (
        "there is no organization amce; known are acme, other"
    )


def test_without_any_organization_the_file_to_write_is_named() -> None:
    assert "pillar/orgs/<org>.sls" in _error({}, {})
    assert "pillar/orgs/<org>.sls" in _error({"org": "acme"}, {})


@pytest.mark.parametrize("asked", [{}, {"org": "mine"}, {"org": "/srv/own/orgs"}])
def test_a_closed_folder_may_have_the_organization_that_is_meant(
    known: dict[str, dict[str, Any]], asked: dict[str, Any]
) -> None:
    del known["other"]
    fault = metis_orgfile.fault("/srv/own/orgs", "cannot be read: x", "chown it")
    known["/srv/own/orgs"] = {"file": "/srv/own/orgs", "topology": None, "faults": [fault]}
    told = "/srv/own/orgs cannot be read: x: chown it"
    assert _error(asked, known).endswith(f"known are acme\n{told}")
    assert metis_verb.request({"org": "acme"}, known)["error"] == ""
    del known["acme"]
    assert _error(asked, known).endswith(f"known are none\n{told}")
    assert metis_verb.request(asked, known)["org"] == ""


@pytest.mark.parametrize("ssh", [{"user": "x", "password": "y-secret"}, ["y-secret"], 7])
def test_access_that_is_not_in_a_file_is_refused_and_never_shown(
    known: dict[str, dict[str, Any]], ssh: Any
) -> None:
    asked = {"org": "acme", "ssh": ssh}
    request = metis_verb.request(asked, known, ["ssh"])
    assert request["error"].startswith("ssh in the pillar is to be the path of a file, or ask: ")
    assert "y-secret" not in request["error"]
    assert metis_verb.given(asked) == {"org": "acme"}
    good = {"org": "acme", "ssh": "/root/acme-ssh.yaml"}
    assert metis_verb.request(good, known, ["ssh"])["error"] == ""
    assert metis_verb.given(good) == good


def test_everything_that_is_switched_on_is_meant(known: dict[str, dict[str, Any]]) -> None:
    assert len(_ids({}, known)) == 9
    known["acme"] |= orgs.built(orgs.org_file(data={"enabled": False}))
    assert "data@h4:8700" not in _ids({}, known)


@pytest.mark.parametrize(
    ("asked", "ids"),
    [
        ({"roles": ["carrier"]}, ["carrier@h1"]),
        ({"roles": "carrier,admin"}, ["carrier@h1", "admin@h2"]),
        ({"roles": "carrier, admin"}, ["carrier@h1", "admin@h2"]),
        ({"hosts": "h1"}, ["consul@h1", "carrier@h1"]),
        ({"hosts": ["h1", "h3"], "roles": ["consul"]}, ["consul@h1", "consul@h3"]),
        ({"hosts": "h4", "roles": "compute"}, ["compute@h4:8800"]),
    ],
)
def test_filters_are_lists_or_text_with_commas(
    known: dict[str, dict[str, Any]], asked: dict[str, Any], ids: list[str]
) -> None:
    assert _ids(asked, known) == ids


@pytest.mark.parametrize("nothing", [None, "", [], " "])
def test_an_empty_filter_is_none(known: dict[str, dict[str, Any]], nothing: Any) -> None:
    assert len(_ids({"hosts": nothing, "roles": nothing}, known)) == 9


def test_every_wrong_name_in_a_filter_is_told(known: dict[str, dict[str, Any]]) -> None:
    error = _error({"org": "acme", "hosts": "h1,h8,h9", "roles": ["carier", "data"]}, known)
    assert error.splitlines() == [
        "the organization acme has no host h8; it has h1, h2, h3, h4",
        "the organization acme has no host h9; it has h1, h2, h3, h4",
        f"there is no role carier; known are {', '.join(metis_orgfile.ROLES)}",
    ]


def test_filters_that_leave_nothing_are_an_error(known: dict[str, dict[str, Any]]) -> None:
    assert "nothing of the organization acme is left" in _error(
        {"org": "acme", "hosts": "h1", "roles": "data"}, known
    )


def test_every_fault_of_the_file_is_told_with_place_value_and_fix(
    known: dict[str, dict[str, Any]],
) -> None:
    file = orgs.org_file(carrier={"rpc_port": 80}, relase="0.3.0")
    known["acme"] |= orgs.built(file)
    lines = _error({"org": "acme"}, known).splitlines()
    assert lines[0] == "/pillar/orgs/acme.sls has 3 faults; no host was touched:"
    assert len(lines) == 4
    assert "  relase is not a setting known here: did you mean release?" in lines
    assert any(line.startswith("  carrier.rpc_port ") and "(now: 80)" in line for line in lines)
    assert any(line.startswith("  carrier.external_address is missing") for line in lines)


def test_a_fault_of_one_organization_stops_no_verb_of_another(
    known: dict[str, dict[str, Any]],
) -> None:
    known["other"] |= orgs.built(orgs.org_file(hosts={}))
    assert len(_ids({}, known)) == 9
    assert "has 1 fault; no host was touched" in _error({"org": "other"}, known)


def test_verbs_know_the_roles_of_the_file() -> None:
    assert metis_verb.ROLES == metis_orgfile.ROLES


def test_an_organization_of_digits_may_come_as_a_number(known: dict[str, dict[str, Any]]) -> None:
    known["2024"] = known["acme"]
    assert metis_verb.request({"org": 2024}, known)["org"] == "2024"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("role", "roles"),
        ("host", "hosts"),
        ("Hosts", "hosts"),
        ("organization", "org"),
        ("ogr", "org"),
    ],
)
def test_a_misspelt_filter_stops_a_verb(
    known: dict[str, dict[str, Any]], key: str, meant: str
) -> None:
    error = _error({"org": "acme", key: "data"}, known)
    assert error == f"{key} in the pillar is not known: did you mean {meant}?"


def test_other_keys_of_the_master_s_pillar_are_no_business_of_a_verb(
    known: dict[str, dict[str, Any]],
) -> None:
    asked = {"org": "acme", "metis": {}, "mine": 1, "motd": "x", "metis_agent_since": 0}
    assert metis_verb.request(asked, known)["error"] == ""


@pytest.mark.parametrize(
    ("given", "verbs"),
    [
        ({"confirm": "acme"}, "metis.cleanup, metis.restore and metis.scale_in"),
        ({"keep": "data"}, "metis.cleanup and metis.scale_in"),
        ({"forget_identity": True}, "metis.cleanup"),
        ({"lost": "h4"}, "metis.scale_in"),
        ({"instances": "data@h4:8700"}, "metis.scale_in"),
    ],
)
def test_what_is_said_to_some_verbs_is_said_to_no_other(given: dict[str, Any], verbs: str) -> None:
    orgs_of = {"acme": {"faults": [], "topology": orgs.topology(), "file": "acme.sls"}}
    (key,) = given
    told = metis_verb.request({"org": "acme", **given}, orgs_of)["error"]
    assert told == f"{key} in the pillar is for {verbs} alone"
    assert metis_verb.request({"org": "acme", **given}, orgs_of, [key])["error"] == ""


# What is leaving


@pytest.fixture
def leaving(known: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """What was taken out of the file and is there still."""
    topology = known["acme"]["topology"]
    one = {"role": "data", "service": {"id": "dataService_10.0.0.9_8700"}, "agent": {"host": "h1"}}
    topology["leaving"] = [
        one | {"id": "data@h9:8700", "host": "h9"},
        {"id": "consul@h5", "role": "consul", "host": "h5", "service": None},
    ]
    found: list[dict[str, Any]] = topology["leaving"]
    return found


@pytest.mark.parametrize(
    ("asked", "chosen", "hosts"),
    [
        # Those that stay of consul have to answer, where one of them leaves.
        ({}, ["data@h9:8700", "consul@h5"], ["h1", "h2", "h3", "h5", "h9"]),
        ({"roles": "data"}, ["data@h9:8700"], ["h9"]),
        ({"hosts": "h9"}, ["data@h9:8700"], ["h9"]),
        ({"instances": "consul@h5"}, ["consul@h5"], ["h1", "h2", "h3", "h5"]),
        # The agent has to forget what is on a lost host.
        ({"roles": "data", "lost": "h9"}, ["data@h9:8700"], ["h1"]),
        ({"hosts": "h1"}, [], []),
        ({"roles": "compute"}, [], []),
        # The other one has been taken out before this run was cut off, as far as anybody knows.
        ({"hosts": "h8,h9"}, ["data@h9:8700"], ["h9"]),
    ],
)
def test_a_scale_in_is_about_what_is_leaving(
    known: dict[str, dict[str, Any]],
    leaving: list[dict[str, Any]],
    asked: dict[str, Any],
    chosen: list[str],
    hosts: list[str],
) -> None:
    takes = ["instances", "keep", "drain", "lost"]
    found = metis_verb.request({"org": "acme", **asked}, known, takes, leaving=True)
    assert found["error"] == ""
    assert [instance["id"] for instance in found["instances"]] == chosen
    assert found["hosts"] == hosts


@pytest.mark.parametrize(
    ("asked", "unknown"),
    [
        ({"hosts": "h8"}, ["h8"]),
        ({"instances": "data@h9:1, consul@h6"}, ["data@h9:1", "consul@h6"]),
        ({"instances": "consul@h6", "hosts": "h8", "lost": "h8,h7"}, ["consul@h6", "h8", "h7"]),
    ],
)
def test_a_name_that_nothing_has_is_no_scale_in_of_nothing(
    known: dict[str, dict[str, Any]],
    leaving: list[dict[str, Any]],
    asked: dict[str, Any],
    unknown: list[str],
) -> None:
    takes = ["instances", "lost"]
    told = metis_verb.request({"org": "acme", **asked}, known, takes, leaving=True)["error"]
    mistaken = (
        "is neither in the organization's file nor to be taken out; "
        "to be taken out are data@h9:8700, consul@h5"
    )
    assert told.splitlines() == [f"{name} {mistaken}" for name in unknown]
    # It may be what was taken out last, and then there is nothing to do.
    leaving.clear()
    found = metis_verb.request({"org": "acme", **asked}, known, takes, leaving=True)
    assert (found["error"], found["instances"], found["unknown"]) == ("", [], unknown)


def test_what_is_wanted_is_not_taken_out(
    known: dict[str, dict[str, Any]], leaving: list[dict[str, Any]]
) -> None:
    asked = {"org": "acme", "instances": "data@h4:8700", "lost": ["h4", "h9"], "roles": "date"}
    told = metis_verb.request(asked, known, ["instances", "lost"], leaving=True)["error"]
    assert told.splitlines() == [
        "there is no role date; known are consul, carrier, admin, ice_via, data, compute",
        "data@h4:8700 is wanted, and only what is not is taken out: take its line out of the "
        "organization's file first",
        "h4 has wanted instances, and is said to be lost: take it out of the organization's file "
        "first",
    ]
