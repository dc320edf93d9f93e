"""What is right and wrong with hosts, from what they are."""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_findings
from tests.unit import facts, orgs
from tests.unit.facts import DAY, GB

Data = dict[str, Any]
Finding = dict[str, str]


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    pure = orgs.wired()
    return pure | {metis_findings: next(iter(pure.values()))}


@pytest.fixture
def topology() -> Data:
    return orgs.topology()


@pytest.fixture
def asked(topology: Data) -> dict[str, Data]:
    return facts.asked(topology)


def _of(topology: Data, asked: dict[str, Data], host: str, **others: Any) -> dict[str, Finding]:
    """The findings on one host that differs from what is advised: what to finding."""
    seen = {host: facts.facts(asked[host], **others)}
    found = metis_findings.judged(topology["instances"], asked, seen)
    assert {one["host"] for one in found} == {host}
    assert len({one["what"] for one in found}) == len(found)
    for one in found:
        # Who reads that something is wrong reads what to do, too.
        assert bool(one["advice"]) == (one["result"] != "ok")
    return {one["what"]: one for one in found}


def test_all_is_well_with_hosts_as_they_are_advised(topology: Data, asked: dict[str, Data]) -> None:
    found = metis_findings.judged(topology["instances"], asked, facts.seen(asked))
    assert {one["result"] for one in found} == {"ok"}
    assert {one["host"] for one in found} == {"h1", "h2", "h3", "h4"}


# What is asked


def test_a_host_is_asked_for_what_its_own_instances_need(asked: dict[str, Data]) -> None:
    assert asked["h2"]["packages"] == [
        "curl",
        "mariadb-server",
        "nginx-light",
        "default-jre-headless",
    ]
    assert asked["h2"]["modules"] == ["saltext.mysql", "pymysql"]
    assert "/var/lib/mysql" in asked["h2"]["folders"]
    assert asked["h4"]["packages"] == ["curl", "python3-venv"]
    assert asked["h4"]["units"] == [
        "metis-data@8700.service",
        "metis-data@8701.service",
        "metis-compute@8800.service",
    ]
    assert {"/var/lib/metis/data/8701", "/opt/metis", "/usr"} <= set(asked["h4"]["folders"])
    assert "/usr/bin/python3" in asked["h4"]["files"]
    assert ["tcp", 80] in asked["h2"]["ports"]
    assert ["tcp", 443] not in asked["h2"]["ports"]


def test_no_secret_is_asked_with_it() -> None:
    password = "Quiet-harbour-41-lantern"
    topology = orgs.topology(orgs.org_file(admin={"mysql_password": password}))
    assert password in str(topology)
    assert password not in str(facts.asked(topology))


def test_room_is_counted_for_what_is_unpacked_too(topology: Data) -> None:
    sizes = {"0.3.0/consul.zip": 100, "0.3.0/carrier": 7}
    assert facts.asked(topology, sizes)["h1"]["room"] == {
        "/opt/metis/consul/releases/0.3.0/consul.zip": 400,
        "/opt/metis/carrier/releases/0.3.0/carrier": 7,
    }


def test_a_fighter_s_release_says_what_else_its_host_needs(topology: Data) -> None:
    release = copy.deepcopy(orgs.RELEASE)
    brought = {"python": "python/bin/python3.7", "packages": ["libgmpxx4ldbl"]}
    release["fighter"] |= brought
    asked = metis_findings.asked(topology, topology["instances"], {"0.3.0": release}, {})
    assert asked["h4"]["packages"] == ["curl", "python3-venv", "libgmpxx4ldbl"]
    assert "libgmpxx4ldbl" not in asked["h1"]["packages"]
    # It comes with the release.
    assert "fighter's Python" not in _of(topology, asked, "h4")


