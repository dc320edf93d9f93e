"""The built release, a real consul, and programs that end with their test."""

from __future__ import annotations

import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.sandbox.build import build
from tests.lab.sandbox.piece import PYTHON, run
from tests.unit.sandbox.running import Consul, Program, ScriptedConsul, Start, call, free_ports


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The release's folder: the one that METIS_SANDBOX_RELEASE names, else built from the cache."""
    if given := os.environ.get("METIS_SANDBOX_RELEASE"):
        return Path(given)
    return build(tmp_path_factory.mktemp("release") / "sandbox")


@pytest.fixture(scope="session")
def consul(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Consul]:
    """A real consul with a leader."""
    folder = tmp_path_factory.mktemp("consul")
    with zipfile.ZipFile(release / "sandbox/consul_1.8.7_linux_amd64.zip") as archive:
        archive.extractall(folder)
    (folder / "consul").chmod(0o755)
    http, server, serf = free_ports(3)
    ports = [f"-http-port={http}", f"-server-port={server}", f"-serf-lan-port={serf}"]
    off = ["-dns-port=-1", "-grpc-port=-1", "-serf-wan-port=-1"]
    program = Program([folder / "consul", "agent", "-dev", "-bind=127.0.0.1", *ports, *off], folder)
    try:
        program.says("Synced node info")
        assert call("GET", http, "/v1/status/leader")[1] != '""'
        yield Consul(http)
    finally:
        program.end()


@pytest.fixture
def scripted() -> Iterator[ScriptedConsul]:
    """A consul that keeps what it was asked."""
    agent = ScriptedConsul()
    yield agent
    agent.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts programs in the test's folder."""
    started: list[Program] = []

    def one(*command: object, **environment: str) -> Program:
        started.append(Program(command, tmp_path, **environment))
        return started[-1]

    yield one
    for program in started:
        program.end()


@pytest.fixture(scope="session")
def fighter_python(release: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment made as a host makes it: from the release alone."""
    folder = tmp_path_factory.mktemp("fighter")
    with tarfile.open(release / "sandbox/fighter_wheelhouse.tar") as archive:
        archive.extractall(folder / "house")
    # With this environment's pip and nothing compiled, as both would take longer than the rest.
    run("venv", [PYTHON, "-m", "venv", "--without-pip", folder / "env"])
    python = folder / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check"]
    pip += ["install", "-q", "--no-index", "--no-compile"]
    alone = {"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}
    house = folder / "house"
    locked = ["--find-links", house, "--require-hashes", "-r", house / "requirements.txt"]
    run("wheelhouse", [*pip, *locked], alone)
    run("wheels", [*pip, *(release / "sandbox").glob("*.whl")], alone)
    return python
