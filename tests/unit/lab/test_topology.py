from pathlib import Path

import pytest

from tests.lab import topology
from tests.lab.errors import LabError
from tests.lab.nodes import Node


def _file(folder: Path, text: str, name: str = "acme") -> Path:
    file = folder / f"{name}.sls"
    file.write_text(text)
    return file


def test_hosts_are_the_files(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        "metis:\n"
        "  hosts:\n"
        "    one: {address: 10.77.0.11, roles: [consul, data, data: {port: 8710}]}\n"
        "    two: {address: 10.77.0.12}\n",
    )
    (organization,) = topology.read([file])
    assert organization.name == "acme"
    assert organization.nodes == (
        Node("one", "10.77.0.11", ("consul", "data", "data")),
        Node("two", "10.77.0.12", ()),
    )


def test_all_faults_are_said_at_once(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        "metis:\n"
        "  hosts:\n"
        "    master: {address: 10.77.0.11}\n"
        "    Big_Host: {address: 10.77.0.12}\n"
        "    far: {address: 192.168.0.1}\n"
        "    none: {roles: [data]}\n"
        "    taken: {address: 10.77.0.10}\n"
        "    twin: {address: 10.77.0.12}\n",
    )
    with pytest.raises(LabError) as raised:
        topology.read([file])
    text = str(raised.value)
    assert str(file) in text
    for part in (
        "master: a host is named",
        "Big_Host: a host is named",
        "far: address 192.168.0.1",
        "none: address (none)",
        "taken: 10.77.0.10 belongs to master",
        "twin: 10.77.0.12 belongs to Big_Host",
    ):
        assert part in text


@pytest.mark.parametrize(
    "text", ["", "metis: {}", "metis: {hosts: {}}", "- a", "metis: {hosts: [a]}", "other: {}"]
)
def test_a_file_without_hosts_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(LabError, match="has no hosts"):
        topology.read([_file(tmp_path, text)])


def test_a_template_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="not plain YAML"):
        topology.read([_file(tmp_path, "{% set a = 1 %}")])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"nowhere\.sls"):
        topology.read([tmp_path / "nowhere.sls"])


def test_what_the_repository_has_already_is_refused(tmp_path: Path) -> None:
    hosts = "metis: {hosts: {demo1: {address: 10.77.0.99}}}"
    with pytest.raises(LabError, match=r"the organization demo is that of .*/demo\.sls already"):
        topology.read([_file(tmp_path, hosts, "demo")])
    with pytest.raises(LabError, match=r"demo1: is a host of .*/demo\.sls already"):
        topology.read([_file(tmp_path, hosts, "mine")])
    assert topology.read([topology.OWN / "demo.sls"])[0].name == "demo"


def test_organizations_stand_beside_each_other(tmp_path: Path) -> None:
    one = _file(tmp_path, "metis: {hosts: {one: {address: 10.77.0.11}}}", "one")
    two = _file(tmp_path, "metis: {hosts: {two: {address: 10.77.0.12}}}", "two")
    found = topology.read([one, two])
    assert [(org.name, [node.name for node in org.nodes]) for org in found] == [
        ("one", ["one"]),
        ("two", ["two"]),
    ]


def test_all_clashes_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    one = _file(
        tmp_path,
        "metis: {hosts: {same: {address: 10.77.0.11}, one: {address: 10.77.0.12}}}",
        "one",
    )
    two = _file(
        tmp_path,
        "metis: {hosts: {same: {address: 10.77.0.13}, two: {address: 10.77.0.12}}}",
        "two",
    )
    (tmp_path / "other").mkdir()
    again = _file(tmp_path / "other", "metis: {}", "one")
    with pytest.raises(LabError) as raised:
        topology.read([one, two, again, tmp_path / "nowhere.sls"])
    assert str(raised.value).splitlines()[1:] == [
        f"  {again}: has no hosts: under metis: hosts: it needs NAME: {{address: ...}}",
        f"  {tmp_path}/nowhere.sls: cannot be read: No such file or directory",
        f"  {two}: same: is a host of {one} already",
        f"  {two}: two: 10.77.0.12 belongs to one already",
        f"  {again}: the organization one is that of {one} already",
    ]


def test_a_file_is_given_once(tmp_path: Path) -> None:
    file = _file(tmp_path, "metis: {hosts: {one: {address: 10.77.0.11}}}")
    with pytest.raises(LabError, match=f"the organization acme is that of {file} already"):
        topology.read([file, file])
