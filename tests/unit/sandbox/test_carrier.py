"""The sandbox's carrier keeps the contract of the real one."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.lab.sandbox.piece import PROGRAMS
from tests.lab.sandbox.programs.carrier.identity import peer_id
from tests.unit.sandbox.running import (
    SERVING,
    Consul,
    Program,
    ScriptedConsul,
    Start,
    call,
    free_ports,
    health,
)

KEY = "53dadf1d5a164d6b4acdb15e24aa4c5b1d3461bdbd42abedb0a4404d56ced8fb"
DATA_CENTER = "/v1/kv/metis/dataCenter_ip_port"
SOURCE = "from carrier.main import main; from onefile import run; run(main, '0.3.0')"
Carrier = Callable[..., Program]


@pytest.fixture
def settings(tmp_path: Path, consul: Consul) -> dict[str, Any]:
    """A configuration that is good."""
    rpc, gateway, pprof, tcp, udp = free_ports(5)
    (tmp_path / "key").write_text(KEY)
    return {
        "datadir": str(tmp_path / "data"),
        "verbosity": "debug",
        "pprof": True,
        "pprof-port": pprof,
        "rpc-host": "0.0.0.0",
        "rpc-port": rpc,
        "grpc-gateway-port": gateway,
        "p2p-tcp-port": tcp,
        "p2p-udp-port": udp,
        "p2p-priv-key": str(tmp_path / "key"),
        "discovery-server-ip": "127.0.0.1",
        "discovery-server-port": consul.port,
        "no-such-flag": {"ignored": "silently"},
    }


def _starter(command: Callable[..., Program], settings: dict[str, Any], folder: Path) -> Carrier:
    """Starts carrier with the settings as they are then."""

    def one(**changed: Any) -> Program:
        settings.update({name.replace("_", "-"): value for name, value in changed.items()})
        path = folder / f"carrier{len(list(folder.glob('*.yml')))}.yml"
        path.write_text(yaml.safe_dump(settings))
        return command("--config-file", path)

    return one


@pytest.fixture
def carrier(release: Path, start: Start, settings: dict[str, Any], tmp_path: Path) -> Carrier:
    """The packed program."""
    return _starter(partial(start, release / "sandbox/carrier"), settings, tmp_path)


@pytest.fixture
def carrier_source(start: Start, settings: dict[str, Any], tmp_path: Path) -> Carrier:
    """The same from its sources: half the time to start, for what its packing has no part in."""
    command = partial(start, sys.executable, "-c", SOURCE, PYTHONPATH=str(PROGRAMS))
    return _starter(command, settings, tmp_path)


@pytest.fixture(scope="module")
def data_center_port(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A running data center."""
    (port,) = free_ports(1)
    program = Program([release / "bin/datacenter", "--port", port], tmp_path_factory.mktemp("dc"))
    assert health(port, "") == SERVING
    yield port
    assert program.told_to_stop() == 0
    program.end()


@pytest.fixture
def data_center(data_center_port: int, consul: Consul) -> Iterator[None]:
    """The data center's address in the KV."""
    consul.put(DATA_CENTER, f"127.0.0.1_{data_center_port}")
    yield
    call("DELETE", consul.port, DATA_CENTER)


@pytest.fixture(autouse=True)
def nothing_left(consul: Consul) -> Iterator[None]:
    """Takes away what a killed carrier left registered."""
    yield
    for service in consul.services():
        consul.put(f"/v1/agent/service/deregister/{service}")


@pytest.mark.usefixtures("data_center")
def test_registers_passes_and_deregisters(
    carrier: Carrier, settings: dict[str, Any], consul: Consul
) -> None:
    program = carrier()
    check = consul.wait_passing("carrierService")
    (service,) = consul.services().values()
    address, port = service["Address"], settings["rpc-port"]
    assert not address.startswith("127.")
    assert service["ID"] == f"carrierService_{address}_{port}"
    assert (service["Service"], service["Port"]) == ("carrierService", port)
    assert (service["Tags"], service["Meta"]) == (["carrier"], {})
    assert check["Output"] == f"gRPC check {address}:{port}/carrierService: success"
    assert program.told_to_stop() == 0, program.output
    assert consul.services() == {}


