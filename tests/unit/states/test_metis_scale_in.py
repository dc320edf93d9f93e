"""Out of an organization: what is taken out, in which order, and what is refused beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from _modules import metis_backup_master, metis_deployed, metis_orgs, metis_view
from _states import metis, metis_scale_in
from tests.unit import orgs
from tests.unit.states.fleet import (
    Answer,
    Fleet,
    Modules,
    State,
    gone,
    problems,
    returned,
    state,
    states,
)

ORDER = [["data", "compute"], ["ice_via"], ["admin"], ["carrier"], ["consul"]]
# What h4 has without one of its data instances, and with none of its own any more.
LESS = {"h4": ["data", "compute"]}
ONE_SERVER = {"h2": ["admin"], "h3": ["ice_via"]}
KEYS = ["instances", "keep", "drain", "lost", "confirm"]


class Hosts(Fleet):
    """Hosts that do as they are told, and three consul servers that are well."""

    def __init__(self) -> None:
        super().__init__()
        self.leader = 1
        self.unwell: dict[int, str] = {}
        self.registered: list[str] = []

    def answer(self, host: str, fun: str, kwarg: dict[str, Any]) -> Answer:
        """Give what a host answers of which a test said nothing."""
        usual = {
            "metis_consul.servers": [
                {
                    "name": f"consul_10.0.0.{n}",
                    "address": f"10.0.0.{n}:8200",
                    "leader": n == self.leader,
                    "wrong": self.unwell.get(n, ""),
                }
                for n in (1, 2, 3)
            ],
            "metis_consul.services": dict.fromkeys(self.registered, "passing"),
            "metis_consul.listens": True,
            "metis_consul.expel": "",
            "metis_consul.deregister": None,
        }
        return returned(usual[fun]) if fun in usual else super().answer(host, fun, kwarg)

    def told(self, fun: str) -> list[tuple[str, dict[str, Any]]]:
        """What hosts were told by a function: host and arguments, in turn."""
        return [(host, kwarg) for name, on, kwarg in self.jobs if name == fun for host in on]

    def left(self) -> list[list[str]]:
        """Which instances hosts were told to take out, job by job."""
        return [kwarg["only"] for fun, _, kwarg in self.jobs if fun == "metis_host.reach"]


@pytest.fixture
def hosts() -> Hosts:
    return Hosts()


@pytest.fixture
def configure_loader_modules(verb: Callable[..., Modules], hosts: Hosts) -> Modules:
    traces = create_autospec(
        metis_orgs.traces,
        side_effect=lambda topology: metis_view.traces(topology, {"0.3.0": orgs.RELEASE}),
    )
    functions = {"metis_orgs.traces": traces}
    return verb(hosts, metis_scale_in, metis_backup_master, functions=functions)


@pytest.fixture
def wants(asked: dict[str, Any]) -> Callable[..., dict[str, Any]]:
    """The organization's file has these roles on some hosts, and what it had is on record."""

    def change(roles: dict[str, list[Any]], **others: Any) -> dict[str, Any]:
        file = orgs.org_file(**others)
        for host, own in roles.items():
            if own:
                file["hosts"].setdefault(host, {"address": "10.0.0.9"})["roles"] = own
            else:
                del file["hosts"][host]
        topology = orgs.topology(file)
        topology["leaving"] = metis_deployed.leaving(topology, metis_deployed.traces("acme"))
        asked["metis"] = {"orgs": {"acme": {"file": "acme.sls", "faults": []}}}
        asked["metis"]["orgs"]["acme"]["topology"] = topology
        return topology

    return change


@pytest.fixture
def deployed(wants: Callable[..., Any]) -> None:
    """The usual organization is on record."""
    wants({})
    assert _recorded()["result"] is True


def _recorded() -> State:
    metis.guarded("guard")
    return metis_scale_in.recorded("recorded")


def _scaled_in() -> State:
    """The whole verb: its last phase, or the one that failed."""
    done = metis.guarded("guard", takes=KEYS, leaving=True)
    if done["result"] is not False:
        done = metis_scale_in.prepared("prepared")
    for roles in ORDER:
        if done["result"] is False:
            return done
        done = metis_scale_in.taken_out("taken out", roles)
    return done


def _on_record() -> set[str]:
    return set(metis_deployed.traces("acme"))