@pytest.mark.parametrize(
    "kind", ["binary", "installer", "jar", "sql", "tar", "wheel", "wheelhouse", "zip"]
)
def test_every_kind_of_artifact_takes_room(topology: Data, kind: str) -> None:
    release = copy.deepcopy(orgs.RELEASE)
    release["artifacts"]["carrier"] |= {"kind": kind, "unpacks": "into/it"}
    sizes = {"0.3.0/carrier": 10}
    asked = metis_findings.asked(topology, topology["instances"], {"0.3.0": release}, sizes)
    assert asked["h1"]["room"]["/opt/metis/carrier/releases/0.3.0/carrier"] >= 10


# What a host is


@pytest.mark.parametrize(
    ("name", "release", "result"),
    [
        ("Debian", "12", "ok"),
        ("Debian", "12.5", "ok"),
        ("Debian", "13", "ok"),
        ("Ubuntu", "22.04", "ok"),
        ("Ubuntu", "24.04", "ok"),
        ("Debian", "11", "failure"),
        ("Ubuntu", "18.04", "failure"),
        ("Ubuntu", "22", "failure"),
        ("AlmaLinux", "9", "failure"),
    ],
)
def test_operating_systems(
    topology: Data, asked: dict[str, Data], name: str, release: str, result: str
) -> None:
    system = {"os": name, "release": release, "architecture": "x86_64", "container": False}
    found = _of(topology, asked, "h1", system=system)["operating system"]
    assert (found["result"], f"{name} {release}" in found["found"]) == (result, True)
    assert result == "ok" or "Debian 12, Debian 13, Ubuntu 22.04, Ubuntu 24.04" in found["advice"]


def test_another_architecture_is_a_failure(topology: Data, asked: dict[str, Data]) -> None:
    system = {"os": "Debian", "release": "12", "architecture": "aarch64", "container": False}
    found = _of(topology, asked, "h1", system=system)["architecture"]
    assert (found["result"], "aarch64" in found["found"]) == ("failure", True)


def test_few_processors_are_a_warning_by_the_roles_of_the_host(
    topology: Data, asked: dict[str, Data]
) -> None:
    found = _of(topology, asked, "h4", cpus=4)["CPU"]
    assert (found["result"], found["found"]) == ("warning", "4 processors")
    assert found["advice"] == "8 are advised for data, compute"


def test_a_host_of_ice_via_alone_needs_less() -> None:
    roles = {"h1": ["consul", "carrier"], "h2": ["consul", "admin"], "h3": ["consul"]}
    file = orgs.hosts()
    file = {
        name: {"address": f"10.0.0.{n}", "roles": own}
        for n, (name, own) in enumerate((roles | {"h5": ["ice_via"]}).items(), 1)
    }
    topology = orgs.topology(orgs.org_file(hosts=file))
    memory = {"total": 8 * GB, "available": 7 * GB}
    found = _of(topology, facts.asked(topology), "h5", cpus=4, memory=memory)
    assert (found["CPU"]["result"], found["memory"]["result"]) == ("ok", "ok")
    found = _of(topology, facts.asked(topology), "h3", cpus=4, memory=memory)
    assert (found["CPU"]["result"], found["memory"]["result"]) == ("warning", "warning")


@pytest.mark.parametrize("there", [True, False])
def test_avx2_is_told_and_judged_nowhere(
    topology: Data, asked: dict[str, Data], there: bool
) -> None:
    found = _of(topology, asked, "h4", avx2=there)["AVX2"]
    assert (found["result"], found["found"][:3]) == ("ok", "yes" if there else "no:")


# Memory


@pytest.mark.parametrize(
    ("total", "available", "up", "result"),
    [
        (16 * GB, 15 * GB, [], "ok"),
        (15 * GB, 15 * GB, [], "warning"),
        # admin's heap is 4g.
        (4 * GB, 4 * GB, [], "failure"),
        (16 * GB, 4 * GB, [], "warning"),
        (16 * GB, 4 * GB, ["metis-admin.service"], "ok"),
    ],
)
def test_memory_has_to_hold_admin_s_heap_and_should_be_as_advised(
    total: int, available: int, up: list[str], result: str
) -> None:
    topology = orgs.topology(orgs.org_file(admin={"heap": "4g"}))
    memory = {"total": total, "available": available}
    found = _of(topology, facts.asked(topology), "h2", memory=memory, up=up)["memory"]
    assert found["result"] == result
    assert result != "failure" or "set admin.heap below it" in found["advice"]


