"""An organization to test with, and the pure modules wired to each other as Salt does it."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import yaml

from _modules import (
    metis_access,
    metis_claims,
    metis_config,
    metis_deployed,
    metis_orgfile,
    metis_orgform,
    metis_progress,
    metis_release,
    metis_releasefile,
    metis_rules,
    metis_topology,
    metis_verb,
    metis_view,
)
from tests.render.matrix import RELEASES

SHA256 = "ab" * 32
MADE = "made-on-the-master"
ENR = "enr:-" + "Jy4QMa" * 16
RELEASE: dict[str, Any] = {
    "release": "0.3.0",
    "kv": {
        "datacenter": "metis/dataCenter_ip_port",
        "glacier2": "metis/via_ip_port",
        "icegrid": None,
    },
    "fighter": {
        "python": "/usr/bin/python3",
        "data": "metis.data_svc.main",
        "compute": "metis.compute_svc.main",
    },
    "admin": {"database": "metis_admin", "context_path": "/metis-admin"},
    "artifacts": {
        name: {
            "version": "0.3.0",
            "kind": kind,
            "roles": roles,
            "file": file,
            "sha256": SHA256,
            "sources": [f"https://releases.example/{file}"],
        }
        for name, kind, roles, file in (
            ("consul", "zip", ["consul"], "consul.zip"),
            ("carrier", "binary", ["carrier"], "carrier"),
            ("admin_jar", "jar", ["admin"], "admin.jar"),
            ("metis_dcv", "wheel", ["data", "compute"], "metis_dcv-0.9.1-py3-none-any.whl"),
        )
    },
}
# One as it stands in a file, with all that a release has to have.
RELEASE_FILE: dict[str, Any] = yaml.safe_load((RELEASES / "sandbox.yaml").read_text("utf-8")) | {
    "release": "0.3.0"
}
_FILE: dict[str, Any] = {
    "cluster_name": "acme-cluster",
    "release": "0.3.0",
    "data_center": {"address": "10.0.0.100", "port": 9090},
    "hosts": {
        "h1": {"address": "10.0.0.1", "roles": ["consul", "carrier"]},
        "h2": {"address": "10.0.0.2", "roles": ["consul", "admin"]},
        "h3": {"address": "10.0.0.3", "roles": ["consul", "ice_via"]},
        "h4": {"address": "10.0.0.4", "roles": ["data", "data", "compute"]},
    },
    "carrier": {"external_address": "198.51.100.1"},
    "ice_via": {"external_address": "ice.acme.example"},
}


def org_file(**changes: Any) -> dict[str, Any]:
    """Give what stands below `metis` in a valid organization file, four hosts with every role.

    Args:
        changes: keys to put in place of those of that file.
    """
    return copy.deepcopy(_FILE) | changes


def hosts(*roles: Any, **others: list[Any]) -> dict[str, Any]:
    """Give a `hosts` mapping: h1 with consul, carrier and these roles, and others with theirs."""
    named = {"h1": ["consul", "carrier", *roles], **others}
    return {
        name: {"address": f"10.0.0.{number}", "roles": own}
        for number, (name, own) in enumerate(named.items(), 1)
    }


def one_host(*roles: Any, **changes: Any) -> dict[str, Any]:
    """Give the file of an organization of one host; without admin where it has none."""
    without = {} if "admin" in roles else {"admin": {"enabled": False}}
    return org_file(hosts=hosts(*roles)) | without | changes


def form_faults(file: Any) -> dict[str, dict[str, Any]]:
    """Give the faults of a file's form by their places."""
    return {fault["place"]: fault for fault in metis_orgfile.read({"metis": file})["faults"]}


def only_form_fault(file: Any) -> dict[str, Any]:
    """Give the one fault of a file's form."""
    faults = form_faults(file)
    assert len(faults) == 1, faults
    return next(iter(faults.values()))


def built(file: dict[str, Any], release: dict[str, Any] = RELEASE) -> dict[str, Any]:
    """Give the topology of a file, or its faults, as `metis_topology.build` does."""
    form = metis_orgfile.read({"metis": file})
    made: dict[str, Any] = metis_topology.build("acme", form, release)
    if made["topology"]:
        made["topology"]["deployed"] = metis_deployed.of(made["topology"], {})
    return made


def topology(file: dict[str, Any] | None = None) -> dict[str, Any]:
    """Give the topology of a file that has no faults; of the usual one where none is given."""
    made = built(org_file() if file is None else file)
    assert made["faults"] == []
    whole: dict[str, Any] = made["topology"]
    return whole


def left(file: dict[str, Any]) -> dict[str, Any]:
    """Give the topology of a file, where the usual organization was deployed before."""
    traces = metis_view.traces(topology(), {"0.3.0": RELEASE})
    whole = topology(file)
    known = {key: trace | {"release": "0.3.0"} for key, trace in traces.items()}
    whole["leaving"] = metis_deployed.leaving(whole, known)
    return whole


def views(
    whole: dict[str, Any], password: str = MADE, certificates: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Give every host's view of a topology."""
    secrets = {"mysql_password": password, "certificates": certificates or {}}
    releases = {RELEASE["release"]: RELEASE}
    return {host: metis_view.view(whole, releases, secrets, host) for host in whole["hosts"]}


def by_salts_name(*modules: ModuleType) -> dict[str, Callable[..., Any]]:
    """Give the public functions of modules under the names that Salt's loader gives them."""
    return {
        f"{module.__virtualname__}.{getattr(module, '__func_alias__', {}).get(name, name)}": found
        for module in modules
        for name, found in inspect.getmembers(module, inspect.isfunction)
        if found.__module__ == module.__name__ and not name.startswith("_")
    }


def wired() -> dict[ModuleType, dict[str, Any]]:
    """Give what `configure_loader_modules` needs for the pure modules."""
    pure = (
        metis_claims,
        metis_config,
        metis_deployed,
        metis_orgfile,
        metis_orgform,
        metis_release,
        metis_releasefile,
        metis_rules,
        metis_topology,
        metis_verb,
        metis_view,
    )
    functions = by_salts_name(*pure, metis_access, metis_progress)
    # No store, no pins.
    functions["metis_pins.merged"] = lambda release: release
    wired: dict[ModuleType, dict[str, Any]] = {module: {"__salt__": functions} for module in pure}
    # Nothing is deployed.
    functions["metis_secrets.read"] = lambda org, below="": {}
    wired[metis_deployed]["__opts__"] = {"pki_dir": "/nowhere"}
    return wired
