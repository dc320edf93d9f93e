"""The lab's hosts, as the organization's own file names them."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.errors import LabError
from tests.lab.nodes import GATEWAY, MASTER, NETWORK, Node

_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class Organization:
    """An organization file, read."""

    name: str
    file: Path
    release: str
    nodes: tuple[Node, ...]


def read(file: Path) -> Organization:
    """Read an organization file for the lab.

    Only what the lab stands on is looked at: the deployment itself validates the rest.

    Args:
        file: the organization file, YAML.

    Raises:
        LabError: it is missing, no YAML, or its hosts cannot be a lab; all faults together.
    """
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"cannot read the organization file {file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise LabError(f"{file} is not plain YAML, which the lab needs: {error}") from error
    body = data.get("metis") if isinstance(data, dict) else None
    if not isinstance(body, dict) or not isinstance(body.get("hosts"), dict) or not body["hosts"]:
        raise LabError(f"{file} has no hosts: under metis: hosts: it needs NAME: {{address: ...}}")
    faults: list[str] = []
    nodes = tuple(_node(str(name), value, faults) for name, value in body["hosts"].items())
    taken = {MASTER.address: MASTER.name, GATEWAY: "the bridge"}
    for node in nodes:
        if node.address in taken:
            faults.append(f"{node.name}: {node.address} belongs to {taken[node.address]} already")
        taken[node.address] = node.name
    if faults:
        raise LabError(f"{file} cannot be a lab:\n" + "\n".join(f"  {fault}" for fault in faults))
    return Organization(file.stem, file.resolve(), str(body.get("release", "sandbox")), nodes)


def _node(name: str, value: Any, faults: list[str]) -> Node:
    entry = value if isinstance(value, dict) else {}
    if not _NAME.fullmatch(name) or name == MASTER.name:
        faults.append(f"{name}: a host is named with a-z, 0-9 and -, and not {MASTER.name}")
    address = str(entry.get("address", ""))
    try:
        inside = ipaddress.ip_address(address) in NETWORK
    except ValueError:
        inside = False
    if not inside:
        faults.append(f"{name}: address {address or '(none)'} is not an address of {NETWORK}")
    roles = entry.get("roles") or []
    return Node(name, address, tuple(str(role) for role in roles))
