"""
What goes from this host when instances leave it, what is kept of it, and what stays.

Only what carries the organization's mark goes (``metis_ownership``), and of that only what no other
instance of the host needs. The states of ``salt/roles/*/absent.sls`` remove it.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import salt.exceptions

__virtualname__ = "metis_absence"

Claim = dict[str, Any]
Data = dict[str, Any]
View = dict[str, Any]

# Was it there before? An empty folder that was is given back empty.
_OURS = ("absent", "empty")
_WHY = {"there": "was there before", "unknown": "may have been there before"}
# MariaDB's own.
_SYSTEM_DATABASES = ("mysql", "performance_schema", "sys")
_SITES = ("/etc/nginx/conf.d", "/etc/nginx/sites-enabled")
_DOWN = ("absent", "inactive", "failed")
_PATHS = ("tree", "folder", "store")


def _role(identity: str) -> str:
    return identity.partition("@")[0]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _leaves(identity: str, leaving: Data) -> bool:
    only, roles = leaving.get("only"), leaving.get("roles")
    if only is not None:
        return identity in only
    return roles is None or _role(identity) in roles


def _is_there(claim: Claim) -> bool:
    name = claim["name"]
    if claim["kind"] == "user":
        return _has_user(name)
    if claim["kind"] == "database":
        return name in __salt__["metis_mysql.folders"]()
    return claim["kind"] not in _PATHS or os.path.lexists(name)


def _guests(service: str, claims: list[Claim]) -> list[str]:
    """What others keep in a server that the organization brought."""
    own = [claim["name"] for claim in claims]
    if service == "mariadb.service":
        others = set(__salt__["metis_mysql.folders"]()) - {*_SYSTEM_DATABASES, *own}
        return [f"the database {name}" for name in sorted(others) if not name.startswith("#")]
    sites = [path for folder in _SITES if os.path.isdir(folder) for path in Path(folder).iterdir()]
    return sorted(f"the site {path}" for path in sites if str(path) not in own)


class _Plan:
    """What goes from this host, what is kept of it, and what stays as it is not ours."""

    def __init__(self, claims: list[Claim], leaving: Data) -> None:
        self.keep = set(leaving.get("keep") or [])
        self.leaving = leaving
        self.claims = claims
        self.last = [c for c in claims if all(_leaves(one, leaving) for one in c["for"])]
        self.stays = [
            f"{c['kind']} {c['name']} {_WHY[c['before']]}"
            for c in self.last
            if c["before"] in _WHY and c["kind"] != "link" and _is_there(c)
        ]
        self.fates = {c["name"]: self._fate(c) for c in self.of("service")}
        self.kept = [c for c in self.last if self._is_kept(c)]

    def of(self, *kinds: str) -> list[Claim]:
        """Claims of some kinds that nobody has any more."""
        return [claim for claim in self.last if claim["kind"] in kinds]

    def _fate(self, service: Claim) -> str:
        if service["before"] not in _OURS:
            return "found"
        if guests := _guests(service["name"], self.claims):
            self.stays.append(f"{service['name']} is used by others: {', '.join(guests)}")
            return "shared"
        if self.keep & set(service["parts"]) and any(map(_is_there, self.of("database"))):
            return "kept"
        return "gone"

    def _is_kept(self, claim: Claim) -> bool:
        """Whether the operator keeps a thing of the organization's."""
        if claim["before"] not in _OURS or not self.keep & set(claim["parts"]):
            return False
        if "service" in claim:
            # Not so of a server that runs on: it is not masked any more.
            return self.fates[claim["service"]] == "kept" and _is_there(claim)
        return _is_there(claim)

    def _goes(self, claim: Claim) -> bool:
        if claim["before"] not in _OURS or claim in self.kept:
            return False
        if claim["kind"] == "store" and self.fates[claim["service"]] != "gone":
            return False
        return _is_there(claim)

    def kept_paths(self) -> list[str]:
        """Files and folders that are kept."""
        return [claim["name"] for claim in self.kept if claim["kind"] in ("tree", "store")]

    def paths(self, claims: Iterable[Claim]) -> list[str]:
        """Files and folders that go with all that is in them, none of which is in another."""
        kept = self.kept_paths()
        found: list[str] = []
        for claim in claims:
            if claim["kind"] in ("tree", "store") and self._goes(claim):
                given_back = claim["before"] == "empty"
                name = claim["name"]
                found += _children(name, kept) if given_back else _apart(name, kept)
        return sorted(path for path in set(found) if not _lies_in(path, found))

    def users(self, claims: Iterable[Claim]) -> list[str]:
        """System users that go: one whose files are kept is kept too."""
        holds = {one for claim in self.kept if claim["kind"] == "tree" for one in claim["for"]}
        return [
            claim["name"]
            for claim in claims
            if claim["kind"] == "user" and self._goes(claim) and not holds & set(claim["for"])
        ]

    def units(self, claims: Iterable[Claim]) -> list[str]:
        """Units of the organization's own."""
        return [c["name"] for c in claims if c["kind"] == "unit" and c["before"] in _OURS]

    def folders(self) -> list[str]:
        """Folders that go as nothing is left in them, the innermost first."""
        going = self.paths(self.last)
        gone = set(going)
        found = []
        own = [c["name"] for c in self.of("folder") if c["before"] in _OURS and _is_there(c)]
        for name in sorted(own, key=len, reverse=True):
            if name in gone or _lies_in(name, going):
                continue
            if all(f"{name}/{inner}" in gone for inner in os.listdir(name)):
                gone.add(name)
                found.append(name)
            elif not any(_within(path, name) for path in self.kept_paths()):
                self.stays.append(f"folder {name} holds what is not the organization's")
        return found

    def owners(self) -> list[Data]:
        """Empty folders that were there before, and whose they were."""
        return [
            {"name": claim["name"], "owner": claim["owner"]}
            for claim in self.of("tree")
            if claim["before"] == "empty" and self._goes(claim)
        ]

    def services(self) -> dict[str, dict[str, bool]]:
        """Services that stay, as they were before."""
        return {
            claim["name"]: {
                "enabled": claim.get("enabled", True),
                "active": claim.get("active", True),
            }
            for claim in self.of("service")
            if self.fates[claim["name"]] in ("found", "shared")
        }

    def links(self) -> list[Data]:
        """Links of services that stay, which were there before."""
        return [
            {"name": claim["name"], "target": claim["target"]}
            for claim in self.of("link")
            if "target" in claim and not os.path.lexists(claim["name"])
        ]

    def packages(self) -> list[str]:
        """Packages that the organization brought, and that nobody else needs."""
        own = [
            claim["name"]
            for claim in self.of("package")
            if self._goes(claim) and self.fates.get(claim.get("service")) != "shared"
        ]
        there = __salt__["pkg.list_pkgs"]() if own else {}
        found = __salt__["metis_apt.purgeable"]([name for name in own if name in there])
        self.stays += found["needed"]
        packages: list[str] = found["packages"]
        return packages

    def dropped(self, kind: str) -> list[str]:
        """Databases or accounts that go."""
        return [c["name"] for c in self.of(kind) if self._goes(c)]

    def kept_texts(self) -> list[str]:
        """What is kept, for people."""
        paths = self.kept_paths()
        return [
            f"{claim['kind']} {claim['name']}"
            for claim in self.kept
            if not _lies_in(claim["name"], paths)
        ]

    def survivors(self) -> list[Claim]:
        """The claims that hold on: of those who stay, and of what is kept."""
        kept = self.kept_paths()
        users = self.users(self.last)

        def holds(claim: Claim) -> bool:
            if claim in self.kept or claim["before"] not in _OURS:
                return claim in self.kept
            if claim["kind"] == "user":
                return _is_there(claim) and claim["name"] not in users
            # A folder that holds what is kept is not a stranger's at the next deploy.
            return claim["kind"] in _PATHS and any(_within(path, claim["name"]) for path in kept)

        found = []
        for claim in self.claims:
            if claim not in self.last:
                stay = [one for one in claim["for"] if not _leaves(one, self.leaving)]
                found.append(claim | {"for": stay})
            elif holds(claim):
                found.append(claim)
        return found


