"""A host as far as what an organization makes on it: files below a folder, users, packages."""

from __future__ import annotations

import json
import pwd
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError

from _modules import (
    metis_absence,
    metis_apt,
    metis_claims,
    metis_identity,
    metis_mysql,
    metis_ownership,
)
from tests.unit import orgs

Data = dict[str, Any]

_UNIT = "# Written by Salt from the organization acme. A change here is lost at the next run.\n"
# Below the folder of a test, whatever starts like this.
_ABSOLUTE = re.compile(r'"(/(?:etc|opt|srv|usr|var)/)')
# Constants of modules that are paths.
_PATHS = (
    (metis_claims, "UNITS"),
    (metis_claims, "SYSTEMD"),
    (metis_claims, "DATABASES"),
    (metis_claims, "EXAMPLE_SITE"),
    (metis_ownership, "FOLDER"),
    (metis_mysql, "FOLDER"),
    (metis_identity, "NOTE"),
)
# Folders of the system and of packages.
_SYSTEM = (
    "etc/systemd/system/multi-user.target.wants",
    "etc/mysql/mariadb.conf.d",
    "etc/nginx/conf.d",
    "opt",
    "srv",
    "usr/local/lib",
    "var/lib",
    "var/log",
)


def _facts(state: str, enabled: bool) -> Data:
    return {"state": state, "enabled": enabled, "pid": 117 if state == "active" else 0}


class Machine:
    """The host, with what a test puts on it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.users: dict[str, int] = {"root": 0}
        self.packages: set[str] = {"apt"}
        self.units: dict[str, Data] = {}
        self.accounts: list[str] = []
        self.joined: list[str] = []
        self.processes: list[Data] = []
        # What the server's client says in place of an answer.
        self.silent = ""
        for module, name in _PATHS:
            monkeypatch.setattr(module, name, self.path(getattr(module, name)))
        sites = tuple(self.path(path) for path in metis_absence._SITES)
        monkeypatch.setattr(metis_absence, "_SITES", sites)
        monkeypatch.setattr(pwd, "getpwnam", self._account)
        monkeypatch.setattr(pwd, "getpwall", lambda: [self._account(name) for name in self.users])
        monkeypatch.setattr(metis_mysql, "ask", self._ask)
        look = lambda _: [SimpleNamespace(info=one) for one in self.processes]  # noqa: E731
        monkeypatch.setattr(metis_absence.psutil, "process_iter", look)
        for folder in _SYSTEM:
            (root / folder).mkdir(parents=True)

    def path(self, path: str) -> str:
        """A path of a host, below the test's folder."""
        return f"{self.root}{path}"

    def _account(self, name: str) -> Any:
        return SimpleNamespace(pw_name=name, pw_uid=self.users[name])

    def view(self, *roles: Any, **changes: Any) -> Data:
        """The view of a host with these roles, with paths below the test's folder."""
        found = orgs.views(orgs.topology(orgs.one_host(*roles, **changes)))["h1"]
        text = _ABSOLUTE.sub(rf'"{self.root}\1', json.dumps(found))
        view: Data = json.loads(text)
        return view

    def deploy(self, view: Data) -> None:
        """Mark what a view claims, and make it, as a deploy does."""
        metis_ownership.mark(view)
        self.make(view)

    def make(self, view: Data) -> None:
        """Make what a view claims."""
        for claim in metis_claims.of(view):
            self._make(claim["kind"], claim["name"])
        self.accounts = [c["name"] for c in metis_claims.of(view) if c["kind"] == "account"]

    def _make(self, kind: str, name: str) -> None:
        if kind in ("folder", "store"):
            Path(name).mkdir(parents=True, exist_ok=True)
        elif kind == "tree":
            self._make_tree(Path(name))
        elif kind == "user":
            self.users.setdefault(name, 900 + len(self.users))
        elif kind == "package":
            self.packages.add(name)
        elif kind in ("unit", "service"):
            self.units[name] = _facts("inactive", enabled=True)
        elif kind == "database":
            (Path(metis_mysql.FOLDER) / name).mkdir(parents=True, exist_ok=True)

    def _make_tree(self, path: Path) -> None:
        if path.exists():
            return
        # An instance's link to its release.
        is_link = path.name.isdigit() and "opt" in path.parts
        if path.suffix in (".service", ".conf", ".cnf", ".key", ".yml", ".env") or is_link:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_UNIT)
        else:
            path.mkdir(parents=True)
            (path / "content").touch()

    def remove(self, view: Data, **leaving: Any) -> Data:
        """Do what the roles' states do with what goes, and return what went, by its kind."""
        gone: Data = {"paths": [], "users": [], "units": [], "databases": [], "accounts": []}
        for role in metis_claims.PACKAGES:
            found = metis_absence.going(role, view, leaving)
            for kind, things in gone.items():
                things += found[kind]
        rest = metis_absence.shared(view, leaving)
        gone["paths"] += rest["paths"]
        gone["packages"] = rest["packages"]
        for path in gone["paths"]:
            shutil.rmtree(path) if Path(path).is_dir() else Path(path).unlink()
        for name in gone["users"]:
            del self.users[name]
        for name in gone["databases"]:
            shutil.rmtree(Path(metis_mysql.FOLDER) / name)
        self.packages -= set(gone["packages"])
        for unit, package in metis_claims.SERVICES.items():
            if package in gone["packages"]:
                self.units.pop(unit)
        for name in gone["units"]:
            self.units.pop(name, None)
        self.accounts = [name for name in self.accounts if name not in gone["accounts"]]
        gone["folders"] = metis_absence.release(view, leaving)["folders"]
        return gone

    def files(self) -> set[str]:
        """Everything below the test's folder."""
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}

    def _ask(self, words: list[str]) -> str:
        if self.silent:
            raise CommandExecutionError(self.silent)
        if words[0] == "--database":
            return "\n".join(self.joined)
        if dropped := re.fullmatch(r"DROP USER IF EXISTS '(\w+)'@'127\.0\.0\.1'", words[1]):
            self.accounts = [name for name in self.accounts if name != dropped[1]]
            return ""
        return "\n".join(f"127.0.0.1\t{name}" for name in self.accounts)

    def functions(self) -> dict[str, Callable[..., Any]]:
        """What the modules ask of others."""
        modules = (metis_absence, metis_claims, metis_identity, metis_mysql, metis_ownership)
        absent = _facts("absent", enabled=False)
        return orgs.by_salts_name(*modules) | {
            "metis_mysql.ask": self._ask,
            "metis_unit.facts": lambda names: {n: self.units.get(n, absent) for n in names},
            "metis_apt.purgeable": lambda own: {"packages": sorted(own), "needed": []},
            "metis_consul.listens": lambda agent: False,
            "pkg.list_pkgs": lambda: dict.fromkeys(self.packages, "1"),
        }

    def wired(self) -> dict[ModuleType, Data]:
        """What `configure_loader_modules` needs."""
        modules = (metis_absence, metis_claims, metis_identity, metis_mysql, metis_ownership)
        own = {"__salt__": self.functions(), "__opts__": {"id": "h1"}}
        return orgs.wired() | dict.fromkeys((*modules, metis_apt), own)
