"""What each program's configuration holds: every key of the service contract, and its value."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_config, metis_view
from tests.unit import orgs

PATHS = {"programs": "/p", "configuration": "/c", "data": "/d", "logs": "/l"}
UNITS = "/usr/local/lib/systemd/system"
MARK = metis_config.environment_mark(orgs.RELEASE)


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


def _instance(host: str, role: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    views = orgs.views(orgs.topology(orgs.org_file(paths=PATHS) | changes))
    found: dict[str, Any] = views[host]["roles"][role]["instances"][number]
    return found


# consul: service contract 1


def test_consul_s_configuration() -> None:
    found = _instance("h2", "consul")
    assert found["config_file"] == "/c/consul/consul.json"
    config = found["config"]
    contract = {
        "datacenter": "acme-cluster",
        "node_name": "consul_10.0.0.2",
        "client_addr": "10.0.0.2",
        "bind_addr": "10.0.0.2",
        "data_dir": "/d/consul",
        "log_file": "/l/consul/consul.log",
        "log_level": "INFO",
        "server": True,
        "bootstrap_expect": 3,
        "ui": True,
        "ports": {
            "server": 8200,
            "serf_lan": 8300,
            "serf_wan": 8400,
            "http": 8500,
            "dns": 8600,
        },
    }
    assert {key: config[key] for key in contract} == contract
    # The others, on the port where each of them listens.
    assert config["retry_join"] == ["10.0.0.1:8300", "10.0.0.3:8300"]
    assert found["peers"] == 3
    assert found["files"] == {
        "metis-consul.service": [
            f"{UNITS}/metis-consul.service",
            "/c/consul/consul.json",
            "/p/consul/current",
            "/p/consul/releases/0.3.0/.consul.zip.unpacked",
        ]
    }


def test_a_lone_consul_joins_nobody() -> None:
    file = orgs.one_host()
    (view,) = orgs.views(orgs.topology(file)).values()
    config = view["roles"]["consul"]["instances"][0]["config"]
    assert config["retry_join"] == []
    assert config["bootstrap_expect"] == 1


def test_servers_with_ports_of_their_own_find_each_other() -> None:
    file = orgs.org_file()
    file["hosts"]["h3"]["roles"][0] = {"consul": {"serf_lan_port": 18300}}
    views = orgs.views(orgs.topology(file))
    first = views["h1"]["roles"]["consul"]["instances"][0]["config"]
    assert first["retry_join"] == ["10.0.0.2:8300", "10.0.0.3:18300"]
    assert views["h3"]["roles"]["consul"]["instances"][0]["config"]["ports"]["serf_lan"] == 18300


# The keys: service contract 3


def test_the_keys_are_written_on_the_agent_that_programs_use() -> None:
    assert _instance("h1", "consul")["keys"] == {
        "metis/dataCenter_ip_port": "10.0.0.100_9090",
        "metis/via_ip_port": "ice.acme.example_10031",
    }
    assert _instance("h2", "consul")["keys"] == {}


def test_the_keys_are_what_the_release_s_programs_read() -> None:
    later = orgs.RELEASE | {
        "kv": {
            "datacenter": "datumnetwork/dataCenter_ip_port",
            "glacier2": "datumnetwork/glacier2_ip_port",
            "icegrid": "datumnetwork/icegrid_ip_port",
        }
    }
    whole = orgs.topology()
    (agent,) = (i for i in whole["instances"] if i["id"] == "consul@h1")
    config = metis_config.consul(whole, later, {}, agent)
    assert config["keys"] == {
        "datumnetwork/dataCenter_ip_port": "10.0.0.100_9090",
        "datumnetwork/glacier2_ip_port": "ice.acme.example_10031",
        "datumnetwork/icegrid_ip_port": "ice.acme.example_10032",
    }


def test_without_ice_and_data_center_there_is_no_key() -> None:
    file = orgs.one_host(carrier={"enabled": False}, data_center=None)
    (view,) = orgs.views(orgs.topology(file)).values()
    assert view["roles"]["consul"]["instances"][0]["keys"] == {}


# carrier: service contract 2


def test_carrier_s_configuration() -> None:
    found = _instance("h1", "carrier")
    assert found["config_file"] == "/c/carrier/carrier.yml"
    assert found["config"] == {
        "datadir": "/d/carrier",
        "verbosity": "info",
        "pprof": False,
        "pprof-port": 10037,
        "pprof-addr": "127.0.0.1",
        "debug": False,
        "disable-grpc-gateway": False,
        "rpc-host": "0.0.0.0",
        "rpc-port": 10033,
        "grpc-gateway-host": "0.0.0.0",
        "grpc-gateway-port": 10034,
        "enable-debug-rpc-endpoints": False,
        "no-discovery": False,
        "bootstrap-node": [],
        "peer": [],
        "p2p-udp-port": 10035,
        "p2p-tcp-port": 10036,
        "p2p-local-ip": "10.0.0.1",
        "p2p-host-ip": "198.51.100.1",
        "p2p-max-peers": 45,
        "p2p-priv-key": "/c/carrier/p2p.key",
        "discovery-server-ip": "10.0.0.1",
        "discovery-server-port": 8500,
        "discovery-service-health-check-interval": 1000,
    }
    assert found["p2p_key"] == "/c/carrier/p2p.key"
    assert found["files"]["metis-carrier.service"] == [
        f"{UNITS}/metis-carrier.service",
        "/c/carrier/carrier.yml",
        "/c/carrier/p2p.key",
        "/p/carrier/current",
        "/p/carrier/releases/0.3.0/carrier",
    ]


def test_carrier_keeps_its_own_service_id() -> None:
    # Another id would stay registered when carrier ends (service contract 2).
    assert "discovery-service-id" not in _instance("h1", "carrier")["config"]


def test_carrier_s_settings_come_from_the_file() -> None:
    own = {
        "external_address": "198.51.100.9",
        "rpc_port": 20001,
        "grpc_gateway_port": 20002,
        "p2p_udp_port": 20003,
        "p2p_tcp_port": 20004,
        "pprof_port": 20005,
        "pprof": True,
        "pprof_address": "0.0.0.0",
        "debug": True,
        "verbosity": "trace",
        "bootstrap_nodes": [orgs.ENR],
        "peers": ["/ip4/198.51.100.8/tcp/10036/p2p/16Uiu2HAm"],
        "max_peers": 200,
    }
    config = _instance("h1", "carrier", carrier=own)["config"]
    wanted = {
        "p2p-host-ip": "198.51.100.9",
        "rpc-port": 20001,
        "grpc-gateway-port": 20002,
        "p2p-udp-port": 20003,
        "p2p-tcp-port": 20004,
        "pprof-port": 20005,
        "pprof": True,
        "pprof-addr": "0.0.0.0",
        "debug": True,
        "enable-debug-rpc-endpoints": True,
        "verbosity": "trace",
        "bootstrap-node": [orgs.ENR],
        "peer": ["/ip4/198.51.100.8/tcp/10036/p2p/16Uiu2HAm"],
        "p2p-max-peers": 200,
    }
    assert {key: config[key] for key in wanted} == wanted


@pytest.mark.parametrize(
    ("host", "role", "place"),
    [
        ("h1", "carrier", ("discovery-server-ip", "discovery-server-port")),
        ("h2", "admin", ("spring", "cloud", "consul")),
        ("h4", "data", ("consul",)),
        ("h4", "compute", ("consul",)),
    ],
)
def test_every_program_uses_the_one_agent(host: str, role: str, place: tuple[str, ...]) -> None:
    config = _instance(host, role, consul={"http_port": 18500})["config"]
    if role == "carrier":
        assert [config[key] for key in place] == ["10.0.0.1", 18500]
        return
    for key in place:
        config = config[key]
    assert {"10.0.0.1", 18500} <= {v for v in config.values() if isinstance(v, str | int)}


# ice_via: service contract 5


def test_the_properties_of_icegrid() -> None:
    assert _instance("h3", "ice_via")["icegrid"] == {
        "IceGrid.InstanceName": "ChannelIceGrid",
        "Ice.Default.Locator": "ChannelIceGrid/Locator:tcp -p 10032 -h 10.0.0.3",
        "IceGrid.Registry.ReplicaName": "Master",
        "IceGrid.Registry.Client.Endpoints": "tcp -p 10032 -h 10.0.0.3",
        "IceGrid.Registry.Server.Endpoints": "tcp -h 10.0.0.3",
        "IceGrid.Registry.Internal.Endpoints": "tcp -h 10.0.0.3",
        "IceGrid.Registry.PermissionsVerifier": "ChannelIceGrid/NullPermissionsVerifier",
        "IceGrid.Registry.LMDB.MapSize": 10,
        "IceGrid.Registry.LMDB.Path": "/d/ice_via/registry",
        "IceGrid.Registry.DynamicRegistration": 1,
        "Ice.Trace.Network": 2,
        "Ice.MessageSizeMax": 0,
    }


def test_the_properties_of_glacier2() -> None:
    found = _instance("h3", "ice_via")
    assert found["glacier2"] == {
        "Glacier2.InstanceName": "ChannelGlacier2",
        "Ice.Default.Locator": "ChannelIceGrid/Locator:tcp -p 10032 -h 10.0.0.3",
        "Glacier2.Client.Endpoints": "tcp -p 10031 -h 10.0.0.3",
        "Glacier2.PermissionsVerifier": "ChannelGlacier2/NullPermissionsVerifier",
        "Glacier2.SessionTimeout": 30,
        "Glacier2.Client.ForwardContext": 1,
        "Glacier2.Server.ForwardContext": 1,
        "Glacier2.Client.Trace.Reject": 1,
        "Ice.Trace.Network": 2,
        "Ice.MessageSizeMax": 0,
    }
    assert found["files"] == {
        f"metis-{program}.service": [
            f"{UNITS}/metis-{program}.service",
            f"/c/ice_via/{program}.properties",
        ]
        for program in ("icegrid", "glacier2")
    }


def test_glacier2_finds_a_moved_registry() -> None:
    ice = {"external_address": "a", "grid_port": 20032, "glacier2_port": 20031}
    found = _instance("h3", "ice_via", ice_via=ice)
    assert found["glacier2"]["Ice.Default.Locator"].endswith("tcp -p 20032 -h 10.0.0.3")
    assert found["icegrid"]["Ice.Default.Locator"] == found["glacier2"]["Ice.Default.Locator"]
    assert found["glacier2"]["Glacier2.Client.Endpoints"] == "tcp -p 20031 -h 10.0.0.3"


# fighter: service contract 6

CERTIFICATES = [
    "base_path",
    "root_cert",
    "server_sign_key",
    "server_sign_cert",
    "server_enc_key",
    "server_enc_cert",
    "client_sign_key",
    "client_sign_cert",
    "client_enc_key",
    "client_enc_cert",
]


def _common(role: str, port: int, ports: list[int], name: str, tag: str) -> dict[str, Any]:
    return {
        "bind_ip": "10.0.0.4",
        "port": port,
        "task_port_range": ports,
        "thread_pool_size": 10,
        "pass_via": True,
        "code_root_dir": f"/d/{role}/{port}/contract_work_dir",
        "results_root_dir": f"/d/{role}/{port}/result_root",
        "total_bandwidth": 10_000_000,
        "channel_log_level": 2,
        "certs": dict.fromkeys(CERTIFICATES, ""),
        "consul": {
            "service_ip": "10.0.0.1",
            "service_port": 8500,
            "name": name,
            "tag": tag,
            "interval": "1s",
            "deregister": "3s",
        },
    }


@pytest.mark.parametrize(("number", "port"), [(0, 8700), (1, 8701)])
def test_the_configuration_of_each_data_instance(number: int, port: int) -> None:
    found = _instance("h4", "data", number)
    assert found["config_file"] == f"/c/data/{port}.yml"
    assert found["directory"] == f"/d/data/{port}"
    common = _common("data", port, [31000, 31100], "dataService", "data")
    own = {"data_root": f"/d/data/{port}/data_root", "chunk_size": 1_048_576}
    assert found["config"] == common | own
    assert found["files"] == {
        f"metis-data@{port}.service": [
            f"{UNITS}/metis-data@.service",
            f"/c/data/{port}.yml",
            f"/c/data/{port}.env",
            f"/p/data/{port}",
            f"/p/fighter/releases/0.3.0/{MARK}",
        ]
    }


def test_the_configuration_of_a_compute_instance() -> None:
    found = _instance("h4", "compute")
    assert found["config"] == _common("compute", 8800, [41000, 41100], "jobService", "job")
    assert found["files"] == {
        "metis-compute@8800.service": [
            f"{UNITS}/metis-compute@.service",
            "/c/compute/8800.yml",
            "/c/compute/8800.env",
            "/p/compute/8800",
            f"/p/fighter/releases/0.3.0/{MARK}",
        ]
    }


def test_a_fighter_s_settings_come_from_the_file() -> None:
    own = {
        "port": 9700,
        "task_port_range": [32000, 32010],
        "thread_pool_size": 4,
        "total_bandwidth": 5,
        "chunk_size": 6,
    }
    config = _instance("h4", "data", data=own)["config"]
    assert {key: config[key] for key in own} == own


def test_fighters_pass_via_only_where_there_is_one() -> None:
    file = orgs.one_host("data")
    (view,) = orgs.views(orgs.topology(file)).values()
    assert view["roles"]["data"]["instances"][0]["config"]["pass_via"] is False


def test_later_fighters_are_told_more() -> None:
    release = copy.deepcopy(orgs.RELEASE)
    before = _instance("h4", "data")["config"]
    release["fighter"]["keys"] = ["register_ip", "pass_ice"]
    secrets = {"mysql_password": "", "certificates": {}}
    whole = orgs.topology(orgs.org_file(paths=PATHS))
    view = metis_view.view(whole, {"0.3.0": release}, secrets, "h4")
    config = view["roles"]["data"]["instances"][0]["config"]
    assert config == before | {"register_ip": "10.0.0.4", "pass_ice": True}


def test_fighters_pass_no_via_that_is_switched_off() -> None:
    file = orgs.one_host("data", "ice_via", ice_via={"enabled": False})
    (view,) = orgs.views(orgs.topology(file)).values()
    assert view["roles"]["data"]["instances"][0]["config"]["pass_via"] is False
    # Nor does consul say where it would be.
    assert list(view["roles"]["consul"]["instances"][0]["keys"]) == ["metis/dataCenter_ip_port"]


# admin: service contract 7

TASKS = [
    "LocalCarrierStatusRefreshTask",
    "LocalDataAuthReqRefreshTask",
    "LocalDataNodeRefreshTask",
    "LocalMetaDataStatusRefreshTask",
    "LocalPowerNodeRefreshTask",
    "LocalTaskRefreshTask",
    "SeedNodeRefreshTask",
]
# What Java 17 refuses, or cannot do: service contract 7.
REFUSED = [
    "ConcMarkSweep",
    "ParNew",
    "CMSClassUnloading",
    "PrintGCTimeStamps",
    "PrintGCDateStamps",
    "CMSInitiating",
    "UseCMSInitiatingOccupancyOnly",
    "Xloggc",
]


def test_admin_s_database_is_reached_over_loopback() -> None:
    file = {"mysql_port": 13306, "mysql_user": "acme", "mysql_password": "chosen-by-hand"}
    source = _instance("h2", "admin", admin=file)["config"]["spring"]["datasource"]
    assert source["type"] == "com.alibaba.druid.pool.DruidDataSource"
    assert source["driverClassName"] == "com.mysql.cj.jdbc.Driver"
    druid = source["druid"]
    url, _, options = druid["url"].partition("?")
    assert url == "jdbc:mysql://127.0.0.1:13306/metis_admin"
    assert "serverTimezone=UTC" in options.split("&")
    assert (druid["username"], druid["password"]) == ("acme", "chosen-by-hand")
    numbers = {"initial-size": 10, "max-active": 20, "min-idle": 10, "max-wait": 60000}
    assert {key: druid[key] for key in numbers} == numbers
    # The seed shows druid's statistics to everybody.
    assert druid["stat-view-servlet"]["enabled"] is False


def test_admin_registers_as_verbs_look_for_it() -> None:
    found = _instance("h2", "admin")
    consul = found["config"]["spring"]["cloud"]["consul"]
    assert (consul["host"], consul["port"]) == ("10.0.0.1", 8500)
    assert consul["carrierServiceName"] == "carrierService"
    assert consul["discovery"] == {
        "register": True,
        "service-name": "adminService",
        "instance-id": "adminService_10.0.0.2_9090",
        "tags": ["admin"],
        "ip-address": "10.0.0.2",
        "prefer-ip-address": True,
        # The address before it ends with a slash already: `//metis-admin/health`, as upstream.
        "health-check-path": "//metis-admin/health",
        "health-check-interval": "1s",
    }


def test_the_rest_of_admin_s_configuration() -> None:
    found = _instance("h2", "admin", admin={"web_port": 19090, "http_port": 8080})
    config = found["config"]
    assert found["config_file"] == "/c/admin/application-admin.yml"
    assert config["server"]["port"] == 19090
    assert config["server"]["servlet"] == {"context-path": "/metis-admin"}
    assert config["swagger"]["enable"] is False
    assert config["logging"]["file"] == {"name": "/l/admin/metis-admin.log"}
    assert config["grpc-client-timeout"] == 5
    assert config["grpc-client-upload-file-timeout"] == 60
    delays = {task: config[task]["fixedDelay"] for task in TASKS}
    assert all(isinstance(delay, int) and delay > 0 for delay in delays.values())
    assert found["health"] == "http://10.0.0.2:8080/metis-admin/health"
    assert found["files"] == {
        "mariadb.service": ["/etc/mysql/mariadb.conf.d/60-metis.cnf"],
        "metis-admin.service": [
            f"{UNITS}/metis-admin.service",
            "/c/admin/application-admin.yml",
            "/p/admin/current",
            "/p/admin/releases/0.3.0/admin.jar",
        ],
        "nginx.service": ["/etc/nginx/conf.d/metis.conf"],
    }


def test_the_flags_of_the_jvm_fit_java_17() -> None:
    flags = _instance("h2", "admin", admin={"heap": "512m"})["jvm"]
    assert {"-Xms512m", "-Xmx512m", "-XX:MaxMetaspaceSize=512m", "-Xss256k"} <= set(flags)
    assert not [flag for flag in flags for word in REFUSED if word in flag]
    # Its directory must exist, and the role's logs do.
    assert [flag for flag in flags if "/l/admin/gc.log" in flag]


def test_what_java_may_take_comes_from_the_file() -> None:
    own = {"heap": "2G", "metaspace": "256M", "thread_stack": "1m"}
    flags = set(_instance("h2", "admin", admin=own)["jvm"])
    assert {"-Xms2g", "-Xmx2g", "-XX:MaxMetaspaceSize=256m", "-Xss1m"} <= flags


# Of all of them


def test_every_unit_of_an_instance_has_the_files_that_it_reads() -> None:
    for view in orgs.views(orgs.topology()).values():
        for role in view["roles"].values():
            for instance in role["instances"]:
                assert set(instance["files"]) == set(instance["units"])
                assert all(path.startswith("/") for of in instance["files"].values() for path in of)


def test_the_environment_of_other_wheels_is_another_one() -> None:
    other = copy.deepcopy(orgs.RELEASE)
    assert metis_config.environment_mark(other) == MARK
    other["artifacts"]["carrier"]["sha256"] = "cd" * 32
    assert metis_config.environment_mark(other) == MARK
    other["artifacts"]["metis_dcv"]["sha256"] = "cd" * 32
    assert (wheel := metis_config.environment_mark(other)) != MARK
    other["artifacts"]["python"] = {"kind": "installer", "sha256": "ef" * 32}
    assert metis_config.environment_mark(other) not in (MARK, wheel)


def test_a_name_is_advertised_as_one() -> None:
    config = _instance("h1", "carrier", carrier={"external_address": "c.acme.example"})["config"]
    assert config["p2p-host-dns"] == "c.acme.example"
    assert "p2p-host-ip" not in config


def test_glacier2_speaks_tls_as_openssl_has_it() -> None:
    # Of Keychain, as the seed has it, only macOS knows.
    file = orgs.org_file(ice_via={"external_address": "198.51.100.3", "protocol": "ssl"})
    shown = {"ice_via": {"certificate": "C", "key": "K"}}
    view = orgs.views(orgs.topology(file), certificates=shown)["h3"]
    ice_via = view["roles"]["ice_via"]["instances"][0]
    assert ice_via["glacier2"]["Glacier2.Client.Endpoints"] == "ssl -p 10031 -h 10.0.0.3"
    found = {key: value for key, value in ice_via["glacier2"].items() if "IceSSL" in key}
    assert found == {
        "Ice.Plugin.IceSSL": "IceSSL:createIceSSL",
        "IceSSL.CertFile": "/etc/metis/ice_via/server.crt",
        "IceSSL.KeyFile": "/etc/metis/ice_via/server.key",
        "IceSSL.Protocols": "TLS1_2,TLS1_3",
        "IceSSL.VerifyPeer": 0,
    }
    assert not [key for key in ice_via["icegrid"] if "IceSSL" in key]