def _children(folder: str, kept: list[str]) -> list[str]:
    inner = [f"{folder}/{name}" for name in os.listdir(folder)]
    return [part for path in inner for part in _apart(path, kept)]


def _apart(path: str, kept: list[str]) -> list[str]:
    """A path, or, where something in it is kept, what else is in it."""
    if path in kept:
        return []
    return _children(path, kept) if any(_within(one, path) for one in kept) else [path]


def _lies_in(path: str, others: list[str]) -> bool:
    return any(path != other and _within(path, other) for other in others)


def _planned(view: View, leaving: Data | None) -> _Plan:
    return _Plan(__salt__["metis_ownership.known"](view), leaving or {})


def going(role: str, view: View, leaving: Data | None = None) -> dict[str, Any]:
    """
    What goes of one role: what no other role and no other instance needs, and is not kept.

    role
        The role; it need not be in the view any more.
    view
        The host's view.
    leaving
        Who leaves: ``roles``, or ``only`` some instances; and what is kept (``keep``). Everything
        leaves where it says nothing.

    Returns ``units``, ``paths``, ``users`` and ``registered`` (registrations in consul); of admin
    also ``services`` (packages' units that stay, as they were), ``links`` of these, and
    ``databases`` and ``accounts`` where their server stays.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_absence.going consul '{...}' '{roles: [consul]}'
    """
    plan = _planned(view, leaving)
    own = [claim for claim in plan.last if set(map(_role, claim["for"])) == {role}]
    # The server's own folder waits for its package to go.
    free = [claim for claim in own if claim["kind"] != "store"]
    services = plan.services() if role == "admin" else {}
    drops = "mariadb.service" in services
    return {
        "units": plan.units(own),
        "paths": plan.paths(free),
        "users": plan.users(own),
        "databases": plan.dropped("database") if drops else [],
        "accounts": plan.dropped("account") if drops else [],
        "services": services,
        "links": plan.links() if services else [],
        "registered": [
            instance["service"]["id"]
            for instance in view["roles"].get(role, {"instances": []})["instances"]
            if instance["service"] and _leaves(instance["id"], leaving or {})
        ],
    }


