"""The instances of a host as the running system shows them."""

from __future__ import annotations

import copy
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pytest
from salt.exceptions import CommandExecutionError
from salt.modules import pillar as pillar_module
from salt.modules import x509_v2

from _modules import (
    metis_certificates,
    metis_consul,
    metis_health,
    metis_host,
    metis_instance,
    metis_unit,
)
from tests.unit import orgs
from tests.unit.systemd import Systemd, Unit, up

STARTED = 2000.0
Found = dict[str, dict[str, Any]]


class World:
    """A host and what it sees: its units, the registrations on the agent, what answers."""

    def __init__(self) -> None:
        self.systemd = Systemd()
        self.view: dict[str, Any] = {}
        self.registered: dict[str, str] | str = {}
        self.cluster: dict[str, Any] | str = {}
        self.keys: dict[str, str | None] = {}
        self.http = ""
        self.ice: dict[int, str] = {}
        self.days_left = 300
        self.closed: set[int] = set()
        self.waited: list[tuple[str, float]] = []
        self.pillar = create_autospec(
            pillar_module.items, side_effect=lambda *args, **kwargs: {"metis": self.view}
        )

    def functions(self) -> dict[str, Any]:
        """Give what stands in for the functions that ask others."""

        def wait(agent: dict[str, Any], service: dict[str, Any], timeout: float) -> str:
            self.waited.append((service["id"], timeout))
            return self.services().get(service["id"], "absent")

        answers: dict[Any, Any] = {
            metis_consul.services: lambda agent: dict(self.services()),
            metis_consul.wait_for_service: wait,
            metis_consul.cluster: self._clustered,
            metis_consul.key: lambda agent, name: self.keys.get(name),
            metis_health.http: lambda url, body="", certificate=None: self.http,
            metis_health.ice: lambda address, port, certificate=None: self.ice.get(port, ""),
        }
        return {
            f"{function.__module__.rpartition('.')[2]}.{function.__name__}": create_autospec(
                function, side_effect=answer
            )
            for function, answer in answers.items()
        }

    def _clustered(self, agent: dict[str, Any]) -> Any:
        # Each server is asked itself, not the one that the programs use.
        assert agent == {"address": self.view["address"], "port": 8500}
        return _or_raise(self.cluster)

    def services(self) -> dict[str, str]:
        """Give the registrations, where the agent tells them."""
        found: dict[str, str] = _or_raise(self.registered)
        return found


def _or_raise(value: Any) -> Any:
    if isinstance(value, str):
        raise CommandExecutionError(value)
    return value


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def configure_loader_modules(world: World) -> dict[ModuleType, dict[str, Any]]:
    functions = world.functions() | orgs.by_salts_name(metis_certificates, metis_unit)
    functions["cmd.run_all"] = world.systemd.run_all
    functions["pillar.items"] = world.pillar
    functions["metis_unit.missing_ports"] = create_autospec(
        metis_unit.missing_ports,
        side_effect=lambda pids, wanted: [f"tcp port {p}" for _, p in wanted if p in world.closed],
    )
    functions["x509.expires"] = create_autospec(
        x509_v2.expires, side_effect=lambda certificate, days=0: world.days_left <= days
    )
    functions["metis_host.alone"] = create_autospec(metis_host.alone)
    opts = {"id": "h4"}
    return orgs.wired() | {
        metis_certificates: {"__salt__": functions},
        metis_unit: {"__salt__": functions},
        metis_instance: {"__salt__": functions, "__opts__": opts},
    }


@pytest.fixture
def on(world: World, tmp_path: Path) -> Any:
    """Puts the world onto a host of the usual organization, where all is well."""

    def put(host: str) -> World:
        world.view = copy.deepcopy(orgs.views(orgs.topology())[host])
        for role in world.view["roles"].values():
            for instance in role["instances"]:
                for unit in instance["units"]:
                    world.systemd.units[unit] = up(STARTED, pid=0)
                    file = tmp_path / unit
                    file.write_text("")
                    os.utime(file, (1000, 1000))
                    instance["files"][unit] = [str(file)]
                if instance["service"]:
                    assert isinstance(world.registered, dict)
                    world.registered[instance["service"]["id"]] = "passing"
                if "keys" in instance:
                    world.keys = dict(instance["keys"])
                    peers = [f"10.0.0.{n}:8200" for n in (1, 2, 3)]
                    world.cluster = {"leader": peers[0], "peers": peers}
        return world

    return put


