"""A deployed organization, as its real clients see it."""

import json
import subprocess

import grpc
import pytest
import requests
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.fleet.organization import CONSUL, NAME, SERVICES, UNITS, Organization

TIMEOUT = 10
ICE_CLIENT = """
import sys
import Ice
import Glacier2
import IceGrid

properties = Ice.createProperties()
properties.setProperty("Ice.Default.Router", "ChannelGlacier2/router:tcp -h 10.77.0.23 -p 10031")
data = Ice.InitializationData()
data.properties = properties
with Ice.initialize(data) as communicator:
    router = Glacier2.RouterPrx.checkedCast(communicator.getDefaultRouter())
    router.createSession("anybody", "anything")
    locator = communicator.stringToProxy("ChannelIceGrid/Locator:tcp -h 10.77.0.23 -p 10032")
    through = IceGrid.LocatorPrx.checkedCast(locator)
    print(through.getLocalRegistry().ice_getIdentity().name)
    router.destroySession()
"""


def test_the_first_deploy_tells_how_it_went(
    first_deploy: subprocess.CompletedProcess[str],
) -> None:
    assert first_deploy.returncode == 0, first_deploy.stdout + first_deploy.stderr
    lines = first_deploy.stderr.splitlines()
    phases = [line for line in lines if " run" in line or "Everything" in line]
    words = ["consul", "carrier", "admin", "ice_via", "data and compute"]
    assert [w for p in phases for w in words if p.split("s  ", 1)[-1].startswith(w)] == words
    assert "Traceback" not in first_deploy.stdout + first_deploy.stderr
    assert "unclosed" not in first_deploy.stdout + first_deploy.stderr


def test_consul_has_a_leader_and_three_servers(org: Organization) -> None:
    consul = ["/opt/metis/consul/current/consul"]
    address = f"-http-addr={CONSUL.removeprefix('http://')}"
    out = org.lab.host("fleet1").run([*consul, "operator", "raft", "list-peers", address]).stdout
    rows = [line.split() for line in out.splitlines()[1:]]
    assert sorted(row[3] for row in rows) == ["follower", "follower", "leader"]
    assert {row[2] for row in rows} == {f"10.77.0.2{n}:8200" for n in (1, 2, 3)}
    members = org.lab.host("fleet3").run([*consul, "members", address]).stdout.splitlines()[1:]
    assert [line.split()[2] for line in members] == ["alive"] * 3
    version = org.lab.host("fleet2").run([*consul, "version"]).stdout
    assert version.startswith("Consul v1.8.7")


def test_the_keys_say_where_things_are(org: Organization) -> None:
    def key(name: str) -> str:
        return requests.get(f"{CONSUL}/v1/kv/{name}?raw", timeout=TIMEOUT).text

    assert key("metis/dataCenter_ip_port") == "10.77.0.10_9090"
    assert key("metis/via_ip_port") == "10.77.0.23_10031"


def test_every_program_is_registered_on_the_one_agent_and_passes(org: Organization) -> None:
    services = requests.get(f"{CONSUL}/v1/agent/services", timeout=TIMEOUT).json()
    assert set(services) == SERVICES
    checks = requests.get(f"{CONSUL}/v1/agent/checks", timeout=TIMEOUT).json()
    assert {check["ServiceID"]: check["Status"] for check in checks.values()} == dict.fromkeys(
        SERVICES, "passing"
    )


@pytest.mark.parametrize(
    ("target", "service"),
    [
        ("10.77.0.21:10033", "carrierService"),
        ("10.77.0.24:8700", "dataService"),
        ("10.77.0.24:8711", "dataService"),
        ("10.77.0.24:8800", "jobService"),
    ],
)
def test_grpc_services_serve(org: Organization, target: str, service: str) -> None:
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=TIMEOUT)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_session_of_glacier2_reaches_the_locator_of_icegrid(org: Organization) -> None:
    install = ["apt-get", "install", "--yes", "--no-install-recommends", "python3-zeroc-ice"]
    org.lab.master.run(["env", "DEBIAN_FRONTEND=noninteractive", *install], timeout=120)
    done = org.lab.master.run(["/usr/bin/python3", "-"], input=ICE_CLIENT, timeout=60)
    assert done.stdout.strip() == "Registry"


def test_the_packages_own_ice_services_do_not_run(org: Organization) -> None:
    out = org.lab.host("fleet3").run(
        ["systemctl", "is-enabled", "icegridregistry.service", "glacier2router.service"],
        check=False,
    )
    assert out.stdout.split() == ["masked", "masked"]