@pytest.mark.parametrize("heap", ["4096m", "4G"])
def test_a_heap_is_read_in_every_unit(heap: str) -> None:
    topology = orgs.topology(orgs.org_file(admin={"heap": heap}))
    memory = {"total": 4 * 2**30 - 1, "available": 4 * 2**30 - 1}
    assert (
        _of(topology, facts.asked(topology), "h2", memory=memory)["memory"]["result"] == "failure"
    )


# Disk


def _disks(asked: Data, mounts: dict[str, Data]) -> dict[str, Data]:
    """Where each folder is: on the mount that it is below, else on the root's."""
    usual = facts.facts(asked)["disks"]["/usr"]
    found = {}
    for folder in asked["folders"]:
        mount = max((m for m in mounts if folder.startswith(m)), key=len, default="/")
        found[folder] = usual | {"mount": mount} | mounts.get(mount, {})
    return found


def test_a_small_disk_is_a_warning(topology: Data, asked: dict[str, Data]) -> None:
    disks = _disks(asked["h4"], {"/var/lib/metis": {"total": 100 * GB, "free": 90 * GB}})
    found = _of(topology, asked, "h4", disks=disks)
    assert found["disk /var/lib/metis"]["result"] == "warning"
    assert found["disk /var/lib/metis"]["found"] == "100.0 GB, 90.0 GB of it free"
    assert found["disk /var/lib/metis"]["advice"] == "200 GB are advised for data, compute"
    assert found["disk /"]["result"] == "ok"


def test_a_disk_of_which_its_file_system_takes_a_little_is_as_advised(
    topology: Data, asked: dict[str, Data]
) -> None:
    disks = _disks(asked["h4"], {"/": {"total": 196 * GB}})
    assert _of(topology, asked, "h4", disks=disks)["disk /"]["result"] == "ok"


def test_without_room_for_what_is_to_be_installed_it_is_a_failure(topology: Data) -> None:
    asked = facts.asked(topology, {"0.3.0/consul.zip": 3 * GB})
    file = "/opt/metis/consul/releases/0.3.0/consul.zip"
    disks = _disks(asked["h1"], {"/opt": {"free": 11 * GB}})
    found = _of(topology, asked, "h1", disks=disks, absent=[file])["disk /opt"]
    assert found["result"] == "failure"
    assert found["found"].endswith("11.0 GB of it free, and at least 12.0 GB are needed")
    # Once it is there, it needs no more.
    assert _of(topology, asked, "h1", disks=disks)["disk /opt"]["result"] == "ok"


def test_packages_need_room_where_they_are_kept_and_installed(
    topology: Data, asked: dict[str, Data]
) -> None:
    packages = {"missing": ["mariadb-server"], "download": GB, "error": "", "age": DAY}
    disks = _disks(asked["h2"], {"/var": {"free": 2 * GB}, "/usr": {"free": 3 * GB}})
    found = _of(topology, asked, "h2", disks=disks, packages=packages)
    assert found["disk /var"]["result"] == "ok"
    assert found["disk /usr"]["result"] == "failure"
    assert "at least 4.0 GB are needed" in found["disk /usr"]["found"]


def test_a_full_disk_is_a_failure_whatever_is_not_known_of_sizes(
    topology: Data, asked: dict[str, Data]
) -> None:
    disks = _disks(asked["h1"], {"/": {"free": 10**6}})
    absent = ["/opt/metis/carrier/releases/0.3.0/carrier"]
    assert _of(topology, asked, "h1", disks=disks, absent=absent)["disk /"]["result"] == "failure"
    # Where nothing is to come, a deploy may repair still.
    assert _of(topology, asked, "h1", disks=disks)["disk /"]["result"] == "warning"


