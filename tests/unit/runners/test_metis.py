"""The operator's read side: every instance a row, whatever its host answers."""

from __future__ import annotations

import time
from types import ModuleType
from typing import Any
from unittest.mock import Mock, create_autospec

import pytest
from salt.exceptions import CommandExecutionError
from salt.runners import salt as salt_runner

from _modules import metis_certificates, metis_fleet, metis_orgs
from _output import metis_table
from _runners import metis
from tests.unit import orgs

Answer = dict[str, Any]


ORGANIZATION: list[dict[str, Any]] = [
    {"id": name, "host": name.partition("@")[2].partition(":")[0]}
    for name in (
        "consul@h1",
        "carrier@h1",
        "consul@h2",
        "admin@h2",
        "consul@h3",
        "ice_via@h3",
        "data@h4:8700",
        "data@h4:8701",
        "compute@h4:8800",
    )
]


def _instance(name: str, **others: Any) -> dict[str, Any]:
    own: dict[str, Any] = {
        "id": name,
        "role": name.partition("@")[0],
        "state": "running",
        "since": None,
    }
    own |= {"version": "0.3.0", "registration": "passing", "drift": [], "ending": ""}
    return own | {"healthy": True, "cause": ""} | others


def _answered(value: Any) -> Answer:
    return {"answer": "returned", "retcode": 0, "return": value}


@pytest.fixture
def known() -> dict[str, Any]:
    """The organizations."""
    return {}


@pytest.fixture
def answers() -> dict[str, Answer]:
    """What each host of the usual organization answers: that all is well."""
    found = {}
    for host in ("h1", "h2", "h3", "h4"):
        own = [i["id"] for i in ORGANIZATION if i["host"] == host]
        found[host] = _answered([_instance(name) for name in own])
    return found


@pytest.fixture
def fleet(answers: dict[str, Answer]) -> Any:
    return create_autospec(
        metis_fleet.run,
        side_effect=lambda hosts, fun, kwarg=None, timeout=900, progress=None: {
            host: answers[host] for host in hosts
        },
    )


@pytest.fixture
def configure_loader_modules(
    known: dict[str, Any], fleet: Mock
) -> dict[ModuleType, dict[str, Any]]:
    pure = orgs.wired()
    functions = next(iter(pure.values()))["__salt__"] | {
        "metis_orgs.read": create_autospec(metis_orgs.read, return_value=known),
        "metis_fleet.run": fleet,
        "metis_certificates.authority": create_autospec(
            metis_certificates.authority, side_effect=lambda org: f"the authority of {org}\n"
        ),
    }

    def cmd(fun: str, *args: Any, **kwargs: Any) -> Any:
        return functions[fun](*args, **kwargs)

    own = {"__salt__": {"salt.cmd": create_autospec(salt_runner.cmd, side_effect=cmd)}}
    return pure | {metis: own}


@pytest.fixture
def acme(known: dict[str, Any]) -> None:
    known["acme"] = {"file": "/pillar/orgs/acme.sls", **orgs.built(orgs.org_file())}


def _rows() -> tuple[dict[str, dict[str, Any]], int]:
    shown = metis.status("acme")
    assert shown["outputter"] == "metis_table"
    rows = {row["instance"]: row for row in shown["data"]}
    assert list(rows) == [instance["id"] for instance in ORGANIZATION]
    # Whatever it is, it is one line a row.
    assert len(metis_table.output(shown).splitlines()) == len(rows) + 1
    return rows, shown["retcode"]


@pytest.mark.usefixtures("acme")
def test_a_healthy_organization(fleet: Mock) -> None:
    rows, retcode = _rows()
    assert retcode == 0
    assert rows["data@h4:8701"] == {
        "instance": "data@h4:8701",
        "address": "10.0.0.4",
        "state": "running",
        "release": "0.3.0",
        "up": "-",
        "registered": "passing",
        "health": "healthy",
    }
    # Every host is asked once, and none for ever.
    (call,) = fleet.call_args_list
    assert call.args[:2] == (["h1", "h2", "h3", "h4"], "metis_instance.status")
    assert call.kwargs["timeout"] <= 60