@pytest.mark.usefixtures("data_center")
def test_listens_on_every_port(carrier: Carrier, settings: dict[str, Any]) -> None:
    carrier().says("registered with consul")
    assert health(settings["rpc-port"], "carrierService") == SERVING
    assert health(settings["rpc-port"], "whatever") == SERVING
    assert call("GET", settings["grpc-gateway-port"], "/")[0] == 404
    assert "MainThread" in call("GET", settings["pprof-port"], "/debug/pprof/")[1]
    peer = ("127.0.0.1", settings["p2p-tcp-port"])
    with socket.create_connection(peer, timeout=5) as connection:
        assert connection.recv(100) == b"\x13/multistream/1.0.0\n"
    with (
        closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
        pytest.raises(OSError, match="in use"),
    ):
        udp.bind(("", settings["p2p-udp-port"]))


def test_says_its_version(release: Path, start: Start) -> None:
    program = start(release / "sandbox/carrier", "--version")
    assert program.ends() == 0
    assert program.output == "carrier version 0.3.0\n"


def _key_with_newline(settings: dict[str, Any]) -> None:
    Path(settings["p2p-priv-key"]).write_text(KEY + "\n")


def _key_out_of_range(settings: dict[str, Any]) -> None:
    Path(settings["p2p-priv-key"]).write_text("f" * 64)


def _key_too_short(settings: dict[str, Any]) -> None:
    Path(settings["p2p-priv-key"]).write_text(KEY[:62])


def _no_key_file(settings: dict[str, Any]) -> None:
    Path(settings["p2p-priv-key"]).unlink()


def _wrong_type(settings: dict[str, Any]) -> None:
    settings["rpc-port"] = "4000"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_key_with_newline, "private key"),
        (_key_out_of_range, "not a secp256k1 private key"),
        (_key_too_short, "not a secp256k1 private key"),
        (_no_key_file, "No such file"),
        (_wrong_type, "Mismatched type for flag 'rpc-port'. Expected 'int' but actual is 'string'"),
    ],
)
def test_exits_0_on_a_bad_configuration(
    carrier_source: Carrier,
    settings: dict[str, Any],
    spoil: Callable[[dict[str, Any]], None],
    said: str,
) -> None:
    spoil(settings)
    program = carrier_source()
    assert program.ends() == 0
    assert said in program.output


@pytest.mark.usefixtures("data_center")
def test_exits_0_on_data_that_another_one_holds(carrier: Carrier) -> None:
    carrier().says("registered with consul")
    second = carrier()
    assert second.ends() == 0
    assert "could not open the database" in second.output


def test_exits_1_without_consul(carrier: Carrier) -> None:
    program = carrier(discovery_server_port=free_ports(1)[0])
    assert program.ends() == 1
    assert "Connection refused" in program.output


def test_exits_1_without_the_address_of_consul(carrier_source: Carrier) -> None:
    assert carrier_source(discovery_server_port=0).ends() == 1


def test_exits_1_without_the_key_in_the_kv(carrier_source: Carrier) -> None:
    program = carrier_source()
    assert program.ends() == 1
    assert "metis/dataCenter_ip_port failed: HTTP 404" in program.output


@pytest.mark.parametrize("value", ["127.0.0.1:9090", "data_center_9090", ""])
def test_exits_1_on_a_value_of_another_form(
    carrier_source: Carrier, consul: Consul, value: str
) -> None:
    consul.put(DATA_CENTER, value)
    program = carrier_source()
    assert program.ends() == 1
    assert "not of the form <ip>_<port>" in program.output