@pytest.mark.parametrize(("free", "result"), [(10**6, "failure"), (10**8, "warning")])
def test_a_disk_for_data_alone_has_to_have_some_room(
    topology: Data, asked: dict[str, Data], free: int, result: str
) -> None:
    disks = _disks(asked["h1"], {"/var/lib/metis": {"free": free}})
    absent = ["/opt/metis/carrier/releases/0.3.0/carrier"]
    found = _of(topology, asked, "h1", disks=disks, absent=absent)
    assert found["disk /var/lib/metis"]["result"] == result
    assert found["disk /"]["result"] == "ok"


@pytest.mark.parametrize(
    ("mount", "how", "words"),
    [("/var/lib/metis", "read_only", "can only be read"), ("/opt", "noexec", "runs no programs")],
)
def test_a_file_system_that_is_of_no_use_is_a_failure(
    topology: Data, asked: dict[str, Data], mount: str, how: str, words: str
) -> None:
    disks = _disks(asked["h4"], {mount: {how: True}})
    found = _of(topology, asked, "h4", disks=disks)[f"disk {mount}"]
    assert (found["result"], words in found["found"]) == ("failure", True)


def test_data_need_run_no_programs(topology: Data, asked: dict[str, Data]) -> None:
    disks = _disks(asked["h4"], {"/var/lib/metis": {"noexec": True}})
    assert _of(topology, asked, "h4", disks=disks)["disk /var/lib/metis"]["result"] == "ok"


# Network of one host


def test_an_address_that_is_none_of_the_host_s_is_a_failure(
    topology: Data, asked: dict[str, Data]
) -> None:
    found = _of(topology, asked, "h1", own_address=False)["address"]
    assert (found["result"], found["found"]) == ("failure", "10.0.0.1 is none of this host's")


def test_a_stranger_on_a_port_is_named_with_the_setting(
    topology: Data, asked: dict[str, Data]
) -> None:
    ports = facts.facts(asked["h1"])["ports"]
    for port in ports:
        port["own"] = port["port"] == 8500
        port["others"] = ["python3 (process 12)"] if port["port"] == 10036 else []
    found = _of(topology, asked, "h1", ports=ports)
    assert found["port 10036/tcp"]["result"] == "failure"
    assert found["port 10036/tcp"]["found"] == (
        "p2p_tcp_port of carrier@h1, but python3 (process 12) has it"
    )
    assert found["ports"]["found"] == "11: 10 free, 1 of our own programs"


# Time


@pytest.mark.parametrize(
    ("ahead", "result", "said"),
    [
        (0.0, "ok", "as the master's"),
        # The answer was on its way for no longer than it took.
        (0.5, "ok", "as the master's"),
        (-0.5, "ok", "as the master's"),
        (1.5, "ok", "1.0 s ahead of the master"),
        (2.5, "warning", "2.0 s ahead of the master"),
        (-2.5, "warning", "2.0 s behind the master"),
        (60.5, "failure", "60.0 s ahead of the master"),
        (-3600.5, "failure", "3600.0 s behind the master"),
    ],
)
def test_a_clock_is_judged_by_what_it_is_off_for_certain(
    topology: Data, asked: dict[str, Data], ahead: float, result: str, said: str
) -> None:
    found = _of(topology, asked, "h1", began=1000.5 + ahead, ended=1001.5 + ahead)["clock"]
    assert (found["result"], found["found"]) == (result, said)