@pytest.mark.usefixtures("acme")
def test_what_runs_is_shown_also_where_another_release_is_wanted(known: dict[str, Any]) -> None:
    topology = known["acme"]["topology"]
    topology["release"] = "0.4.0"
    topology["deployed"]["carrier@h1"] = {"release": "0.4.0", "previous": "0.3.0"}
    rows, retcode = _rows()
    assert rows["consul@h1"]["release"] == "0.3.0 (0.4.0 is wanted)"
    # What is on record is not what is shown.
    assert rows["carrier@h1"]["release"] == "0.3.0"
    # It is healthy all the same.
    assert retcode == 0


@pytest.mark.usefixtures("acme")
def test_what_registers_nothing_and_has_no_release_is_no_question(
    answers: dict[str, Answer],
) -> None:
    ice = _instance("ice_via@h3", registration=None, version=None)
    answers["h3"] = _answered([_instance("consul@h3"), ice])
    rows, retcode = _rows()
    assert (rows["ice_via@h3"]["registered"], rows["ice_via@h3"]["release"]) == ("-", "-")
    assert retcode == 0


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (-3, "0 s"),
        (59, "59 s"),
        (61, "1 min"),
        (7300, "2 h"),
        (3 * 86400 + 5, "3 d"),
    ],
)
def test_how_long_it_is_up(answers: dict[str, Answer], ago: float, shown: str) -> None:
    since = time.time() - ago
    answers["h1"] = _answered([_instance("consul@h1"), _instance("carrier@h1", since=since)])
    assert _rows()[0]["carrier@h1"]["up"] == shown


@pytest.mark.usefixtures("acme")
def test_what_is_not_healthy_has_its_cause_and_a_code(answers: dict[str, Answer]) -> None:
    wrong = _instance(
        "carrier@h1", state="down", healthy=False, cause="metis-carrier.service is failed"
    )
    answers["h1"] = _answered([_instance("consul@h1"), wrong])
    rows, retcode = _rows()
    assert rows["carrier@h1"]["state"] == "down"
    assert rows["carrier@h1"]["health"] == "metis-carrier.service is failed"
    assert rows["consul@h1"]["health"] == "healthy"
    assert retcode == 1


@pytest.mark.usefixtures("acme")
def test_what_runs_with_older_files_is_told(answers: dict[str, Answer]) -> None:
    drifted = _instance("carrier@h1", drift=["/etc/metis/carrier/carrier.yml"])
    answers["h1"] = _answered([_instance("consul@h1"), drifted])
    rows, retcode = _rows()
    assert rows["carrier@h1"]["health"] == (
        "healthy; changed since it started: /etc/metis/carrier/carrier.yml"
    )
    assert retcode == 1


@pytest.mark.usefixtures("acme")
@pytest.mark.parametrize(
    ("answer", "health"),
    [
        ({"answer": "silent", "retcode": None, "return": None}, "host silent"),
        ({"answer": "missing", "retcode": None, "return": None}, "host missing"),
        ({"answer": "late", "retcode": None, "return": None}, "host late"),
        (_answered("ERROR: h4 is a host of no\nvalid file"), "ERROR: h4 is a host of no"),
        (_answered(""), ""),
        (_answered(None), "None"),
    ],
)
def test_of_a_host_that_does_not_tell_nothing_is_known(
    answers: dict[str, Answer], answer: Answer, health: str
) -> None:
    answers["h4"] = answer
    rows, retcode = _rows()
    for name in ("data@h4:8700", "data@h4:8701", "compute@h4:8800"):
        assert (rows[name]["state"], rows[name]["registered"]) == ("unknown", "unknown")
        assert rows[name]["health"] == health
    assert rows["consul@h1"]["health"] == "healthy"
    assert retcode == 1