def _status(wait: float = 0) -> Found:
    return {found["id"]: found for found in metis_instance.status(wait)}


@pytest.mark.parametrize(
    ("host", "ids"),
    [
        ("h1", ["consul@h1", "carrier@h1"]),
        ("h2", ["consul@h2", "admin@h2"]),
        ("h3", ["consul@h3", "ice_via@h3"]),
        ("h4", ["data@h4:8700", "data@h4:8701", "compute@h4:8800"]),
    ],
)
def test_where_all_is_well_every_instance_is_healthy(on: Any, host: str, ids: list[str]) -> None:
    on(host)
    found = _status()
    assert list(found) == ids
    for instance in found.values():
        registers = instance["role"] not in ("consul", "ice_via")
        assert instance == {
            "id": instance["id"],
            "role": instance["id"].partition("@")[0],
            "state": "running",
            "since": STARTED,
            "version": None,
            "registration": "passing" if registers else None,
            "drift": [],
            "ending": "",
            "healthy": True,
            "cause": "",
            "explained": "",
        }


@pytest.mark.parametrize(
    ("unit", "state", "cause"),
    [
        (Unit(masked=True), "stopped", "stopped on purpose: metis.start starts it"),
        (Unit(enabled=True), "down", "metis-carrier.service is inactive"),
        (
            Unit(active="failed", sub="failed", result="exit-code", status=1),
            "down",
            "metis-carrier.service is failed (exit-code)",
        ),
        (
            Unit(active="activating", sub="auto-restart", result="exit-code", status=1),
            "down",
            "metis-carrier.service is activating (exit-code)",
        ),
        (up(STARTED, active="reloading"), "running", ""),
        (None, "absent", "metis-carrier.service is absent"),
    ],
    ids=["stopped", "inactive", "failed", "crashing", "reloading", "not installed"],
)
def test_the_state_of_a_unit_is_the_instance_s(
    on: Any, world: World, unit: Unit | None, state: str, cause: str
) -> None:
    on("h1")
    if unit:
        world.systemd.units["metis-carrier.service"] = unit
    else:
        del world.systemd.units["metis-carrier.service"]
    found = _status()["carrier@h1"]
    assert (found["state"], found["cause"]) == (state, cause)
    assert found["healthy"] is not bool(cause)
    if state != "running":
        assert found["since"] is None


def test_of_several_units_all_must_run(on: Any, world: World) -> None:
    on("h2")
    world.systemd.units["nginx.service"] = Unit(enabled=True)
    found = _status()["admin@h2"]
    assert (found["state"], found["cause"]) == ("down", "nginx.service is inactive")
    for unit in ("mariadb.service", "metis-admin.service", "nginx.service"):
        world.systemd.units[unit] = Unit(masked=True)
    assert _status()["admin@h2"]["state"] == "stopped"


def test_an_instance_is_as_old_as_its_youngest_unit(on: Any, world: World) -> None:
    on("h2")
    world.systemd.units["nginx.service"] = up(STARTED + 500, pid=0)
    assert _status()["admin@h2"]["since"] == STARTED + 500


def test_what_runs_with_older_files_drifts_and_is_healthy(on: Any, world: World) -> None:
    on("h4")
    (file,) = world.view["roles"]["data"]["instances"][1]["files"]["metis-data@8701.service"]
    os.utime(file, (3000, 3000))
    found = _status()
    assert {name: one["drift"] for name, one in found.items() if one["drift"]} == {
        "data@h4:8701": [file]
    }
    assert found["data@h4:8701"]["healthy"]
    world.systemd.units["metis-data@8701.service"] = Unit(masked=True)
    assert _status()["data@h4:8701"]["drift"] == []


@pytest.mark.parametrize("registration", ["warning", "critical", "absent"])
def test_what_is_not_registered_and_passing_is_not_healthy(
    on: Any, world: World, registration: str
) -> None:
    on("h4")
    assert isinstance(world.registered, dict)
    if registration == "absent":
        del world.registered["dataService_10.0.0.4_8700"]
    else:
        world.registered["dataService_10.0.0.4_8700"] = registration
    found = _status()
    assert found["data@h4:8700"]["registration"] == registration
    assert found["data@h4:8700"]["cause"] == f"dataService_10.0.0.4_8700 is {registration}"
    assert found["data@h4:8701"]["healthy"]


