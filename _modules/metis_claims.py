"""
What an organization makes on a host, as its view says: pure functions, no I/O.

Each thing is a **claim**. Whether it was there before the organization came is the host's to find
out (``metis_ownership``), and decides on whether it is the organization's.
"""

from pathlib import Path
from typing import Any

__virtualname__ = "metis_claims"

Claim = dict[str, Any]
View = dict[str, Any]

# Debian's packages that the states of a role install, to which a render test holds them; a release
# of the fighters may want more.
PACKAGES = {
    "consul": [],
    "carrier": ["curl"],
    "admin": ["curl", "mariadb-server", "nginx-light", "default-jre-headless"],
    "ice_via": ["zeroc-icegrid", "zeroc-glacier2"],
    "data": ["curl", "python3-venv"],
    "compute": ["curl", "python3-venv"],
}
# A unit that admin runs, and the package of it.
SERVICES = {"mariadb.service": "mariadb-server", "nginx.service": "nginx-light"}
ICE_SERVICES = ("icegridregistry.service", "icegridnode.service", "glacier2router.service")

UNITS = "/usr/local/lib/systemd/system"
# Where systemctl writes its masks and what it enables.
SYSTEMD = "/etc/systemd/system"
DATABASES = "/var/lib/mysql"
EXAMPLE_SITE = "/etc/nginx/sites-enabled/default"


def packages(role: str) -> list[str]:
    """
    The distribution's packages that the states of a role install.

    role
        The role.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_claims.packages admin
    """
    return PACKAGES[role]


def unit_file(unit: str) -> str:
    """
    The file of a unit of ours; instances of a template share one.

    unit
        With its suffix.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_claims.unit_file metis-data@8700.service
    """
    template, at, _ = unit.partition("@")
    return f"{UNITS}/{template}@.service" if at else f"{UNITS}/{unit}"


def of(view: View) -> list[Claim]:
    """
    Every claim of a host's view.

    view
        As ``metis_view.view`` returns it.

    Returns mappings with ``kind``, ``name``, ``parts`` (what it is kept with: ``data``,
    ``database``, ``logs``) and ``for`` (instances that need it). ``kind`` is ``tree`` (a file, or a
    folder with all that is in it), ``folder`` (which goes when it is empty), ``store`` (a service's
    folder), ``link`` (of a service, which a role removes), ``user``, ``unit``, ``package``,
    ``service`` (a package's unit), ``database`` or ``account``. What is a service's has the
    service's unit as ``service``.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_claims.of '{roles: {}, paths: {}}'
    """
    found: list[Claim] = []
    for role, seen in view["roles"].items():
        for instance in seen["instances"]:
            found += _common(role, seen, instance["id"], view["paths"])
            found += _units(instance)
            if role == "carrier":
                # Without it, the data would be that of another node.
                found.append(_claim("tree", instance["p2p_key"], instance["id"], "data"))
            if role == "admin":
                found += _admin(seen, instance)
            if role == "ice_via":
                found += [
                    _claim("tree", f"{SYSTEMD}/{unit}", instance["id"]) for unit in ICE_SERVICES
                ]
            if role in ("data", "compute"):
                found += _fighter(instance)
    return merged(found)


def merged(claims: list[Claim]) -> list[Claim]:
    """
    Claims of which no two are of the same thing.

    claims
        As ``of`` returns them.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_claims.merged '[]'
    """
    by_thing: dict[tuple[str, str], Claim] = {}
    for claim in claims:
        known = by_thing.setdefault((claim["kind"], claim["name"]), claim | {"for": []})
        known["for"] += [one for one in claim["for"] if one not in known["for"]]
    return list(by_thing.values())


def _claim(kind: str, name: str, instance: str, *parts: str, service: str | None = None) -> Claim:
    made: Claim = {"kind": kind, "name": name, "parts": list(parts), "for": [instance]}
    return made | ({"service": service} if service else {})


def _common(role: str, seen: View, instance: str, paths: dict[str, str]) -> list[Claim]:
    # Dumps of the database are among admin's data.
    data = ("data", "database") if role == "admin" else ("data",)
    more = [name for one in seen["releases"].values() for name in one["facts"].get("packages", [])]
    return [
        *(_claim("folder", path, instance) for path in paths.values()),
        _claim("folder", UNITS, instance),
        _claim("user", seen["user"], instance),
        _claim("tree", seen["programs"], instance),
        _claim("tree", seen["links"], instance),
        _claim("tree", seen["configuration"], instance),
        _claim("tree", seen["data"], instance, *data),
        _claim("tree", seen["logs"], instance, "logs"),
        *(_package(name, instance) for name in [*PACKAGES[role], *more]),
    ]


def _package(name: str, instance: str) -> Claim:
    found = {package: unit for unit, package in SERVICES.items()}
    parts = ("database",) if name == "mariadb-server" else ()
    return _claim("package", name, instance, *parts, service=found.get(name))


def _units(instance: View) -> list[Claim]:
    own = [unit for unit in instance["units"] if unit not in SERVICES]
    return [
        claim
        for unit in own
        for claim in (
            _claim("unit", unit, instance["id"]),
            _claim("tree", unit_file(unit), instance["id"]),
            _claim("tree", f"{SYSTEMD}/{unit}", instance["id"]),
            _claim("tree", f"{SYSTEMD}/multi-user.target.wants/{unit}", instance["id"]),
        )
    ]


def _admin(seen: View, instance: View) -> list[Claim]:
    identity = instance["id"]
    database = seen["releases"][instance["release"]]["facts"]["database"]
    found = [
        _claim("database", database, identity, "database"),
        _claim("account", instance["settings"]["mysql_user"], identity, "database"),
        _claim("store", DATABASES, identity, "database", service="mariadb.service"),
        _claim("link", EXAMPLE_SITE, identity, service="nginx.service"),
    ]
    settings = {
        "mariadb.service": (instance["mariadb_file"], ["database"]),
        "nginx.service": (instance["nginx_file"], []),
    }
    for unit, (file, parts) in settings.items():
        drop_in = f"{SYSTEMD}/{unit}.d"
        # `metis.stop` masks it, by a link.
        files = (file, f"{SYSTEMD}/{unit}", f"{drop_in}/metis.conf")
        found += [_claim("tree", path, identity, *parts, service=unit) for path in files]
        found += [
            _claim("service", unit, identity, *parts, service=unit),
            _claim("folder", drop_in, identity),
        ]
    return found


def _fighter(instance: View) -> list[Claim]:
    identity = instance["id"]
    return [
        _claim("tree", instance["directory"], identity, "data"),
        _claim("tree", instance["link"], identity),
        _claim("tree", instance["config_file"], identity),
        _claim("tree", instance["environment_file"], identity),
        _claim("tree", str(Path(instance["drop_in"]).parent), identity),
    ]
