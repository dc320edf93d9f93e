"""What was changed, stopped or killed by hand comes back."""

import time

import requests

from tests.fleet.organization import CONSUL, NAME, RECORD, SERVICES, UNITS, Organization

CARRIER = "carrierService_10.77.0.21_10033"


def test_a_highstate_starts_what_was_stopped_by_hand(org: Organization) -> None:
    host = org.lab.host("fleet2")
    host.run(["systemctl", "disable", "--now", "metis-admin.service", "nginx.service"])
    assert org.status()["admin@fleet2"]["state"] == "down"
    assert set(org.highstate("fleet2")) == {"admin runs", "nginx runs"}
    assert requests.get("http://10.77.0.22/metis-admin/health", timeout=10).status_code == 200


def test_a_highstate_puts_files_back(org: Organization) -> None:
    host = org.lab.host("fleet3")
    host.run(["rm", "/etc/metis/ice_via/glacier2.properties", "/opt/metis/consul/current"])
    host.run(["chmod", "0644", "/etc/metis/consul/consul.json"])
    before = org.starts()["fleet3"]
    changed = org.highstate("fleet3")
    assert all(state["result"] for state in changed.values())
    assert {"The properties of glacier2 are written", "glacier2 runs"} <= set(changed)
    after = org.starts()["fleet3"]
    assert after["metis-icegrid.service"] == before["metis-icegrid.service"]
    assert after["metis-glacier2.service"] != before["metis-glacier2.service"]
    assert org.highstate("fleet3") == {}


def test_a_highstate_puts_back_what_was_unpacked(org: Organization) -> None:
    host = org.lab.host("fleet2")
    site = "/opt/metis/admin/current/network"
    before = host.run(["cat", f"{site}/index.html"]).stdout
    host.run(["sh", "-c", f"echo defaced > {site}/index.html"])
    told = org.highstate("fleet2", "test=True")
    assert list(told) == ["admin_web of admin sandbox is unpacked"]
    assert host.run(["cat", f"{site}/index.html"]).stdout == "defaced\n"
    assert set(org.highstate("fleet2")) == set(told)
    assert host.run(["cat", f"{site}/index.html"]).stdout == before
    assert org.highstate("fleet2") == {}


def test_a_dry_run_tells_that_a_mended_program_is_started_again(org: Organization) -> None:
    # Older than what runs, as after an error of the disk: only the content tells.
    damage = 'rm "$0" && echo damaged > "$0" && touch --date=@0 "$0"'
    for host, file, wanted in (
        (
            "fleet3",
            "consul/releases/sandbox/consul",
            {"consul of consul sandbox is unpacked", "The consul server runs"},
        ),
        (
            "fleet1",
            "carrier/releases/sandbox/carrier",
            {"The artifacts of carrier sandbox are there", "carrier runs"},
        ),
        (
            "fleet2",
            "admin/releases/sandbox/admin.jar",
            {"The artifacts of admin sandbox are there", "admin runs"},
        ),
        # Nothing that runs reads it.
        (
            "fleet2",
            "admin/releases/sandbox/admin.sql",
            {"The artifacts of admin sandbox are there"},
        ),
    ):
        org.lab.host(host).run(["sh", "-c", damage, f"/opt/metis/{file}"])
        assert set(org.highstate(host, "test=True")) == wanted
        assert set(org.highstate(host)) == wanted
        assert org.highstate(host) == {}


def test_a_mode_that_is_set_right_starts_nothing_again(org: Organization) -> None:
    before = org.starts()
    for host, file, state in (
        ("fleet1", "/etc/metis/consul/consul.json", "The configuration of consul is written"),
        (
            "fleet1",
            "/opt/metis/carrier/current/carrier",
            "The artifacts of carrier sandbox are there",
        ),
        (
            "fleet2",
            "/etc/metis/admin/application-admin.yml",
            "The configuration of admin is written",
        ),
    ):
        org.lab.host(host).run(["chmod", "0664", file])
        assert set(org.highstate(host, "test=True")) == {state}
        assert set(org.highstate(host)) == {state}
    assert org.starts() == before


def test_a_deploy_registers_again_what_consul_lost(org: Organization) -> None:
    url = f"{CONSUL}/v1/agent/service/deregister/dataService_10.77.0.24_8700"
    requests.put(url, timeout=10).raise_for_status()
    before = org.starts()["fleet4"]
    changes = org.changes("deploy")
    assert changes == {"data and compute run": {"fleet4": ["data@fleet4:8700 runs"]}}
    after = org.starts()["fleet4"]
    assert {unit for unit in after if after[unit] != before[unit]} == {"metis-data@8700.service"}


def test_fighters_older_than_the_consul_agent_are_started_again(org: Organization) -> None:
    # Their thread that looks for carrier does not survive consul (service-contract 6).
    before = org.starts()
    org.lab.host("fleet1").run(["systemctl", "restart", "metis-consul.service"])
    assert list(org.changes("deploy")) == ["data and compute run"]
    after = org.starts()
    assert after["fleet2"] == before["fleet2"]
    assert not set(after["fleet4"].values()) & set(before["fleet4"].values())
    assert org.changes("deploy") == {}


