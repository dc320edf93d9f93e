"""What a host tells of itself, and what it mends."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import create_autospec

import pytest
from salt.exceptions import CommandExecutionError
from salt.modules import aptpkg, cmdmod

from _modules import metis_check, metis_unit

Data = dict[str, Any]

ASKED: Data = {
    "address": "127.0.0.1",
    "units": ["metis-carrier.service"],
    "ports": [],
    "folders": [],
    "packages": [],
    "modules": [],
    "files": [],
    "room": {},
}


class Apt:
    """apt-get and its helper, as a test says."""

    def __init__(self) -> None:
        self.files: dict[str, int] = {}
        self.errors: dict[str, str] = {}
        self.commands: list[list[str]] = []

    def run_all(self, command: list[str], **options: Any) -> Data:
        """Stand in for `cmd.run_all`."""
        assert options["python_shell"] is False
        assert options["timeout"] > 0
        self.commands.append(command)
        wrong = next((said for word, said in self.errors.items() if word in command), "")
        lines = [
            f"'{uri}' {uri.split('/')[-1]} {size} MD5Sum:00" for uri, size in self.files.items()
        ]
        out = "" if wrong else "\n".join(lines)
        return {"retcode": 100 if wrong else 0, "stdout": out, "stderr": wrong}


@pytest.fixture
def apt() -> Apt:
    return Apt()


@pytest.fixture
def units() -> dict[str, Data]:
    """What systemd has."""
    return {}


@pytest.fixture
def functions(apt: Apt, units: dict[str, Data]) -> Data:
    absent = {"state": "absent", "pid": 0}

    def facts(names: list[str]) -> dict[str, Data]:
        return {name: units.get(name, absent) for name in names}

    return {
        "cmd.run_all": create_autospec(cmdmod.run_all, side_effect=apt.run_all),
        "metis_unit.act": create_autospec(metis_unit.act),
        "metis_unit.facts": create_autospec(metis_unit.facts, side_effect=facts),
        "metis_unit.holders": create_autospec(metis_unit.holders, return_value=["the ports"]),
        "pkg.list_pkgs": create_autospec(aptpkg.list_pkgs, return_value={"curl": "7.88.1"}),
        "pkg.refresh_db": create_autospec(aptpkg.refresh_db),
    }


@pytest.fixture
def configure_loader_modules(
    functions: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[ModuleType, Data]:
    monkeypatch.setattr(metis_check.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(metis_check, "_CONTAINER", tmp_path / "container")
    grains = {"os": "Debian", "osrelease": "12", "cpuarch": "x86_64", "cpu_flags": ["avx", "avx2"]}
    own = {"__salt__": functions, "__opts__": {"id": "h1"}, "__grains__": grains}
    return {metis_check: own}


def _facts(**asked: Any) -> Data:
    found: Data = metis_check.facts({"h1": ASKED | asked, "h2": {}})
    return found


def test_a_host_tells_what_it_is(tmp_path: Path) -> None:
    before = time.time()
    found = _facts()
    assert before <= found["began"] <= found["ended"] <= time.time()
    assert found["system"] == {
        "os": "Debian",
        "release": "12",
        "architecture": "x86_64",
        "container": False,
    }
    assert found["avx2"] is True
    assert found["cpus"] == len(os.sched_getaffinity(0))
    assert found["memory"]["total"] >= found["memory"]["available"] > 0
    (tmp_path / "container").touch()
    assert _facts()["system"]["container"] is True


def test_ports_are_looked_at_with_the_processes_of_its_own_units(
    units: dict[str, Data], functions: Data
) -> None:
    units["metis-carrier.service"] = {"state": "active", "pid": 117}
    # Its clock's service is none of the organization's programs.
    units["chrony.service"] = {"state": "active", "pid": 9}
    found = _facts(ports=[["tcp", 10033]])
    functions["metis_unit.holders"].assert_called_once_with([117], [["tcp", 10033]])
    assert found["ports"] == ["the ports"]
    assert found["up"] == ["metis-carrier.service"]
    assert found["time_services"] == {"chrony.service": "active"}


@pytest.mark.parametrize(
    ("state", "up"), [("activating", True), ("deactivating", True), ("failed", False)]
)
def test_a_unit_that_is_about_to_start_again_is_up(
    units: dict[str, Data], state: str, up: bool
) -> None:
    units["metis-carrier.service"] = {"state": state, "pid": 0}
    assert bool(_facts()["up"]) is up


def test_a_folder_that_is_not_there_is_judged_by_where_it_would_be(tmp_path: Path) -> None:
    folder = str(tmp_path / "not/there/yet")
    disk = _facts(folders=[folder])["disks"][folder]
    seen = os.statvfs(tmp_path)
    assert os.path.ismount(disk["mount"])
    assert str(tmp_path).startswith(disk["mount"])
    assert disk["total"] == seen.f_blocks * seen.f_frsize
    assert 0 < disk["free"] <= disk["total"]
    assert (disk["read_only"], disk["noexec"]) == (False, False)


def test_a_file_system_is_the_one_that_is_mounted_there() -> None:
    assert _facts(folders=["/proc/metis"])["disks"]["/proc/metis"]["mount"] == "/proc"


@pytest.mark.parametrize(("address", "own"), [("127.0.0.1", True), ("192.0.2.1", False)])
def test_an_address_is_its_own_or_not(address: str, own: bool) -> None:
    assert _facts(address=address)["own_address"] is own


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    there, absent = tmp_path / "there", str(tmp_path / "absent")
    there.touch()
    found = _facts(
        files=[str(there), absent], modules=["psutil", "saltext.nowhere", "no_such_package"]
    )
    assert found["absent"] == [absent]
    assert found["lacking"] == ["saltext.nowhere", "no_such_package"]


# Packages


def test_of_packages_that_are_installed_apt_is_not_asked(apt: Apt) -> None:
    assert _facts(packages=["curl"])["packages"]["missing"] == []
    assert apt.commands == []


def test_what_is_missing_is_looked_for_and_nothing_is_installed(apt: Apt, tmp_path: Path) -> None:
    package = tmp_path / "nginx_1%3a2_amd64.deb"
    package.touch()
    # apt writes % of a file's name as %25.
    apt.files = {f"file:{tmp_path}/nginx_1%253a2_amd64.deb": 500}
    found = _facts(packages=["curl", "nginx"])["packages"]
    assert (found["missing"], found["download"], found["error"]) == (["nginx"], 500, "")
    (command,) = apt.commands
    assert command[0] == "apt-get"
    assert "--print-uris" in command
    assert command[-1] == "nginx"


def test_apt_s_own_words_say_what_it_cannot_find(apt: Apt) -> None:
    apt.errors["apt-get"] = "Reading lists...\nE: Unable to locate package nginx\nE: no candidate"
    found = _facts(packages=["nginx"])["packages"]
    assert found["error"] == "Unable to locate package nginx; no candidate"


def test_a_file_of_a_source_that_is_gone_is_told(apt: Apt, tmp_path: Path) -> None:
    apt.files = {f"file:{tmp_path}/gone.deb": 500}
    found = _facts(packages=["nginx"])["packages"]
    assert found["error"] == f"file:{tmp_path}/gone.deb is not there"


def test_of_each_source_the_smallest_file_is_fetched_by_apt_itself(apt: Apt) -> None:
    apt.files = {
        "http://one.example/large.deb": 900,
        "http://one.example/small.deb": 10,
        "https://two.example/only.deb": 50,
    }
    assert _facts(packages=["nginx"])["packages"]["error"] == ""
    fetched = [c[c.index("download-file") + 1] for c in apt.commands[1:]]
    assert fetched == ["http://one.example/small.deb", "https://two.example/only.deb"]
    assert not Path(apt.commands[1][-1]).exists()


def test_a_source_that_does_not_answer_is_told(apt: Apt) -> None:
    apt.files = {"http://one.example/small.deb": 10}
    apt.errors["download-file"] = "E: Could not connect to one.example:80"
    assert _facts(packages=["nginx"])["packages"]["error"] == (
        "http://one.example/small.deb cannot be fetched: Could not connect to one.example:80"
    )


def test_a_host_without_apt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metis_check.shutil, "which", lambda name: None)
    assert _facts(packages=["nginx"])["packages"]["error"] == "there is no apt-get"


def test_the_age_of_the_index_is_that_of_the_last_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = tmp_path / "lists"
    monkeypatch.setattr(metis_check, "_LISTS", str(lists))
    assert _facts()["packages"]["age"] is None
    lists.mkdir()
    os.utime(lists, (time.time() - 1000,) * 2)
    assert _facts()["packages"]["age"] == pytest.approx(1000, abs=60)


# Mending


def test_only_what_is_asked_of_this_host_is_mended(functions: Data) -> None:
    assert metis_check.mend({"h1": ["time"], "h2": ["packages"]}) == ["time"]
    functions["pkg.refresh_db"].assert_not_called()
    acted = [call.args for call in functions["metis_unit.act"].call_args_list]
    unit = ["systemd-timesyncd.service"]
    assert acted == [("enable", unit), ("start", unit)]


def test_a_source_that_cannot_be_read_is_not_called_mended(functions: Data) -> None:
    functions["pkg.refresh_db"].side_effect = CommandExecutionError("Error getting repos")
    with pytest.raises(CommandExecutionError, match="packages: Error getting repos"):
        metis_check.mend({"h1": ["packages", "time"]})
    functions["pkg.refresh_db"].assert_called_once_with(failhard=True)
    # The rest is mended all the same.
    assert functions["metis_unit.act"].call_count == 2