# What other verbs do


def test_a_deploy_records_every_instance_once(
    wants: Callable[..., Any], opts: dict[str, Any]
) -> None:
    wants({})
    opts["test"] = True
    told = _recorded()
    assert (told["result"], len(told["changes"]), _on_record()) == (None, 9, set())
    opts["test"] = False
    assert _recorded()["changes"] == told["changes"]
    assert len(_on_record()) == 9
    again = _recorded()
    assert (again["result"], again["changes"]) == (True, {})


def test_a_deploy_ends_what_was_agreed_for_a_restore_that_was_cut_off(
    wants: Callable[..., Any], opts: dict[str, Any]
) -> None:
    wants({})
    record = {"backup": "ab", "parts": ["p2p.key"], "since": 0}
    metis_backup_master.keep_begun("acme", record)
    opts["test"] = True
    _recorded()
    assert metis_backup_master.begun("acme") == record
    opts["test"] = False
    _recorded()
    assert metis_backup_master.begun("acme") == {}


def test_the_record_has_no_secret(wants: Callable[..., Any], tmp_path: Path) -> None:
    own = {"mysql_password": "Spr1ng-tide-Harbour"}
    wants({}, admin=own)
    _recorded()
    text = (tmp_path / "metis/deployed/acme.yaml").read_text()
    assert "metis_admin" in text
    assert own["mysql_password"] not in text


