"""The inventory of the Ansible scripts: as they came, and as people fill it in."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import salt.utils.yaml

from _modules import (
    metis_ini,
    metis_inventory,
    metis_orgfile,
    metis_orgs,
    metis_orgtext,
    metis_topology,
    metis_variables,
)
from tests.unit import orgs

TEMPLATE = Path(__file__).with_suffix(".ini").read_text("utf-8")
SSH_PASSWORD, SUDO_PASSWORD, PASSWORD = "Ssh-Pass-1", "Sudo-Pass-1", "Console-Pass-1"
_USUAL = {
    "consul": "1 2 3",
    "carrier": "1",
    "admin": "2",
    "ice_via": "3",
    "data": "4 5 6",
    "compute": "7 8 9",
}


def filled(**hosts: str) -> str:
    """Give the template with everything filled in, nine hosts where nothing else is said.

    Args:
        hosts: the hosts of a group: the last number of each address 10.0.0.x.
    """
    lines, group = [], ""
    for line in TEMPLATE.splitlines():
        header = re.fullmatch(r"\[(\w+)\]", line)
        group = header[1] if header else group
        copies = [line]
        if line.startswith("${"):
            numbers = (_USUAL | hosts)[group].split()
            copies = [line.replace("${目标机内网IP}", f"10.0.0.{number}") for number in numbers]
        lines += copies
    text = "\n".join(lines) + "\n"
    for old, new in (
        ("${ ssh 账户名称 }", "operator"),
        ("${ ss 账户密码 }", SSH_PASSWORD),
        ("${ sudo 提权密码 }", SUDO_PASSWORD),
        ("${carrier 目标机外网 IP}", "198.51.100.1"),
        ("${ice_via 目标机外网 IP}", "198.51.100.3"),
        ("admin_123456", PASSWORD),
    ):
        assert old in text
        text = text.replace(old, new)
    return text


def changed(text: str, **values: str | None) -> str:
    """Give an inventory with other values of variables, or without those that are `None`.

    Args:
        text: the inventory.
        values: what stands behind each variable's `=`.
    """
    for name, value in values.items():
        line = "" if value is None else f"{name} = {value}"
        text, count = re.subn(rf"^{name} *=.*$", lambda _, line=line: line, text, flags=re.M)  # type: ignore[misc]
        assert count == 1, name
    return text


def wired() -> dict[ModuleType, dict[str, Any]]:
    """Give what `configure_loader_modules` needs for the modules of the import and pure others."""
    own = (metis_ini, metis_inventory, metis_orgs, metis_orgtext, metis_variables)
    pure = orgs.wired()
    functions = next(iter(pure.values()))["__salt__"] | orgs.by_salts_name(*own)
    return {module: pure.get(module, {}) | {"__salt__": functions} for module in (*pure, *own)}


def loaded(text: str) -> dict[str, Any]:
    """Give what an organization file holds, rendered as Salt does it."""
    found: dict[str, Any] = salt.utils.yaml.safe_load(jinja2.Template(text).render())
    return found


def built(made: dict[str, Any]) -> dict[str, Any]:
    """Give the topology of an imported organization, or its faults, once it has a data center."""
    file = loaded(made["text"])
    file["metis"].setdefault("data_center", {"address": "203.0.113.5", "port": 9090})
    form = metis_orgfile.read(file)
    found: dict[str, Any] = metis_topology.build(made["org"], form, orgs.RELEASE)
    return found