def shared(view: View, leaving: Data | None = None) -> dict[str, Any]:
    """
    What goes beside the roles' own: what several of them have, and packages.

    view
        The host's view.
    leaving
        As for ``going``.

    Returns ``paths``, ``packages`` and ``owners`` (of folders that were there before).

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_absence.shared '{...}'
    """
    plan = _planned(view, leaving)
    mixed = [
        claim
        for claim in plan.last
        if len(set(map(_role, claim["for"]))) > 1 or claim["kind"] == "store"
    ]
    return {
        "paths": plan.paths(mixed),
        "packages": plan.packages(),
        "owners": plan.owners(),
    }


def release(view: View, leaving: Data | None = None, test: bool = False) -> dict[str, Any]:
    """
    Take the mark from what has gone, when all of it has; empty folders go with it.

    view
        The host's view.
    leaving
        As for ``going``.
    test
        Change nothing.

    Returns ``folders`` (which were empty, and went) and ``unmarked`` (how many claims ended).

    Raises ``CommandExecutionError`` where something is left that should have gone.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_absence.release '{...}' test=True
    """
    plan = _planned(view, leaving)
    survivors = plan.survivors()
    folders = plan.folders()
    found = {"folders": folders, "unmarked": len(plan.claims) - len(survivors)}
    changed = survivors != plan.claims
    if test or not changed:
        return found
    if left := [*plan.paths(plan.last), *(f"user {name}" for name in plan.users(plan.last))]:
        raise salt.exceptions.CommandExecutionError(f"is still there: {', '.join(left)}")
    try:
        for folder in folders:
            os.rmdir(folder)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(f"{err.filename}: {err.strerror}") from err
    __salt__["metis_ownership.keep"](view, survivors)
    return found