def test_a_killed_carrier_comes_back_by_itself(org: Organization) -> None:
    # Its stale registration would make it end at once (service-contract 0.5).
    host = org.lab.host("fleet1")

    def restarts() -> int:
        show = ["systemctl", "show", "--value", "--property=NRestarts", "metis-carrier.service"]
        return int(host.run(show).stdout)

    before = restarts()
    host.run(["systemctl", "kill", "--signal=KILL", "metis-carrier.service"])
    index, end = "0", time.monotonic() + 60
    while time.monotonic() < end:
        answer = requests.get(
            f"{CONSUL}/v1/health/checks/carrierService",
            params={"index": index, "wait": "5s"},
            timeout=20,
        )
        index = answer.headers["X-Consul-Index"]
        statuses = [check["Status"] for check in answer.json()]
        if restarts() > before and statuses == ["passing"]:
            break
    assert restarts() == before + 1
    assert org.status()["carrier@fleet1"]["health"] == "healthy"


def test_a_reboot_of_every_host_at_once_brings_everything_back(org: Organization) -> None:
    key = org.lab.host("fleet1").run(["cat", "/etc/metis/carrier/p2p.key"]).stdout
    org.reboot()
    waited = org.lab.salt(
        ["--list", ",".join(UNITS), "metis_instance.status", "wait=90", "--timeout=120"],
        timeout=150,
    )
    assert waited.returncode == 0
    assert {row["health"] for row in org.status().values()} == {"healthy"}
    services = requests.get(f"{CONSUL}/v1/agent/services", timeout=10).json()
    assert set(services) == SERVICES
    assert org.lab.host("fleet1").run(["cat", "/etc/metis/carrier/p2p.key"]).stdout == key
    # Nothing started before consul, and so nothing has to be started again.
    assert org.changes("deploy") == {}


def test_another_data_center_reaches_carrier(org: Organization) -> None:
    # The same one under its name: carrier asks for it at its start only.
    file = org.lab.master.root / f"srv/metis-local/pillar/orgs/{NAME}.sls"
    right = file.read_text(encoding="utf-8")
    before = org.starts()
    try:
        file.write_text(right.replace("address: 10.77.0.10,", "address: master,"), encoding="utf-8")
        org.verb("deploy")
    finally:
        file.write_text(right, encoding="utf-8")
    named = org.starts()
    assert named["fleet1"].pop("metis-carrier.service") != before["fleet1"].pop(
        "metis-carrier.service"
    )
    assert named == before
    org.verb("deploy")


def test_a_cut_off_stop_is_repaired(org: Organization) -> None:
    host = org.lab.host("fleet3")
    host.run(["systemctl", "mask", "metis-glacier2.service"])
    assert "would not come back" in org.status()["ice_via@fleet3"]["health"]
    before = org.starts()
    org.verb("deploy")
    assert org.status()["ice_via@fleet3"]["health"] == "healthy"
    assert org.highstate("fleet3") == {}
    assert org.starts() == before


def test_the_database_survives_a_server_that_cannot_be_asked(org: Organization) -> None:
    # The schema begins with DROP DATABASE.
    host = org.lab.host("fleet2")
    mark = "CREATE TABLE metis_admin.mark (a INT)"
    host.run(["mysql", "--execute", mark])
    try:
        host.run(["mv", "/usr/bin/mariadb", "/usr/bin/mariadb.away"])
        host.run(["sh", "-c", "printf '#!/bin/sh\nexit 1\n' >/usr/bin/mariadb"])
        host.run(["chmod", "0755", "/usr/bin/mariadb"])
        failed = org.highstate("fleet2")
        assert failed.pop("The database of admin is created once")["result"] is False
        assert all("requisite failed" in state["comment"] for state in failed.values())
    finally:
        host.run(["mv", "/usr/bin/mariadb.away", "/usr/bin/mariadb"])
    host.run(["mysql", "--execute", "SELECT * FROM metis_admin.mark; DROP TABLE metis_admin.mark"])


def test_an_import_that_was_cut_off_is_done_again(org: Organization) -> None:
    host = org.lab.host("fleet2")
    half = "CREATE DATABASE metis_importing; DROP TABLE metis_admin.sys_user"
    host.run(["mysql", "--execute", half])
    assert "The database of admin is created once" in org.highstate("fleet2")
    tables = host.run(["mysql", "--batch", "--execute", "SHOW TABLES IN metis_admin"]).stdout
    assert "sys_user" in tables
    schemas = host.run(["mysql", "--batch", "--execute", "SHOW DATABASES"]).stdout
    assert "metis_importing" not in schemas


def test_a_changed_address_reaches_the_keys(org: Organization) -> None:
    file = org.lab.master.root / f"srv/metis-local/pillar/orgs/{NAME}.sls"
    right = file.read_text(encoding="utf-8")
    key = f"{CONSUL}/v1/kv/metis/via_ip_port?raw"
    starts = org.starts()
    try:
        file.write_text(
            right.replace("external_address: 10.77.0.23", "external_address: 192.0.2.9"),
            encoding="utf-8",
        )
        assert list(org.changes("deploy")) == [RECORD, "consul runs"]
        assert requests.get(key, timeout=10).text == "192.0.2.9_10031"
    finally:
        file.write_text(right, encoding="utf-8")
        org.verb("deploy")
    assert requests.get(key, timeout=10).text == "10.77.0.23_10031"
    assert org.starts() == starts