@pytest.mark.usefixtures("acme")
def test_an_instance_that_its_host_does_not_know(answers: dict[str, Answer]) -> None:
    answers["h4"] = _answered([_instance("data@h4:8700"), _instance("compute@h4:8800")])
    rows, retcode = _rows()
    assert rows["data@h4:8701"]["state"] == "unknown"
    assert "its host does not know of it" in rows["data@h4:8701"]["health"]
    assert retcode == 1


@pytest.mark.usefixtures("acme")
def test_the_only_organization_need_not_be_named() -> None:
    assert len(metis.status()["data"]) == 9


@pytest.mark.usefixtures("acme")
def test_what_is_switched_off_has_no_row(known: dict[str, Any]) -> None:
    known["acme"] |= orgs.built(orgs.org_file(data={"enabled": False}))
    assert len(metis.status("acme")["data"]) == 7


@pytest.mark.usefixtures("acme")
def test_a_master_that_takes_no_job_is_a_text_with_a_code(fleet: Mock) -> None:
    fleet.side_effect = CommandExecutionError("the Salt master does not take jobs: timed out")
    shown = metis.status("acme")
    assert shown["data"] == "the Salt master does not take jobs: timed out"
    assert shown["retcode"] == 1


def test_an_error_is_a_text_with_a_code(known: dict[str, Any], fleet: Mock) -> None:
    known["acme"] = {"file": "/acme.sls", **orgs.built(orgs.org_file(ice_via={}))}
    for org, words in (("amce", "known are acme"), ("acme", "ice_via.external_address is missing")):
        shown = metis.status(org)
        assert words in shown["data"]
        assert shown["retcode"] == 1
    fleet.assert_not_called()


@pytest.mark.parametrize(
    ("own", "ending", "told"),
    [
        (None, "ends soon", "healthy; its certificate ends soon: run metis.deploy"),
        (
            "/a.pem",
            "ends soon",
            "healthy; its certificate ends soon: replace /a.pem and run metis.deploy",
        ),
        (
            "/a.pem",
            "has ended",
            "its certificate has ended: replace /a.pem and run metis.deploy",
        ),
    ],
)
def test_a_certificate_at_its_end_is_told_with_what_renews_it(
    answers: dict[str, Answer],
    known: dict[str, Any],
    acme: None,
    own: str | None,
    ending: str,
    told: str,
) -> None:
    for instance in known["acme"]["topology"]["instances"]:
        if instance["id"] == "ice_via@h3":
            instance["settings"]["certificate"] = own
    answers["h3"] = _answered([_instance("consul@h3"), _instance("ice_via@h3", ending=ending)])
    rows, code = _rows()
    assert code == 1
    assert rows["ice_via@h3"]["health"] == told


def test_the_authority_of_an_organization(acme: None) -> None:
    assert (
        metis.ca("acme")
        == metis.ca()
        == {
            "data": "the authority of acme",
            "outputter": "metis_table",
            "retcode": 0,
        }
    )
    assert metis.ca("other")["retcode"] == 1


def test_what_is_deployed_and_not_wanted_has_a_row(
    acme: None, known: dict[str, Any], answers: dict[str, Answer]
) -> None:
    cause = "deployed, and not wanted any more: metis.scale_in takes it out"
    gone = {"id": "data@h9:8700", "host": "h9", "address": "10.0.0.9", "role": "data"}
    known["acme"]["topology"]["leaving"] = [gone]
    answers["h9"] = _answered([_instance("data@h9:8700", healthy=False, cause=cause)])
    shown = metis.status("acme")
    assert shown["retcode"] == 1
    row = shown["data"][-1]
    assert (row["instance"], row["state"], row["health"]) == ("data@h9:8700", "running", cause)
    assert row["release"] == "0.3.0"
    answers["h9"] = {"answer": "silent", "retcode": None, "return": None}
    row = metis.status("acme")["data"][-1]
    assert (row["instance"], row["state"], row["health"]) == (
        "data@h9:8700",
        "unknown",
        "host silent",
    )
