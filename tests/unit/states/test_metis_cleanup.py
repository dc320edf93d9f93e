"""An organization goes: what is told, what is refused, and what is forgotten."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from _modules import metis_deployed, metis_secrets
from _states import metis, metis_cleanup
from tests.unit import orgs
from tests.unit.states.fleet import (
    INSTANCES,
    RELEASED,
    Fleet,
    Modules,
    State,
    gone,
    returned,
    state,
    states,
)

pytestmark = pytest.mark.usefixtures("acme")

HOSTS = list(INSTANCES)
KINDS = ("paths", "folders", "units", "packages", "databases", "accounts", "registered")


def _survey(**more: Any) -> dict[str, Any]:
    """What a host says that has a carrier, and nothing running."""
    found: dict[str, Any] = {kind: [] for kind in (*KINDS, "kept", "stays", "running")}
    found |= {"paths": ["/etc/metis/carrier"], "users": {"metis-carrier": 990}}
    return found | {"services": {}, "agent": {}, "identity": None} | more


@pytest.fixture
def asked() -> dict[str, Any]:
    return {"confirm": "acme"}


@pytest.fixture
def hosts() -> Fleet:
    fleet = Fleet()
    for host in HOSTS:
        fleet.on(host, "metis_absence.survey", returned(_survey()))
        fleet.on(host, "metis_absence.left", returned([]))
    return fleet


@pytest.fixture
def configure_loader_modules(verb: Callable[..., Modules], hosts: Fleet) -> Modules:
    return verb(hosts, metis_cleanup)


@pytest.fixture
def deployed(tmp_path: Path) -> Path:
    """What the master keeps of an organization that was deployed; its folder."""
    metis_deployed.keep("acme", {name: {"release": "0.3.0"} for name in RELEASED})
    metis_secrets.kept("acme", ["mysql_password"])
    return tmp_path / "metis"


def _run() -> dict[str, State]:
    """Run the phases as Salt does, each where those before it held."""
    takes = ["confirm", "keep", "forget_identity"]
    done = {"guarded": metis.guarded("guarded", takes=takes)}
    phases = ("surveyed", "allowed", "removed", "proven", "forgotten")
    for phase in phases:
        more = {"timeout": 900} if phase == "removed" else {}
        done[phase] = getattr(metis_cleanup, phase)(phase, **more)
    return done


def _told(hosts: Fleet, fun: str) -> dict[str, Any]:
    (kwarg,) = (kwarg for name, _, kwarg in hosts.jobs if name == fun)
    return kwarg


def _failed(done: dict[str, State]) -> tuple[str, State]:
    """The phase that failed; those after it were not tried."""
    failed = [name for name, found in done.items() if found["result"] is False]
    assert all("not tried" in done[name]["comment"] for name in failed[1:])
    return failed[0], done[failed[0]]


def test_everything_goes_from_every_host_at_once(hosts: Fleet, deployed: Path) -> None:
    done = _run()
    assert {name: found["result"] for name, found in done.items()} == dict.fromkeys(done, True)
    things = ["users: metis-carrier", "paths: /etc/metis/carrier"]
    assert done["removed"]["changes"] == dict.fromkeys(HOSTS, things)
    assert hosts.acted() == [HOSTS]
    told = _told(hosts, "metis_host.reach")
    assert (told["to"], told["keep"]) == ("absent", [])
    # Roles that the file has taken from a host too.
    assert {host: {*told["roles"][host], *told["besides"][host]} for host in HOSTS} == {
        host: {"consul", "carrier", "admin", "ice_via", "data", "compute"} for host in HOSTS
    }
    assert _told(hosts, "metis_absence.left") == {"surveys": dict.fromkeys(HOSTS, _survey())}
    assert not list(deployed.glob("**/*.yaml"))


def test_what_goes_is_told_before_anything_does(
    hosts: Fleet, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    del asked["confirm"]
    more = {"kept": ["tree /var/lib/metis"], "stays": ["package curl was there before"]}
    hosts.on("h4", "metis_absence.survey", returned(_survey(units=["a.service"], **more)))
    name, found = _failed(_run())
    assert (name, found["reason"]) == ("allowed", "invalid-input")
    assert "give confirm: acme" in found["comment"]
    told = [line.partition("  ")[2].strip() for line in capsys.readouterr().err.splitlines()]
    lines = [line.rpartition(" s  ")[2].strip() for line in told]
    expected = [
        "h4: units: a.service",
        "h4: users: metis-carrier",
        "h4: paths: /etc/metis/carrier",
        "h4: kept: tree /var/lib/metis",
        "h4: stays: package curl was there before",
    ]
    assert [line for line in lines if line.startswith("h4")] == expected
    assert not hosts.acted()


def test_nothing_goes_while_something_runs(hosts: Fleet) -> None:
    for host in ("h1", "h3"):
        running = _survey(running=["metis-consul.service"])
        hosts.on(host, "metis_absence.survey", returned(running))
    name, found = _failed(_run())
    assert (name, found["reason"]) == ("allowed", "failed")
    for host in ("h1", "h3"):
        assert f"{host}: metis-consul.service still runs: run metis.stop first" in found["comment"]
    assert not hosts.acted()


def test_what_is_on_a_host_that_the_file_has_no_more_goes_first(
    hosts: Fleet, deployed: Path, acme: dict[str, Any]
) -> None:
    topology = acme["topology"]
    topology["leaving"] = [{"id": "data@h9:8700", "host": "h9", "role": "data"}]
    name, found = _failed(_run())
    assert (name, found["reason"]) == ("allowed", "failed")
    assert "data@h9:8700 is deployed" in found["comment"]
    assert "run metis.scale_in first" in found["comment"]
    assert not hosts.acted()


def test_what_was_not_looked_at_is_not_forgotten(
    hosts: Fleet, deployed: Path, acme: dict[str, Any]
) -> None:
    # Its host is in the file, with nothing that is switched on.
    off = orgs.org_file(compute={"enabled": False})
    off["hosts"]["h4"]["roles"] = ["compute"]
    off["hosts"]["h5"] = {"address": "10.0.0.5", "roles": ["data"]}
    hosts.on("h5", "metis_absence.survey", returned(_survey()))
    acme |= orgs.built(off)
    topology = acme["topology"]
    topology["leaving"] = [{"id": "data@h4:8700", "host": "h4", "role": "data"}]
    name, found = _failed(_run())
    assert (name, found["reason"]) == ("allowed", "failed")
    assert "data@h4:8700 is deployed" in found["comment"]
    assert "run metis.scale_in first" in found["comment"]
    assert not hosts.acted()
    # What leaves a host that is looked at goes with it.
    topology["leaving"] = [{"id": "data@h5:8701", "host": "h5", "role": "data"}]
    hosts.on("h5", "metis_absence.left", returned([]))
    assert _run()["forgotten"]["result"] is True


may_be_in_the_network = pytest.mark.parametrize(
    ("identity", "told"),
    [
        ({"joined": ["identity:1"], "unknown": ""}, "is in the network as identity:1: deregister"),
        ({"joined": [], "unknown": "MariaDB is stopped"}, "it is not known .*: MariaDB is stopped"),
    ],
)


@may_be_in_the_network
def test_an_identity_is_not_left_in_the_network_without_a_word(
    hosts: Fleet, asked: dict[str, Any], identity: dict[str, Any], told: str
) -> None:
    hosts.on("h2", "metis_absence.survey", returned(_survey(identity=identity)))
    name, found = _failed(_run())
    assert name == "allowed"
    assert re.search(f"h2: .*{told}", found["comment"])
    assert "forget_identity: true" in found["comment"]
    assert not hosts.acted()
    asked["forget_identity"] = True
    assert _run()["removed"]["result"] is True


@pytest.fixture
def admin() -> None:
    """On record: where admin is, and what its database is called."""
    trace = {"id": "admin@h2", "role": "admin", "host": "h2", "database": "metis_admin"}
    metis_deployed.note("acme", {"admin@h2": trace})


@pytest.mark.parametrize("filters", [{"roles": "carrier"}, {"hosts": "h1"}])
@may_be_in_the_network
def test_a_carrier_does_not_go_alone_while_its_identity_is_in_the_network(
    hosts: Fleet,
    asked: dict[str, Any],
    admin: None,
    identity: dict[str, Any],
    told: str,
    filters: dict[str, Any],
) -> None:
    asked |= filters
    hosts.on("h2", "metis_identity.known", returned(identity))
    name, found = _failed(_run())
    assert name == "allowed"
    assert re.search(f"h2: .*{told}", found["comment"])
    assert _told(hosts, "metis_identity.known") == {"database": "metis_admin"}
    assert not hosts.acted()
    asked["forget_identity"] = True
    assert _run()["removed"]["result"] is True


def test_a_carrier_does_not_go_alone_where_admin_s_host_does_not_say(
    hosts: Fleet, asked: dict[str, Any], admin: None
) -> None:
    asked["roles"] = "carrier"
    hosts.on("h2", "metis_identity.known", gone("silent"))
    name, found = _failed(_run())
    assert (name, found["reason"]) == ("surveyed", "hosts-missing")
    assert not hosts.acted()


@pytest.mark.parametrize("filters", [{"hosts": "h4"}, {"roles": "carrier", "keep": "data"}])
def test_what_leaves_the_node_its_key_asks_nobody_for_the_identity(
    hosts: Fleet, asked: dict[str, Any], admin: None, filters: dict[str, Any]
) -> None:
    asked |= filters
    assert _run()["removed"]["result"] is True
    assert not hosts.acted("metis_identity.known")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"confirm": "other"}, "confirm is 'other', and the organization is acme"),
        ({"keep": "data,mony"}, "keep has 'mony': it takes data, database, logs"),
        ({"keep": ["everything"]}, "keep has 'everything'"),
        ({"forget_identity": "yes"}, "forget_identity is true or false"),
    ],
)
def test_words_that_are_wrong_are_told_before_hosts_are_asked(
    hosts: Fleet, asked: dict[str, Any], opts: dict[str, Any], given: dict[str, Any], told: str
) -> None:
    asked |= given
    for test in (True, False):
        opts["test"] = test
        name, found = _failed(_run())
        assert (name, found["reason"]) == ("surveyed", "invalid-input")
        assert told in found["comment"]
    assert not hosts.acted("metis_absence.survey")


def test_a_dry_run_tells_what_the_real_one_does(
    hosts: Fleet, opts: dict[str, Any], asked: dict[str, Any], deployed: Path
) -> None:
    opts["test"] = True
    # A dry run needs no confirmation.
    confirm = asked.pop("confirm")
    told = _run()
    assert {name for name, found in told.items() if found["result"] is None} == {
        "removed",
        "forgotten",
    }
    assert _told(hosts, "metis_host.reach")["test"] is True
    assert len(list(deployed.glob("**/*.yaml"))) == 2
    opts["test"] = False
    asked["confirm"] = confirm
    done = _run()
    assert {name: found["changes"] for name, found in told.items()} == {
        name: found["changes"] for name, found in done.items()
    }


def test_a_dry_run_of_what_runs_fails_as_the_real_one(hosts: Fleet, opts: dict[str, Any]) -> None:
    opts["test"] = True
    hosts.on("h1", "metis_absence.survey", returned(_survey(running=["metis-consul.service"])))
    assert _failed(_run())[0] == "allowed"


def test_what_is_kept_is_told_to_the_hosts(hosts: Fleet, asked: dict[str, Any]) -> None:
    asked["keep"] = "data, logs"
    _run()
    assert _told(hosts, "metis_absence.survey")["keep"] == ["data", "logs"]
    assert _told(hosts, "metis_host.reach")["keep"] == ["data", "logs"]


def test_passwords_stay_with_the_database(asked: dict[str, Any], deployed: Path) -> None:
    asked["keep"] = ["database"]
    done = _run()["forgotten"]
    assert "its passwords and its authority are kept" in done["comment"]
    assert [file.name for file in deployed.glob("**/*.yaml")] == ["acme.yaml"]
    assert not (deployed / "deployed/acme.yaml").exists()


@pytest.mark.parametrize("filters", [{"roles": "data,compute"}, {"hosts": ["h4"]}])
def test_a_part_of_the_organization_goes_alone(
    hosts: Fleet, asked: dict[str, Any], deployed: Path, filters: dict[str, Any]
) -> None:
    asked |= filters
    done = _run()
    assert done["forgotten"]["result"] is True
    assert hosts.acted() == [["h4"]]
    left = metis_deployed.read("acme")
    assert [name for name in RELEASED if name not in left] == [
        "data@h4:8700",
        "data@h4:8701",
        "compute@h4:8800",
    ]
    # The rest needs these.
    assert (deployed / "acme.yaml").exists()
    besides = _told(hosts, "metis_host.reach")["besides"]["h4"]
    assert ("carrier" in besides) is ("hosts" in filters)


def test_what_is_switched_off_stays(hosts: Fleet, acme: dict[str, Any], deployed: Path) -> None:
    acme |= orgs.built(orgs.org_file(compute={"enabled": False}))
    _run()
    assert list(metis_deployed.read("acme")) == ["compute@h4:8800"]
    assert (deployed / "acme.yaml").exists()
    told = _told(hosts, "metis_host.reach")
    assert "compute" not in told["roles"]["h4"] + told["besides"]["h4"]


def test_what_is_left_on_a_host_fails_it(hosts: Fleet, deployed: Path) -> None:
    hosts.on("h3", "metis_absence.left", returned(["/etc/metis/ice_via", "user metis-ice-via"]))
    name, found = _failed(_run())
    assert name == "proven"
    told = "h3: is still there: /etc/metis/ice_via, user metis-ice-via"
    assert found["comment"].startswith(told)
    # The same command goes on.
    assert set(metis_deployed.read("acme")) == set(RELEASED)


def test_a_host_that_fails_does_not_hide_the_others(hosts: Fleet, deployed: Path) -> None:
    failed = state("What has gone carries no mark", result=False, comment="is still there: /x")
    hosts.on("h2", "metis_host.reach", states(failed))
    hosts.on("h3", "metis_host.reach", gone("silent"))
    name, found = _failed(_run())
    assert name == "removed"
    assert "h2: What has gone carries no mark: is still there: /x" in found["comment"]
    assert "h3 does not answer" in found["comment"]
    assert found["reason"] == "hosts-missing"
    assert (deployed / "deployed/acme.yaml").exists()


@pytest.mark.parametrize("fun", ["metis_absence.survey", "metis_absence.left"])
def test_a_host_that_does_not_say_is_no_host_without_anything(hosts: Fleet, fun: str) -> None:
    hosts.on("h2", fun, gone("silent"))
    _, found = _failed(_run())
    assert "h2 does not answer" in found["comment"]
    assert found["reason"] == "hosts-missing"


def test_a_second_time_there_is_nothing(hosts: Fleet) -> None:
    for host in HOSTS:
        nothing = _survey(paths=[], users={})
        hosts.on(host, "metis_absence.survey", returned(nothing))
    done = _run()
    assert all(found["changes"] == {} for found in done.values())
    assert done["removed"]["comment"] == "there was nothing"
