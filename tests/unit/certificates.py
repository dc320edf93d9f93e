"""The pure modules' certificates, made by Salt's own x509 module."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

from salt.modules import x509_v2

from _modules import metis_certificates, metis_secrets
from tests.unit import orgs

_FUNCTIONS = ("create_private_key", "create_certificate", "expires", "read_certificate")


def wired(pki: Path) -> dict[ModuleType, dict[str, Any]]:
    """Give what `configure_loader_modules` needs for certificates.

    Args:
        pki: the master's folder of keys.
    """
    functions: dict[str, Any] = {f"x509.{name}": getattr(x509_v2, name) for name in _FUNCTIONS}
    functions |= orgs.by_salts_name(metis_certificates, metis_secrets)
    opts = {"pki_dir": str(pki), "fips_mode": False}
    return {
        metis_certificates: {"__salt__": functions},
        metis_secrets: {"__opts__": opts},
        x509_v2: {"__salt__": functions, "__opts__": opts},
    }
