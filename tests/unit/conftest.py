from __future__ import annotations

import json
import os
import socket
import tempfile
import uuid
import zipfile
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from _modules import metis_artifact, metis_consul
from tests.lab.sandbox.build import CACHE
from tests.lab.sandbox.consul import CONSUL, FILE
from tests.unit.keyring import Keyring
from tests.unit.loopback import Loopback
from tests.unit.machine import Machine
from tests.unit.sandbox.running import Program, call, free_ports
from tests.unit.store import Store


@pytest.fixture
def server() -> Iterator[Loopback]:
    """A web server that answers as the test says."""
    found = Loopback()
    yield found
    found.close()


@pytest.fixture
def second_server() -> Iterator[Loopback]:
    """Another one."""
    found = Loopback()
    yield found
    found.close()


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A master's store that waits for nothing before it fetches again."""
    monkeypatch.setattr(metis_artifact.time, "sleep", lambda seconds: None)
    return Store(tmp_path / "store")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A host below a folder of the test."""
    return Machine(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def operator() -> Iterator[Keyring]:
    """The keyring of an operator, who has the private key for backups."""
    # A socket's path may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="metis-gpg-") as home:
        keyring = Keyring(home, "operator")
        yield keyring
        keyring.end()


@pytest.fixture
def empty_keyring() -> Iterator[str]:
    """The folder of a keyring without keys."""
    with tempfile.TemporaryDirectory(prefix="metis-gpg-") as home:
        yield home


@pytest.fixture(scope="session")
def consul_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real consul, of the release that METIS_SANDBOX_RELEASE names, else of the cache."""
    given = os.environ.get("METIS_SANDBOX_RELEASE")
    folder = Path(given) / "sandbox" if given else CONSUL.build(CACHE)
    unpacked = tmp_path_factory.mktemp("program")
    with zipfile.ZipFile(folder / FILE) as archive:
        archive.extractall(unpacked)
    program = unpacked / "consul"
    program.chmod(0o755)
    return program


def _started(program: Path, folder: Path, *options: str) -> tuple[Program, dict[str, Any]]:
    http, server, serf = free_ports(3)
    ports = [f"-http-port={http}", f"-server-port={server}", f"-serf-lan-port={serf}"]
    off = ["-dns-port=-1", "-grpc-port=-1", "-serf-wan-port=-1"]
    started = Program([program, "agent", "-bind=127.0.0.1", *ports, *off, *options], folder)
    return started, {"address": "127.0.0.1", "port": http}


@pytest.fixture(scope="session")
def agent(
    consul_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The agent of a cluster of one, which has its leader."""
    program, found = _started(consul_program, tmp_path_factory.mktemp("consul"), "-dev")
    try:
        program.says("Synced node info")
        assert call("GET", found["port"], "/v1/status/leader")[1] != '""'
        yield found
    finally:
        program.end()


@pytest.fixture(scope="session")
def leaderless(
    consul_program: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """The agent of a server that waits for two others, and says so more quickly than by default."""
    folder = tmp_path_factory.mktemp("leaderless")
    alone = ["-server", "-bootstrap-expect=3", f"-data-dir={folder / 'data'}"]
    alone.append('-hcl=performance { rpc_hold_timeout = "100ms" }')
    program, found = _started(consul_program, folder, *alone)
    try:
        program.says("Started HTTP server")
        yield found
    finally:
        program.end()


@pytest.fixture
def closed() -> dict[str, Any]:
    """Where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        return {"address": "127.0.0.1", "port": once.getsockname()[1]}


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """A host that takes a connection and then says nothing to those who ask for consul."""
    monkeypatch.setattr(metis_consul, "TIMEOUT", 0.1)
    monkeypatch.setattr(metis_consul, "LEAVE_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield {"address": "127.0.0.1", "port": listening.getsockname()[1]}


@pytest.fixture
def registers(agent: dict[str, Any]) -> Callable[..., dict[str, str]]:
    """Registers a service whose checks are in some states, under a name that no other test uses."""

    def register(*states: str, on: dict[str, Any] = agent) -> dict[str, str]:
        name = f"test{uuid.uuid4().hex[:8]}"
        checks = [
            {"CheckID": f"{name}-{n}", "TTL": "1h", "Status": state}
            for n, state in enumerate(states)
        ]
        service = {"ID": f"{name}_1", "Name": name, "Checks": checks}
        path = "/v1/agent/service/register"
        assert call("PUT", on["port"], path, json.dumps(service))[0] == HTTPStatus.OK
        return {"id": f"{name}_1", "name": name}

    return register
