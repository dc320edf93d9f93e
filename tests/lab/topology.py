"""The lab's hosts, as the organizations' own files name them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.lab.errors import LabError
from tests.lab.nodes import GATEWAY, MASTER, NETWORK, Node

OWN = Path(__file__).resolve().parents[2] / "pillar/orgs"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


@dataclass(frozen=True)
class Organization:
    """An organization file, read."""

    name: str
    file: Path
    nodes: tuple[Node, ...]


def read(files: Sequence[Path]) -> tuple[Organization, ...]:
    """Read organization files for one lab.

    Only what the lab stands on is looked at: the deployment itself validates the rest.

    Args:
        files: the organization files, YAML.

    Raises:
        LabError: one is missing or no YAML, or their hosts cannot be a lab; all faults together.
    """
    faults: list[str] = []
    found = [_read(file, faults) for file in files]
    given = {organization.file for organization in found}
    # The master reads these too.
    own = [_read(file, []) for file in sorted(OWN.glob("*.sls")) if file.resolve() not in given]
    faults += _clashes(found, own)
    if faults:
        raise LabError("there can be no such lab:\n" + "\n".join(f"  {fault}" for fault in faults))
    return tuple(found)


def _read(file: Path, faults: list[str]) -> Organization:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        faults.append(f"{file}: cannot be read: {error.strerror}")
        return Organization(file.stem, file.resolve(), ())
    except yaml.YAMLError as error:
        faults.append(f"{file}: is not plain YAML, which the lab needs: {error}")
        return Organization(file.stem, file.resolve(), ())
    body = data.get("metis") if isinstance(data, dict) else None
    hosts = body.get("hosts") if isinstance(body, dict) else None
    if not isinstance(hosts, dict) or not hosts:
        faults.append(f"{file}: has no hosts: under metis: hosts: it needs NAME: {{address: ...}}")
        hosts = {}
    nodes = tuple(_node(file, str(name), value, faults) for name, value in hosts.items())
    return Organization(file.stem, file.resolve(), nodes)


def _node(file: Path, name: str, value: Any, faults: list[str]) -> Node:
    entry = value if isinstance(value, dict) else {}
    if not _NAME.fullmatch(name) or name == MASTER.name:
        faults.append(f"{file}: {name}: a host is named with a-z, 0-9 and -, and not {MASTER.name}")
    address = str(entry.get("address", ""))
    try:
        inside = ipaddress.ip_address(address) in NETWORK
    except ValueError:
        inside = False
    if not inside:
        shown = address or "(none)"
        faults.append(f"{file}: {name}: address {shown} is not an address of {NETWORK}")
    # A role that has settings is a mapping of its name to them.
    roles = (next(iter(r), "") if isinstance(r, dict) else r for r in entry.get("roles") or [])
    return Node(name, address, tuple(map(str, roles)))


def _clashes(organizations: Sequence[Organization], own: Sequence[Organization]) -> Iterator[str]:
    """What two organizations, or two hosts, cannot both have."""
    files = {org.name: org.file for org in own}
    names = {node.name: org.file for org in own for node in org.nodes}
    addresses = {MASTER.address: MASTER.name, GATEWAY: "the bridge"}
    for org in organizations:
        other = files.setdefault(org.name, org.file)
        if other is not org.file:
            yield f"{org.file}: the organization {org.name} is that of {other} already"
        for node in org.nodes:
            if names.setdefault(node.name, org.file) is not org.file:
                yield f"{org.file}: {node.name}: is a host of {names[node.name]} already"
            owner = addresses.setdefault(node.address, node.name)
            if owner != node.name and node.address:
                yield f"{org.file}: {node.name}: {node.address} belongs to {owner} already"
