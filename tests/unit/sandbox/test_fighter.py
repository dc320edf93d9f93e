"""The sandbox's fighters keep the contract of the real ones."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from google.protobuf import empty_pb2, struct_pb2

from tests.unit.sandbox.running import (
    SERVING,
    Consul,
    Program,
    ScriptedConsul,
    Start,
    free_ports,
    health,
)

Fighter = Callable[..., Program]
KINDS = {"data": ("dataService", "data"), "compute": ("jobService", "job")}


@pytest.fixture
def configuration(consul: Consul) -> dict[str, Any]:
    """What both kinds have in common, but for the names."""
    return {
        "bind_ip": "127.0.0.1",
        "port": free_ports(1)[0],
        "task_port_range": [31000, 31100],
        "thread_pool_size": 10,
        "pass_via": True,
        "code_root_dir": "contract_work_dir",
        "results_root_dir": "result_root",
        "total_bandwidth": 4194304,
        "certs": {"base_path": "", "root_cert": ""},
        "channel_log_level": 2,
        "data_root": "data_root",
        "chunk_size": 10240,
        "consul": {
            "service_ip": "127.0.0.1",
            "service_port": consul.port,
            "interval": "3s",
            "deregister": "3s",
        },
    }


@pytest.fixture
def fighter(
    fighter_python: Path, start: Start, configuration: dict[str, Any], tmp_path: Path
) -> Fighter:
    """Starts a fighter with the configuration as it is then."""

    def one(kind: str, *options: object) -> Program:
        name, tag = KINDS[kind]
        if "consul" in configuration:
            configuration["consul"].update(name=name, tag=tag)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(configuration))
        module = f"metis.{kind}_svc.main"
        return start(fighter_python, "-u", "-m", module, "config.yaml", *options)

    return one


def _status(port: int, provider: str) -> struct_pb2.Struct:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary(
            f"/{provider}/GetStatus",
            empty_pb2.Empty.SerializeToString,
            struct_pb2.Struct.FromString,
        )
        return call(empty_pb2.Empty(), timeout=10)


@pytest.mark.parametrize("kind", KINDS)
def test_registers_passes_and_deregisters(
    fighter: Fighter, consul: Consul, configuration: dict[str, Any], kind: str
) -> None:
    name, tag = KINDS[kind]
    port = configuration["port"]
    program = fighter(kind)
    check = consul.wait_passing(name)
    assert check["Output"] == f"gRPC check 127.0.0.1:{port}/{name}: success"
    service = consul.services()[f"{name}_127.0.0.1_{port}"]
    assert (service["Service"], service["Tags"]) == (name, [tag])
    assert (service["Address"], service["Port"]) == ("127.0.0.1", port)
    assert program.told_to_stop() == 0, program.output
    assert f"{name}_127.0.0.1_{port}" not in consul.services()


def test_registers_before_its_port_opens(
    fighter: Fighter, scripted: ScriptedConsul, configuration: dict[str, Any]
) -> None:
    configuration["consul"]["service_port"] = scripted.port
    port = configuration["port"]
    while_registering: list[int] = []

    def look() -> None:
        with socket.socket() as probe:
            while_registering.append(probe.connect_ex(("127.0.0.1", port)))

    scripted.on_register = look
    fighter("data")
    assert scripted.body("/register")["Check"] == {
        "GRPC": f"127.0.0.1:{port}/dataService",
        "Interval": "3s",
        "DeregisterCriticalServiceAfter": "3s",
    }
    assert health(port, "dataService") == SERVING
    assert len(while_registering) == 1
    assert while_registering[0] != 0


def test_two_carriers_end_its_look_out_for_good(
    fighter: Fighter, scripted: ScriptedConsul, configuration: dict[str, Any]
) -> None:
    configuration["consul"]["service_port"] = scripted.port
    scripted.carriers = [{"ID": "one", "Address": "10.77.0.11", "Port": 10033}]
    program = fighter("compute")
    program.says("carrier is now 10.77.0.11:10033")
    status = _status(configuration["port"], "computesvc.ComputeProvider")
    assert status["carrier"] == "10.77.0.11:10033"
    assert status["total_bandwidth"] == configuration["total_bandwidth"]
    scripted.carriers.append({"ID": "two", "Address": "10.77.0.12", "Port": 10033})
    program.says("2 carriers are registered")
    assert "Exception in thread carrier" in program.output
    assert health(configuration["port"], "jobService") == SERVING
    assert program.told_to_stop() == 0


def test_ends_in_order_when_consul_has_gone(
    fighter: Fighter, scripted: ScriptedConsul, configuration: dict[str, Any]
) -> None:
    configuration["consul"]["service_port"] = scripted.port
    program = fighter("compute")
    assert health(configuration["port"], "jobService") == SERVING
    scripted.close()
    assert program.told_to_stop() == 0
    assert "could not deregister" in program.output


def test_exits_1_without_consul(fighter: Fighter, configuration: dict[str, Any]) -> None:
    configuration["consul"]["service_port"] = free_ports(1)[0]
    program = fighter("data")
    assert program.ends() == 1
    assert "Connection refused" in program.output


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("bind_ip", "demo1", "bind_ip is no IPv4 address"),
        ("bind_ip", "10.77.0.256", "bind_ip is no IPv4 address"),
        ("port", 1024, "port is not within"),
        ("consul", None, "KeyError: 'consul'"),
        ("thread_pool_size", None, "KeyError: 'thread_pool_size'"),
    ],
)
def test_exits_1_on_a_bad_value(
    fighter: Fighter, configuration: dict[str, Any], key: str, value: Any, said: str
) -> None:
    if value is None:
        del configuration[key]
    else:
        configuration[key] = value
    program = fighter("data")
    assert program.ends() == 1
    assert said in program.output


def test_options_win_over_the_file_and_consul_can_be_left_out(
    fighter: Fighter, configuration: dict[str, Any], scripted: ScriptedConsul
) -> None:
    configuration["consul"]["service_port"] = scripted.port
    (port,) = free_ports(1)
    program = fighter("data", "--port", port, "--use_consul", 0)
    assert health(port, "dataService") == SERVING
    assert program.told_to_stop() == 0
    assert scripted.requests == []


def test_a_config_module_in_the_working_directory_breaks_it(
    fighter: Fighter, tmp_path: Path
) -> None:
    (tmp_path / "config.py").write_text("")
    program = fighter("data")
    assert program.ends() == 1
    assert "has no attribute 'load'" in program.output


def test_a_missing_key_fails_late(
    fighter: Fighter, configuration: dict[str, Any], scripted: ScriptedConsul
) -> None:
    configuration["consul"]["service_port"] = scripted.port
    del configuration["total_bandwidth"]
    program = fighter("data")
    assert health(configuration["port"], "dataService") == SERVING
    with pytest.raises(grpc.RpcError):
        _status(configuration["port"], "datasvc.DataProvider")
    program.says("KeyError: 'total_bandwidth'")
    assert health(configuration["port"], "dataService") == SERVING