def test_without_the_agent_no_registration_is_known(on: Any, world: World) -> None:
    on("h3")
    on("h4")
    world.registered = "consul at 10.0.0.1:8500 cannot be reached"
    for instance in _status().values():
        assert instance["state"] == "running"
        assert instance["registration"] == "unknown"
        assert instance["cause"] == "consul at 10.0.0.1:8500 cannot be reached"


@pytest.mark.parametrize(
    ("cluster", "cause"),
    [
        ({"leader": "", "peers": []}, "consul has no leader"),
        (
            {"leader": "10.0.0.1:8200", "peers": ["10.0.0.1:8200"]},
            "consul has 1 of 3 peers",
        ),
        (
            "consul at 10.0.0.1:8500 does not answer",
            "consul at 10.0.0.1:8500 does not answer",
        ),
    ],
)
def test_a_consul_without_its_cluster_is_not_healthy(
    on: Any, world: World, cluster: Any, cause: str
) -> None:
    on("h1")
    world.cluster = cluster
    assert _status()["consul@h1"]["cause"] == cause


def test_a_key_that_was_changed_by_hand_is_not_healthy(on: Any, world: World) -> None:
    on("h1")
    world.keys["metis/via_ip_port"] = "10.9.9.9_1"
    assert _status()["consul@h1"]["cause"] == (
        "key metis/via_ip_port is 10.9.9.9_1, not ice.acme.example_10031"
    )


def test_admin_must_answer_through_nginx(on: Any, world: World) -> None:
    on("h2")
    world.http = "http://10.0.0.2:80/metis-admin/health answers 502"
    assert _status()["admin@h2"]["cause"] == world.http


def test_both_ice_endpoints_must_greet(on: Any, world: World) -> None:
    on("h3")
    world.ice = {10031: "glacier2 is silent", 10032: "icegrid is silent"}
    assert _status()["ice_via@h3"]["cause"] == "icegrid is silent; glacier2 is silent"


