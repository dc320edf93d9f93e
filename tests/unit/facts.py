"""Hosts as `metis_check.facts` tells of them."""

from __future__ import annotations

from typing import Any

from _modules import metis_findings
from tests.unit import orgs

GB = 10**9
DAY = 86400.0

Data = dict[str, Any]


def asked(topology: Data, sizes: dict[str, int] | None = None) -> dict[str, Data]:
    """Give what is asked of each host of a topology."""
    releases = {"0.3.0": orgs.RELEASE}
    found: dict[str, Data] = metis_findings.asked(
        topology, topology["instances"], releases, sizes or {}
    )
    return found


def facts(asked: Data, **others: Any) -> Data:
    """Give a host as it is advised to be, on which everything is installed and nothing runs yet."""
    disk = {"mount": "/", "total": 250 * GB, "free": 200 * GB}
    disk |= {"read_only": False, "noexec": False}
    ports = [{"protocol": p, "port": n, "own": False, "others": []} for p, n in asked["ports"]]
    own: Data = {
        "system": {
            "os": "Debian",
            "release": "12",
            "architecture": "x86_64",
            "container": False,
        },
        "cpus": 8,
        "avx2": True,
        "memory": {"total": 16 * GB, "available": 15 * GB},
        "disks": {folder: dict(disk) for folder in asked["folders"]},
        "own_address": True,
        "ports": ports,
        "up": [],
        "time_services": {"systemd-timesyncd.service": "active"},
        "packages": {"missing": [], "download": 0, "error": "", "age": DAY},
        "absent": [],
        "lacking": [],
        "salt": "3008.3",
        "master": "3008.3",
        "began": 1000.5,
        "ended": 1001.5,
        "sent": 1000.0,
        "received": 1002.0,
    }
    return own | others


def seen(asked: dict[str, Data]) -> dict[str, Data]:
    """Give what every host answers."""
    return {host: facts(own) for host, own in asked.items()}
