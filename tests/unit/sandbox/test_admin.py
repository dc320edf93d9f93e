"""What the sandbox's admin refuses; that it serves is tested where there is a database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.sandbox.running import Program, Start, free_ports

JAVA = ("java", "-Xmx64m", "-XX:TieredStopAtLevel=1", "-jar")
ACTIVE = "--spring.profiles.active=admin"
TASKS = (
    "LocalCarrierStatusRefreshTask",
    "LocalDataAuthReqRefreshTask",
    "LocalDataNodeRefreshTask",
    "LocalMetaDataStatusRefreshTask",
    "LocalPowerNodeRefreshTask",
    "LocalTaskRefreshTask",
    "SeedNodeRefreshTask",
)


@pytest.fixture
def configuration() -> dict[str, Any]:
    """A configuration that is complete; its database is not there."""
    (port,) = free_ports(1)
    druid = {
        "url": f"jdbc:mysql://127.0.0.1:{port}/metis_admin?serverTimezone=UTC&useSSL=false",
        "username": "metis_admin",
        "password": "secret",
        "max-wait": 600,
    }
    tasks = {task: {"fixedDelay": 5000} for task in TASKS}
    return {
        "spring": {"datasource": {"druid": druid}},
        "grpc-client-timeout": 5,
        "grpc-client-upload-file-timeout": 60,
        **tasks,
    }


def _start(
    start: Start, release: Path, folder: Path, configuration: dict[str, Any], *arguments: str
) -> Program:
    (folder / "config").mkdir()
    (folder / "config/application-admin.yml").write_text(yaml.safe_dump(configuration))
    return start(*JAVA, release / "sandbox/admin.jar", *arguments)


def test_exits_1_without_a_profile(
    release: Path, start: Start, tmp_path: Path, configuration: dict[str, Any]
) -> None:
    program = _start(start, release, tmp_path, configuration)
    assert program.ends() == 1
    assert "dev_10_151" in program.output


def test_exits_1_without_a_configuration_file(release: Path, start: Start) -> None:
    program = start(*JAVA, release / "sandbox/admin.jar", ACTIVE)
    assert program.ends() == 1
    assert "config/application-admin.yml" in program.output


@pytest.mark.parametrize("key", ["SeedNodeRefreshTask", "grpc-client-timeout", "spring"])
def test_exits_1_without_a_required_key(
    release: Path, start: Start, tmp_path: Path, configuration: dict[str, Any], key: str
) -> None:
    log = tmp_path / "other/admin.log"
    configuration["logging"] = {"file": {"name": str(log)}}
    del configuration[key]
    program = _start(start, release, tmp_path, configuration, ACTIVE)
    assert program.ends() == 1
    said = f"Could not resolve placeholder '{key}"
    assert said in program.output
    assert said in log.read_text()
    assert not (tmp_path / "logs").exists()


def test_exits_1_without_its_database(
    release: Path, start: Start, tmp_path: Path, configuration: dict[str, Any]
) -> None:
    program = _start(start, release, tmp_path, configuration, ACTIVE)
    assert program.ends() == 1
    assert "no connection to the database in 600 ms" in program.output
    log = (tmp_path / "logs/metis-admin.log").read_text()
    assert "create connection error" in log
    assert "secret" not in program.output