def test_exits_1_on_a_data_center_that_speaks_no_grpc(
    carrier_source: Carrier, consul: Consul, settings: dict[str, Any]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        consul.put(DATA_CENTER, f"127.0.0.1_{listener.getsockname()[1]}")
        program = carrier_source()
        program.says("listening for rpc")
        opened = time.monotonic()
        assert health(settings["rpc-port"], "carrierService") == SERVING  # and yet not started
        assert program.ends() == 1
    assert time.monotonic() - opened > 1.5
    assert "context deadline exceeded" in program.output


@pytest.mark.usefixtures("data_center")
def test_exits_1_beside_a_stale_registration_until_that_is_gone(
    carrier: Carrier, consul: Consul, settings: dict[str, Any]
) -> None:
    first = carrier()
    first.says("registered with consul")
    (stale,) = consul.services()
    first.end()
    second = carrier()
    assert second.ends() == 1
    assert f"carrier service must be unique, found: {stale}" in second.output
    consul.put(f"/v1/agent/service/deregister/{stale}")
    carrier().says("registered with consul")


@pytest.mark.usefixtures("data_center")
def test_leaves_no_port_open_when_its_main_process_is_killed(
    carrier: Carrier, settings: dict[str, Any]
) -> None:
    program = carrier()
    program.says("registered with consul")
    peer = ("127.0.0.1", settings["p2p-tcp-port"])
    with socket.create_connection(peer, timeout=5) as connection:
        connection.recv(100)
        program.end()
        # Only the end of every process of it closes this.
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(peer, timeout=5)


@pytest.mark.usefixtures("data_center")
def test_stays_up_without_a_port_that_is_taken(
    carrier_source: Carrier, settings: dict[str, Any]
) -> None:
    with socket.create_server(("0.0.0.0", settings["rpc-port"])):
        program = carrier_source()
        program.says("registered with consul")
        assert "could not listen for rpc" in program.output
        assert program.told_to_stop() == 0


@pytest.mark.usefixtures("data_center")
def test_an_open_stream_holds_its_end(carrier_source: Carrier, settings: dict[str, Any]) -> None:
    program = carrier_source()
    program.says("registered with consul")
    with grpc.insecure_channel(f"127.0.0.1:{settings['rpc-port']}") as channel:
        stream = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(iter(stream)).status == SERVING
        ended = threading.Thread(target=program.told_to_stop)
        ended.start()
        program.says("shutting down")
        ended.join(1)
        assert ended.is_alive()
        stream.cancel()
        ended.join(10)
    assert program.ends() == 0


def test_registration_and_custom_id(
    carrier_source: Carrier,
    settings: dict[str, Any],
    scripted: ScriptedConsul,
    data_center_port: int,
) -> None:
    scripted.kv["metis/dataCenter_ip_port"] = f"localhost_{data_center_port}"
    program = carrier_source(discovery_server_port=scripted.port, discovery_service_id="mine")
    body = scripted.body("/register")
    target = f"{body['Address']}:{settings['rpc-port']}"
    assert body["ID"] == "mine"
    assert body["Check"] == {
        "GRPC": f"{target}/carrierService",
        "Interval": "3000ms",
        "DeregisterCriticalServiceAfter": "10000ms",
    }
    assert program.told_to_stop() == 0
    # The awkward part: it takes back an id that it never registered.
    default = f"carrierService_{body['Address']}_{settings['rpc-port']}"
    assert scripted.count(f"/deregister/{default}") == 1
    assert scripted.count("/deregister/mine") == 0


def test_peer_id_is_that_of_libp2p() -> None:
    # The multihash of 037777e994..., the public key of the test vector in libp2p's specification.
    expected = "16Uiu2HAmLhLvBoYaoZfaMUKuibM6ac163GwKY74c5kiSLg5KvLpY"
    assert peer_id(int(KEY, 16)) == expected