def test_the_web_page_and_the_health_of_admin_come_through_nginx(org: Organization) -> None:
    page = requests.get("http://10.77.0.22/", timeout=TIMEOUT)
    assert page.status_code == 200
    assert "<title>Metis Admin" in page.text
    assert page.headers["Server"].startswith("nginx")
    health = requests.get("http://10.77.0.22/metis-admin/health", timeout=TIMEOUT)
    assert (health.status_code, health.text) == (200, "Hello, Metis-Admin")
    info = requests.get("http://10.77.0.22/metis-admin/api/v1/system/info", timeout=TIMEOUT)
    # Its own, and the one that says which release the schema is of.
    assert info.json()["tables"] == 25 + 1


def test_the_database_is_as_the_contract_wants_it(org: Organization) -> None:
    def sql(text: str) -> str:
        mysql = ["mysql", "--batch", "--skip-column-names", "--execute", text]
        return org.lab.host("fleet2").run(mysql).stdout.strip()

    assert sql("SELECT @@global.time_zone, @@global.event_scheduler") == "+00:00\tON"
    tables = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'metis_admin'"
    own = f"{tables} AND table_type = 'BASE TABLE' AND table_name <> 'metis_schema'"
    assert sql(own) == "25"
    assert sql(f"{tables} AND table_type = 'VIEW'") == "2"
    event = "SELECT definer, status FROM information_schema.events"
    assert sql(event) == "root@localhost\tENABLED"
    grants = sql("SHOW GRANTS FOR 'metis_admin'@'127.0.0.1'").splitlines()
    assert grants[0].startswith("GRANT USAGE ON *.* ")
    # The underscore is escaped twice: once for SQL, where it alone means any letter.
    right = r"GRANT ALL PRIVILEGES ON `metis\\_admin`.* TO `metis_admin`@`127.0.0.1`"
    assert grants[1:] == [right]
    assert sql("SELECT COUNT(*) FROM mysql.user WHERE user = 'metis_admin'") == "1"
    listening = org.lab.host("fleet2").run(["ss", "--no-header", "--tcp", "--listening", "-n"])
    assert "127.0.0.1:3306" in listening.stdout
    assert "0.0.0.0:3306" not in listening.stdout


def test_the_p2p_key_is_private_and_readable_by_carrier(org: Organization) -> None:
    path = "/etc/metis/carrier/p2p.key"
    host = org.lab.host("fleet1")
    mode = host.run(["stat", "--format=%a %U %s", path]).stdout.split()
    assert mode == ["600", "metis-carrier", "64"]
    int(host.run(["cat", path]).stdout, 16)


def test_each_role_has_its_own_user_and_every_unit_comes_back(org: Organization) -> None:
    for host, units in UNITS.items():
        for unit in units:
            show = ["systemctl", "show", "--property=User,KillMode,Restart", unit]
            found = dict(
                line.split("=", 1) for line in org.lab.host(host).run(show).stdout.splitlines()
            )
            assert found["Restart"] == "always"
            # MariaDB and nginx run by the distribution's own units.
            if unit.startswith("metis-"):
                assert found["User"].startswith("metis-")
                assert found["KillMode"] == "mixed"


def test_the_first_starts_were_in_the_order_of_the_readme(org: Organization) -> None:
    def first(unit: str, host: str) -> int:
        journal = ["journalctl", "--unit", unit, "--output=json", "--no-pager"]
        entries = map(json.loads, org.lab.host(host).run(journal).stdout.splitlines())
        started = (e for e in entries if str(e.get("MESSAGE", "")).startswith("Started "))
        return int(next(started)["__REALTIME_TIMESTAMP"])

    consul = max(first("metis-consul.service", f"fleet{n}") for n in (1, 2, 3))
    carrier = first("metis-carrier.service", "fleet1")
    admin = first("metis-admin.service", "fleet2")
    ice = [first(f"metis-{p}.service", "fleet3") for p in ("icegrid", "glacier2")]
    fighters = [first(unit, "fleet4") for unit in UNITS["fleet4"]]
    assert consul < carrier < admin < min(ice)
    assert max(ice) < min(fighters)


def test_status_shows_every_instance_healthy(org: Organization) -> None:
    done = org.lab.salt_run(["metis.status", f"org={NAME}"])
    header, *rows = done.stdout.strip().splitlines()
    assert header.split()[:3] == ["INSTANCE", "ADDRESS", "STATE"]
    assert len(rows) == 9
    assert all("running" in row and row.endswith("healthy") for row in rows)