def test_registrations_are_waited_for_together_and_not_one_after_the_other(
    on: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("h4")
    ticks = iter(range(0, 1000, 20))
    monkeypatch.setattr(metis_instance.time, "monotonic", lambda: float(next(ticks)))
    metis_instance.status(wait=30)
    assert world.waited == [
        ("dataService_10.0.0.4_8700", 10.0),
        ("dataService_10.0.0.4_8701", 0.0),
        ("jobService_10.0.0.4_8800", 0.0),
    ]


def test_an_agent_that_is_gone_is_asked_again_to_the_end(on: Any, world: World) -> None:
    on("h4")
    world.registered = "consul at 10.0.0.1:8500 cannot be reached"
    begun = time.monotonic()
    found = metis_instance.status(wait=1)
    assert world.waited == []
    assert 1 <= time.monotonic() - begun < 5
    assert all("cannot be reached" in instance["cause"] for instance in found)


def test_an_agent_that_comes_back_is_waited_for(
    on: Any, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    on("h4")
    registered, world.registered = world.registered, "consul at 10.0.0.1:8500 cannot be reached"

    def comes_back(seconds: float) -> None:
        world.registered = registered

    monkeypatch.setattr(metis_instance.time, "sleep", comes_back)
    assert all(instance["healthy"] for instance in metis_instance.status(wait=30))


@pytest.mark.parametrize("unit", [up(STARTED, masked=True), up(STARTED, enabled=False)])
def test_what_would_not_come_back_after_a_reboot_is_not_healthy(
    on: Any, world: World, unit: Unit
) -> None:
    on("h1")
    world.systemd.units["metis-carrier.service"] = unit
    found = _status()["carrier@h1"]
    assert found["state"] == "running"
    assert found["cause"] == "metis-carrier.service would not come back after a reboot"


@pytest.fixture
def process(tmp_path: Path) -> Iterator[int]:
    """A process that was started in the directory of a release, by the link to it."""
    release = tmp_path / "carrier/releases/0.3.0"
    release.mkdir(parents=True)
    current = tmp_path / "carrier/current"
    current.symlink_to(release)
    with subprocess.Popen(["sleep", "60"], cwd=current) as started:
        yield started.pid
        started.kill()


def test_the_release_is_the_one_that_runs_and_not_the_one_that_is_set(
    on: Any, world: World, process: int, tmp_path: Path
) -> None:
    on("h1")
    world.systemd.units["metis-carrier.service"] = up(STARTED, pid=process)
    (tmp_path / "carrier/current").unlink()
    (tmp_path / "carrier/current").symlink_to(tmp_path / "carrier/releases/0.4.0")
    assert _status()["carrier@h1"]["version"] == "0.3.0"


def test_a_process_that_just_ended_has_no_release(on: Any, world: World) -> None:
    on("h1")
    ended = subprocess.Popen(["true"])
    ended.wait(5)
    world.systemd.units["metis-carrier.service"] = up(STARTED, pid=ended.pid)
    assert _status()["carrier@h1"]["version"] is None


def test_a_host_without_a_role_has_no_instance(on: Any, world: World) -> None:
    on("h4")
    world.view["roles"] = {}
    world.registered = "consul is not asked"
    assert metis_instance.status() == []


def test_the_view_is_the_master_s_of_now(on: Any, world: World) -> None:
    on("h4")
    assert metis_instance._view() == world.view
    world.pillar.assert_called_with(unmask=True)


def test_a_host_of_no_organization_is_told_so(world: World) -> None:
    with pytest.raises(CommandExecutionError, match="h4 is a host of no valid organization file"):
        metis_instance.status()


def test_a_view_that_is_given_is_not_asked_for(on: Any, world: World) -> None:
    on("h4")
    seen = world.view
    world.view = {}
    assert len(metis_instance.status(seen=seen)) == 3
    world.pillar.assert_not_called()


# Ports


def test_a_program_without_one_of_its_ports_is_not_healthy(on: Any) -> None:
    on("h1").closed = {10036}
    found = _status()
    assert found["consul@h1"]["healthy"] is True
    carrier = found["carrier@h1"]
    assert (carrier["healthy"], carrier["cause"]) == (False, "it does not listen on tcp port 10036")
    first, state, *_ = carrier["explained"].splitlines()
    assert first == carrier["cause"]
    assert state.startswith("metis-carrier.service is active (running)")


# Certificates


@pytest.fixture
def secured(on: Any, tmp_path: Path) -> Any:
    """The host of admin, which shows a certificate that ends in so many days."""

    def put(days: int) -> Found:
        world = on("h2")
        world.days_left = days
        shown = tmp_path / "server.crt"
        shown.touch()
        world.view["roles"]["admin"]["instances"][0]["tls"]["shown"] = str(shown)
        return _status()

    return put


@pytest.mark.parametrize(("days", "ending"), [(31, ""), (30, "ends soon"), (1, "ends soon")])
def test_a_certificate_that_ends_soon_is_told(secured: Any, days: int, ending: str) -> None:
    found = secured(days)
    assert (found["admin@h2"]["healthy"], found["admin@h2"]["ending"]) == (True, ending)
    assert found["consul@h2"]["ending"] == ""


def test_a_certificate_that_has_ended_is_not_healthy(secured: Any, tmp_path: Path) -> None:
    found = secured(0)["admin@h2"]
    assert found["healthy"] is False
    assert found["cause"] == f"its certificate {tmp_path / 'server.crt'} has ended"


def test_the_operator_s_own_that_has_ended_is_told_and_stops_nothing(
    on: Any, tmp_path: Path
) -> None:
    world = on("h2")
    world.days_left = 0
    (admin,) = world.view["roles"]["admin"]["instances"]
    (tmp_path / "server.crt").touch()
    admin["tls"]["shown"] = str(tmp_path / "server.crt")
    admin["settings"]["certificate"] = "/etc/ssl/own.pem"
    found = _status()["admin@h2"]
    assert (found["healthy"], found["ending"]) == (True, "has ended")


def test_what_is_not_wanted_any_more_is_looked_at_where_it_is_asked_for(
    on: Any, world: World
) -> None:
    on("h4")
    data = world.view["roles"]["data"]
    left = data["instances"].pop()
    agent = {"host": "h1", "address": "10.0.0.1", "port": 8500}
    world.view["leaving"] = {
        "data": data | {"instances": [left | {"agent": agent, "role": "data"}]}
    }
    assert "data@h4:8701" not in _status()
    (found,) = [i for i in metis_instance.status(leaving=True) if i["id"] == "data@h4:8701"]
    assert (found["state"], found["registration"], found["healthy"]) == (
        "running",
        "passing",
        False,
    )
    assert found["since"] == STARTED
    assert found["cause"] == "deployed, and not wanted any more: metis.scale_in takes it out"
    world.registered = "consul cannot be reached"
    del world.systemd.units["metis-data@8701.service"]
    (found,) = [i for i in metis_instance.status(leaving=True) if i["id"] == "data@h4:8701"]
    assert (found["state"], found["registration"]) == ("absent", "unknown")


@pytest.mark.parametrize(
    ("role", "host", "part"), [("carrier", "h1", "data"), ("admin", "h2", "database")]
)
def test_what_cannot_be_had_again_is_named_with_what_keeps_it(
    on: Any, world: World, role: str, host: str, part: str
) -> None:
    on(host)
    left = world.view["roles"].pop(role)
    left["instances"][0] |= {"agent": world.view["agent"], "role": role}
    world.view["leaving"] = {role: left}
    (found,) = [i for i in metis_instance.status(leaving=True) if i["role"] == role]
    assert found["cause"].endswith(f"takes it out, with keep: {part} or confirm: acme")


def test_what_was_stopped_on_purpose_is_not_waited_for(on: Any) -> None:
    world = on("h4")
    stopped = Unit(masked=True)
    world.systemd.units["metis-data@8701.service"] = stopped
    del world.registered["dataService_10.0.0.4_8701"]
    assert _status(10)["data@h4:8701"]["state"] == "stopped"
    assert {service for service, _ in world.waited} == {
        "dataService_10.0.0.4_8700",
        "jobService_10.0.0.4_8800",
    }


# Restarted


def test_an_instance_is_restarted_with_all_its_units_and_no_other(on: Any) -> None:
    world = on("h2")
    found = metis_instance.restart("admin@h2", 10)
    assert world.systemd.ordered == ["restart mariadb.service metis-admin.service nginx.service"]
    assert (found["id"], found["healthy"]) == ("admin@h2", True)
    assert found["since"] > STARTED
    # Its own registration was waited for.
    assert {service for service, _ in world.waited} == {"adminService_10.0.0.2_9090"}


def test_states_are_kept_away_meanwhile(on: Any) -> None:
    on("h4")
    alone = vars(metis_instance)["__salt__"]["metis_host.alone"]
    metis_instance.restart("data@h4:8700", 10, __pub_jid="2026")
    alone.assert_called_once_with("metis_instance.restart", "2026")
    alone.side_effect = CommandExecutionError("another run is at work on this host")
    with pytest.raises(CommandExecutionError, match="another run is at work"):
        metis_instance.restart("data@h4:8700", 10)


def test_who_is_not_well_on_the_same_host_is_not_waited_for(on: Any) -> None:
    world = on("h4")
    world.registered["dataService_10.0.0.4_8701"] = "critical"
    assert metis_instance.restart("data@h4:8700", 0.1)["healthy"] is True


def test_a_key_that_a_reload_is_to_write_does_not_hold_a_restart_up(on: Any) -> None:
    world = on("h1")
    world.keys = dict.fromkeys(world.keys, "192.0.2.9_1")
    assert not _status()["consul@h1"]["healthy"]
    assert metis_instance.restart("consul@h1", 10)["healthy"] is True


def test_one_that_does_not_get_well_is_returned_with_its_cause(on: Any) -> None:
    world = on("h3")
    world.ice[10031] = "nothing answers on port 10031"
    begun = time.monotonic()
    found = metis_instance.restart("ice_via@h3", 0.2)
    assert (found["healthy"], found["cause"]) == (False, "nothing answers on port 10031")
    assert time.monotonic() - begun >= 0.2


def test_one_that_systemd_cannot_start_is_told_with_its_journal(on: Any) -> None:
    world = on("h1")
    unit = world.systemd.units["metis-carrier.service"]
    unit.alive, unit.journal = False, ["carrier[7]: no data center"]
    with pytest.raises(CommandExecutionError) as raised:
        metis_instance.restart("carrier@h1", 10)
    assert "Job for metis-carrier.service failed" in str(raised.value)
    assert "carrier[7]: no data center" in str(raised.value)


def test_one_that_the_host_does_not_know_is_not_restarted(on: Any) -> None:
    world = on("h1")
    with pytest.raises(CommandExecutionError, match="does not know of data@h9:1"):
        metis_instance.restart("data@h9:1", 10)
    assert world.systemd.ordered == []