def test_a_deploy_names_what_is_not_wanted_any_more_and_goes_on(
    wants: Callable[..., Any], deployed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    wants(LESS)
    done = _recorded()
    assert (done["result"], done["changes"]) == (True, {})
    assert "data@h4:8701; metis.scale_in takes them out" in capsys.readouterr().err


def test_a_carrier_goes_before_another_comes(wants: Callable[..., Any], deployed: None) -> None:
    wants({"h1": ["consul"], "h4": ["carrier", "data", "data", "compute"]})
    done = _recorded()
    assert done["result"] is False
    assert problems(done)[0].startswith("carrier@h4 is wanted, and carrier@h1 is deployed")
    assert '"roles": "carrier", "keep": "data,database"' in done["comment"]
    assert "carrier@h4" not in _on_record()


# Taking out


def test_nothing_to_take_out_is_well(
    wants: Callable[..., Any],
    deployed: None,
    hosts: Hosts,
    asked: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    hosts.jobs.clear()
    assert _scaled_in()["result"] is True
    assert "passed over" not in capsys.readouterr().err
    asked["hosts"] = "h9"
    assert _scaled_in()["result"] is True
    assert "h9 is neither in the organization's file" in capsys.readouterr().err
    assert hosts.jobs == []


def test_an_instance_is_taken_out_and_dropped_from_the_record(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants(LESS)
    asked["keep"], asked["drain"] = "data, logs", 5
    assert _scaled_in()["result"] is True
    (one,) = hosts.told("metis_host.reach")
    assert one[0] == "h4"
    assert (one[1]["to"], one[1]["only"]) == ("left", ["data@h4:8701"])
    assert (one[1]["roles"], one[1]["keep"], one[1]["drain"]) == (
        {"h4": ["data"]},
        ["data", "logs"],
        5,
    )
    assert "data@h4:8701" not in _on_record()
    assert len(_on_record()) == 8


def test_a_host_has_time_for_the_tasks_of_all_its_fighters(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    # One after the other, each for as long as it takes.
    wants(ONE_SERVER | {"h4": ["compute"], "h5": ["data"]})
    asked["drain"] = 3600
    assert _scaled_in()["result"] is True
    called = [call.args for call in hosts.function.call_args_list]
    timeouts = [args[3] for args in called if args[1] == "metis_host.reach"]
    assert timeouts == [2 * 3600 + 600, 600, 600]


def test_a_dry_run_tells_and_drops_nothing(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, opts: dict[str, Any]
) -> None:
    wants(LESS | ONE_SERVER)
    opts["test"] = True
    done = _scaled_in()
    assert done["result"] is None
    assert all(kwarg["test"] for _, kwarg in hosts.told("metis_host.reach"))
    assert hosts.told("metis_consul.expel") == []
    assert len(_on_record()) == 9


def test_what_a_host_could_not_remove_stays_on_record(
    wants: Callable[..., Any], deployed: None, hosts: Hosts
) -> None:
    wants(LESS)
    hosts.on("h4", "metis_host.reach", states(state("It is gone", result=False, comment="no")))
    done = _scaled_in()
    assert (done["result"], problems(done)) == (False, ["h4: It is gone: no"])
    assert "data@h4:8701" in _on_record()
    hosts.on("h4", "metis_host.reach", states())
    assert _scaled_in()["result"] is True
    assert "data@h4:8701" not in _on_record()


def test_only_what_is_named_is_taken_out(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants({"h4": ["compute"]})
    asked["instances"] = "data@h4:8701"
    _scaled_in()
    assert hosts.left() == [["data@h4:8701"]]


def test_what_is_left_out_is_no_nothing(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants(LESS)
    asked["roles"] = "compute"
    metis.guarded("guard", takes=KEYS, leaving=True)
    done = metis_scale_in.prepared("prepared")
    assert done["result"] is True
    assert done["comment"].endswith("all that is deployed and not wanted, data@h4:8701")


def test_a_name_among_others_that_nothing_has_is_told(
    wants: Callable[..., Any],
    deployed: None,
    hosts: Hosts,
    asked: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    wants(LESS)
    asked["instances"], asked["lost"] = "data@h4:8701,data@h4:8702", "h9"
    hosts.on("h9", "test.ping", gone("missing"))
    assert _scaled_in()["result"] is True
    told = capsys.readouterr().err
    for name in ("data@h4:8702", "h9"):
        assert (
            f"{name} is neither in the organization's file nor to be taken out: passed over" in told
        )
    assert hosts.left() == [["data@h4:8701"]]


@pytest.mark.parametrize(
    ("moved", "identity", "part", "other"),
    [
        (
            {"h1": ["consul"], "h4": ["data", "compute", "carrier"]},
            "carrier@h1",
            "data",
            "database",
        ),
        ({"h2": ["consul"], "h4": ["data", "compute", "admin"]}, "admin@h2", "database", "data"),
    ],
)
def test_what_cannot_be_had_again_is_kept_or_its_loss_confirmed(
    wants: Callable[..., Any],
    deployed: None,
    hosts: Hosts,
    asked: dict[str, Any],
    opts: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    moved: dict[str, Any],
    identity: str,
    part: str,
    other: str,
) -> None:
    wants(moved)
    told = f"{identity} would be removed with"
    for keep in ("", other):
        asked["keep"] = keep
        done = _scaled_in()
        assert (done["result"], done["reason"]) == (False, "invalid-input")
        assert told in done["comment"]
        assert f"keep: {part}" in done["comment"]
        assert "confirm: acme" in done["comment"]
    assert hosts.left() == []
    # A dry run tells it, and all else.
    opts["test"] = True
    capsys.readouterr()
    assert _scaled_in()["result"] is not False
    assert told in capsys.readouterr().err
    opts["test"] = False
    hosts.jobs.clear()
    asked["keep"] = part
    assert _scaled_in()["result"] is True
    assert hosts.left() == [["data@h4:8701"], [identity]]


def test_a_loss_that_is_confirmed_is_none(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants({"h1": ["consul"], "h4": ["data", "data", "compute", "carrier"]})
    asked["confirm"] = "acme"
    assert _scaled_in()["result"] is True
    assert hosts.left() == [["carrier@h1"]]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"keep": "everything"}, "keep has everything, and what can be kept is data"),
        ({"drain": "soon"}, "drain is 'soon', and has to be seconds"),
        ({"drain": -1}, "drain is -1"),
        ({"confirm": "other"}, "confirm is 'other', and the organization is acme"),
        ({"instances": "data@h4:8700"}, "data@h4:8700 is wanted"),
        ({"instances": "data@h4:8702"}, "data@h4:8702 is neither in the organization's file nor"),
        ({"lost": "h4"}, "h4 has wanted instances, and is said to be lost"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_touched(
    wants: Callable[..., Any],
    deployed: None,
    hosts: Hosts,
    asked: dict[str, Any],
    given: dict[str, Any],
    wrong: str,
) -> None:
    wants(LESS)
    asked |= given
    done = _scaled_in()
    assert (done["result"], done["reason"]) == (False, "invalid-input")
    assert wrong in done["comment"]
    assert hosts.left() == []


# consul


def test_servers_leave_one_by_one_and_the_leader_last(
    wants: Callable[..., Any], deployed: None, hosts: Hosts
) -> None:
    wants(ONE_SERVER)
    hosts.leader = 2
    assert _scaled_in()["result"] is True
    assert hosts.left() == [["consul@h3"], ["consul@h2"]]
    expelled = hosts.told("metis_consul.expel")
    assert [(host, kwarg["server"]) for host, kwarg in expelled] == [
        ("h1", "10.0.0.3:8200"),
        ("h1", "10.0.0.2:8200"),
    ]
    assert not {"consul@h2", "consul@h3"} & _on_record()


def test_an_even_number_of_servers_is_refused(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants(ONE_SERVER)
    asked["hosts"] = "h2"
    done = _scaled_in()
    assert done["result"] is False
    assert "would have 2 servers (consul@h1, consul@h3)" in done["comment"]
    assert hosts.left() == []


def test_a_step_that_would_lose_quorum_is_refused(
    wants: Callable[..., Any], deployed: None, hosts: Hosts
) -> None:
    wants(ONE_SERVER)
    hosts.unwell[1] = "is failed, is not healthy"
    done = _scaled_in()
    assert done["result"] is False
    assert "consul@h1 stays and is failed, is not healthy" in done["comment"]
    assert hosts.left() == []


def test_the_agent_of_others_stays_until_they_have_another(
    wants: Callable[..., Any], deployed: None, hosts: Hosts
) -> None:
    wants({"h1": ["carrier"], "h5": ["consul"]})
    hosts.registered = ["carrierService_10.0.0.1_10033"]
    hosts.answers["h2", "metis_consul.servers"] = [
        returned(
            [
                {"name": "", "address": f"10.0.0.{n}:8200", "leader": n == 2, "wrong": ""}
                for n in (1, 2, 3, 9)
            ]
        )
    ]
    done = _scaled_in()
    assert done["result"] is False
    assert "consul@h1 is the agent of carrier@h1: deploy first" in done["comment"]
    assert hosts.left() == []
    hosts.answers["h1", "metis_consul.services"] = [returned({})]
    assert _scaled_in()["result"] is True
    assert hosts.left() == [["consul@h1"]]


# Lost hosts


def test_a_dead_host_is_missing_unless_it_is_said_to_be_lost(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants({"h4": []})
    hosts.on("h4", "metis_host.ready", gone("silent"))
    hosts.on("h4", "test.ping", gone("silent"))
    done = _scaled_in()
    assert (done["result"], done["reason"]) == (False, "hosts-missing")
    asked["lost"] = ["h4"]
    assert _scaled_in()["result"] is True
    assert hosts.left() == []
    assert [
        (host, kwarg["service_id"]) for host, kwarg in hosts.told("metis_consul.deregister")
    ] == [
        ("h1", "jobService_10.0.0.4_8800"),
        ("h1", "dataService_10.0.0.4_8700"),
        ("h1", "dataService_10.0.0.4_8701"),
    ]
    assert not {name for name in _on_record() if "@h4" in name}


def test_a_host_that_answers_is_not_lost(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants({"h4": []})
    asked["lost"] = "h4"
    hosts.on("h4", "test.ping", returned(True))
    done = _scaled_in()
    assert done["result"] is False
    assert "h4 answers, so it is not lost" in done["comment"]
    assert "data@h4:8700" in _on_record()


def test_a_lost_server_is_expelled_by_those_that_stay(
    wants: Callable[..., Any], deployed: None, hosts: Hosts, asked: dict[str, Any]
) -> None:
    wants({"h2": ["admin"], "h3": []}, ice_via={"enabled": True, "external_address": None})
    asked["lost"] = "h3"
    hosts.on("h3", "test.ping", gone("missing"))
    hosts.unwell[3] = "is failed"
    done = _scaled_in()
    assert done["result"] is True, done["comment"]
    # The one that is down first, so that the others bear the next step.
    assert [kwarg["server"] for _, kwarg in hosts.told("metis_consul.expel")] == [
        "10.0.0.3:8200",
        "10.0.0.2:8200",
    ]
    assert hosts.left() == [["consul@h2"]]