@pytest.mark.parametrize(
    ("services", "container", "result", "mends"),
    [
        ({"systemd-timesyncd.service": "active"}, False, "ok", []),
        ({"systemd-timesyncd.service": "inactive", "chrony.service": "active"}, False, "ok", []),
        ({"systemd-timesyncd.service": "inactive"}, False, "warning", ["time"]),
        ({"chrony.service": "failed"}, False, "warning", []),
        ({}, False, "warning", []),
        ({"systemd-timesyncd.service": "inactive"}, True, "ok", []),
    ],
)
def test_time_services(
    topology: Data,
    asked: dict[str, Data],
    services: dict[str, str],
    container: bool,
    result: str,
    mends: list[str],
) -> None:
    system = facts.facts(asked["h1"])["system"] | {"container": container}
    others = {"time_services": services, "system": system}
    assert _of(topology, asked, "h1", **others)["time service"]["result"] == result
    assert metis_findings.mendable(facts.facts(asked["h1"], **others)) == mends


# Packages, Salt, Python


@pytest.mark.parametrize(
    ("missing", "error", "age", "result", "mends"),
    [
        ([], "", DAY, "ok", []),
        # What is installed already needs no index.
        ([], "", 90 * DAY, "ok", []),
        (["nginx-light"], "", DAY, "ok", []),
        (["nginx-light"], "", 8 * DAY, "warning", ["packages"]),
        (["nginx-light"], "", None, "warning", ["packages"]),
        (["nginx-light"], "Unable to locate package nginx-light", DAY, "failure", ["packages"]),
    ],
)
def test_packages(
    topology: Data,
    asked: dict[str, Data],
    missing: list[str],
    error: str,
    age: float | None,
    result: str,
    mends: list[str],
) -> None:
    packages = {"missing": missing, "download": 0, "error": error, "age": age}
    found = _of(topology, asked, "h2", packages=packages)["packages"]
    assert found["result"] == result
    for word in (*missing, error):
        assert word in found["found"]
    assert metis_findings.mendable(facts.facts(asked["h2"], packages=packages)) == mends


def test_another_salt_than_the_master_s_is_a_warning(
    topology: Data, asked: dict[str, Data]
) -> None:
    found = _of(topology, asked, "h1", salt="3007.1")["Salt"]
    assert (found["result"], found["found"]) == ("warning", "3007.1, and the master has 3008.3")


def test_a_minion_without_what_speaks_to_mariadb_is_a_failure(
    topology: Data, asked: dict[str, Data]
) -> None:
    assert "minion's Python" not in _of(topology, asked, "h1")
    found = _of(topology, asked, "h2", lacking=["pymysql"])["minion's Python"]
    assert (found["result"], found["found"]) == ("failure", "lacks pymysql")


@pytest.mark.parametrize(
    ("python", "result"), [("/opt/python3.7/bin/python3.7", "failure"), ("/usr/bin/python3", None)]
)
def test_the_python_of_a_fighter_has_to_be_there(
    topology: Data, python: str, result: str | None
) -> None:
    release = copy.deepcopy(orgs.RELEASE)
    release["fighter"]["python"] = python
    asked = metis_findings.asked(topology, topology["instances"], {"0.3.0": release}, {})
    found = _of(topology, asked, "h4", absent=[python])
    # Debian's own comes with the packages.
    assert found.get("fighter's Python", {}).get("result") == result
    assert _of(topology, asked, "h4")["fighter's Python"]["result"] == "ok"


# The release


@pytest.mark.parametrize(
    ("problems", "stored", "result", "words"),
    [
        ([], {"a": "right", "b": "right"}, "ok", "2 of 2 artifacts are in the store"),
        ([], {"a": "right", "b": "missing"}, "ok", "are fetched by metis.prepare"),
        ([], {"a": "right", "b": "wrong"}, "warning", "damaged: b"),
        (["release names 0.3.0, whose artifact a has no checksum"], {}, "failure", "no checksum"),
    ],
)
def test_releases(problems: list[str], stored: dict[str, str], result: str, words: str) -> None:
    found = metis_findings.complete("0.3.0", problems, stored)
    assert (found["host"], found["what"]) == ("master", "release 0.3.0")
    assert (found["result"], words in found["found"]) == (result, True)
