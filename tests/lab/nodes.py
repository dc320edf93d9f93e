"""The addresses of a lab, and what it knows of a host before there is one."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

NETWORK = ipaddress.ip_network("10.77.0.0/24")
GATEWAY = "10.77.0.254"


@dataclass(frozen=True)
class Node:
    """A host as it is wanted."""

    name: str
    address: str
    roles: tuple[str, ...]


MASTER = Node("master", "10.77.0.10", ("master",))