def survey(roles: dict[str, list[str]], keep: list[str] | None = None) -> dict[str, Any]:
    """
    What would go from this host, what of it runs, and whether its organization has an identity.

    roles
        Host to the roles that leave it; one job serves hosts of different roles.
    keep
        What is kept: some of ``data``, ``database``, ``logs``.

    Returns ``paths``, ``folders``, ``units``, ``users`` (name to number), ``packages``,
    ``databases``, ``accounts``, ``registered`` and ``agent`` (of consul), ``services`` (which stay,
    as they were), ``stays`` and ``kept`` (texts), ``running`` (texts) and ``identity`` (as
    ``metis_identity.known`` returns it; ``None`` where no database leaves).

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_absence.survey '{demo1: [consul]}'
    """
    view = __salt__["pillar.items"](unmask=True).get("metis")
    if not view:
        raise salt.exceptions.CommandExecutionError(
            f"{__opts__['id']} is a host of no valid organization file"
        )
    leaving = {"roles": roles[__opts__["id"]], "keep": keep or []}
    plan = _planned(view, leaving)
    users = {name: pwd.getpwnam(name).pw_uid for name in plan.users(plan.last)}
    units = plan.units(plan.last)
    databases = plan.dropped("database")
    packages = plan.packages()
    own = [instance for role in view["roles"].values() for instance in role["instances"]]
    registered = [i["service"]["id"] for i in own if i["service"] and _leaves(i["id"], leaving)]
    return {
        "paths": plan.paths(plan.last),
        "folders": plan.folders(),
        "units": [unit for unit, fact in _facts(units).items() if fact["state"] != "absent"],
        "users": users,
        "packages": packages,
        "databases": databases,
        "accounts": plan.dropped("account") if databases else [],
        "registered": registered,
        "agent": view["agent"],
        "services": plan.services(),
        "stays": plan.stays,
        "kept": plan.kept_texts(),
        "running": _running(plan),
        "identity": _identity(plan),
    }


def _facts(units: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = __salt__["metis_unit.facts"](units)
    return found


def _running(plan: _Plan) -> list[str]:
    brought = [
        claim["name"]
        for claim in plan.of("service")
        if claim["before"] in _OURS and plan.fates[claim["name"]] != "shared"
    ]
    facts = _facts(plan.units(plan.last) + brought)
    up = [name for name, fact in facts.items() if fact["state"] not in _DOWN]
    own = {claim["name"] for claim in plan.of("user") if claim["before"] in _OURS}
    pids = {fact["pid"] for fact in facts.values()}
    found = []
    for process in psutil.process_iter(["pid", "username", "name", "ppid"]):
        seen = process.info
        if seen["username"] in own and not {seen["pid"], seen["ppid"]} & pids:
            found.append(f"{seen['name']} (process {seen['pid']})")
    return [*up, *found]


def _identity(plan: _Plan) -> dict[str, Any] | None:
    names = [claim["name"] for claim in plan.of("database")]
    return __salt__["metis_identity.known"](names[0]) if names else None


def left(surveys: dict[str, dict[str, Any]]) -> list[str]:
    """
    What is there of what should have gone.

    surveys
        Host to what ``survey`` returned there before.

    Returns a text for each thing; nothing where all has gone.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_absence.left '{demo1: {...}}'
    """
    gone = surveys[__opts__["id"]]
    found = [path for path in (*gone["paths"], *gone["folders"]) if os.path.lexists(path)]
    found += [f"user {name}" for name in gone["users"] if _has_user(name)]
    there = __salt__["pkg.list_pkgs"]() if gone["packages"] else {}
    found += [f"package {name}" for name in gone["packages"] if name in there]
    found += [f"unit {n}" for n, fact in _facts(gone["units"]).items() if fact["state"] != "absent"]
    there = __salt__["metis_mysql.folders"]()
    found += [f"database {name}" for name in gone["databases"] if name in there]
    if gone["services"].get("mariadb.service", {}).get("active"):
        there = __salt__["metis_mysql.accounts"]()
        found += [f"account {name}" for name in gone["accounts"] if name in there]
    for process in psutil.process_iter(["pid", "uids", "name"]):
        uids = process.info["uids"]
        if uids and uids.real in gone["users"].values():
            found.append(f"{process.info['name']} (process {process.info['pid']})")
    if gone["registered"] and __salt__["metis_consul.listens"](gone["agent"]):
        registered = __salt__["metis_consul.services"](gone["agent"])
        found += [f"registration {name}" for name in gone["registered"] if name in registered]
    return found
