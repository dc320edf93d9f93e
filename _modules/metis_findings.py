"""
What is right and wrong with hosts before a change: pure functions, no I/O.

``asked`` says what has to be known of each host, ``judged`` makes findings of what it is. A finding
is ``{"host", "what", "result", "found", "advice"}``; ``result`` is ``ok``, ``warning`` or
``failure``.
"""

from collections.abc import Iterator
from typing import Any

__virtualname__ = "metis_findings"

Data = dict[str, Any]
Finding = dict[str, str]

SUPPORTED = {"Debian": ("12", "13"), "Ubuntu": ("22.04", "24.04")}
ARCHITECTURE = "x86_64"

GB = 10**9
MB = 10**6
# What the seed's README advises for a host of its own: processors, memory and disk in GB.
_LARGE = (8, 16, 200)
RECOMMENDED = {
    "consul": _LARGE,
    "carrier": _LARGE,
    "admin": _LARGE,
    "ice_via": (4, 8, 200),
    "data": _LARGE,
    "compute": _LARGE,
}
# A file system is a little smaller than its disk.
_OF_A_DISK = 0.9

# What the states need in the minion's Python.
_MODULES = {"admin": ("saltext.mysql", "pymysql")}

# How many times its own size an artifact takes, unpacked and installed too.
_ROOM = {
    "binary": 1,
    "installer": 6,
    "jar": 1,
    "sql": 1,
    "tar": 4,
    "wheel": 4,
    "wheelhouse": 5,
    "zip": 4,
}
_ROOM_OF_A_PACKAGE = 4
# Below the first nothing can be installed, whatever is not known of its size; below the second no
# program can even begin to write.
LEAST_FREE, LEAST_LEFT = 500 * MB, 50 * MB
# A host that has everything needs room for logs and data still.
LOW_FREE = 1000 * MB

_USR, _ARCHIVES, _MYSQL = "/usr", "/var/cache/apt/archives", "/var/lib/mysql"

# Seconds between host and master: from the first on logs are hard to compare, from the second on
# certificates that were just issued count as not yet valid.
CLOCK_WARNING = 2.0
CLOCK_FAILURE = 60.0
# Seconds from which on packages may be gone from where apt's lists say that they are.
STALE = 7 * 86400

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30}


def asked(
    topology: Data, instances: list[Data], releases: dict[str, Data], sizes: dict[str, int]
) -> dict[str, Data]:
    """
    What has to be known of each host.

    topology
        The organization's, with ``deployed``.
    instances
        Those that are meant.
    releases
        Release to its file's content, of all that are deployed.
    sizes
        Path in the store to bytes, of what is there.

    Returns host to what ``metis_check.facts`` takes of it, and ``room``: bytes that its files need,
    by path.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.asked '{...}' '[]' '{}' '{}'
    """
    paths = topology["paths"]
    found: dict[str, Data] = {}
    for instance in instances:
        role = instance["role"]
        own = found.setdefault(
            instance["host"],
            {
                "address": instance["address"],
                "units": [],
                "ports": [],
                "folders": [*paths.values(), _USR, _ARCHIVES],
                "packages": [],
                "modules": [],
                "files": [],
                "room": {},
            },
        )
        own["units"] += instance["units"]
        ports = __salt__["metis_topology.ports"](instance)
        own["ports"] += [[protocol, port] for _, protocol, port in ports]
        own["folders"].append(__salt__["metis_config.data_directory"](paths, instance))
        own["folders"] += [_MYSQL] if role == "admin" else []
        own["modules"] += _MODULES.get(role, ())
        release = releases[topology["deployed"][instance["id"]]["release"]]
        own["packages"] += __salt__["metis_claims.packages"](role)
        own["room"] |= _room(paths, release, role, sizes)
        if role in ("data", "compute"):
            own["packages"] += release["fighter"].get("packages", [])
            python = release["fighter"]["python"]
            # Else the release brings it.
            own["files"] += [python] if python.startswith("/") else []
    for own in found.values():
        own["packages"] = list(dict.fromkeys(own["packages"]))
        own["folders"] = list(dict.fromkeys(own["folders"]))
        own["files"] = list(dict.fromkeys([*own["files"], *own["room"]]))
    return found


def _room(paths: Data, release: Data, role: str, sizes: dict[str, int]) -> dict[str, int]:
    """Each file of a release on a host of a role, and the bytes that it takes in the end."""
    folder = __salt__["metis_view.release_directory"](paths, role, release["release"])
    found = {}
    for artifact in __salt__["metis_release.on_host"](release, role).values():
        builds = artifact["builds"] or {"any": artifact}
        size = max(sizes.get(build["stored"], 0) for build in builds.values())
        found[f"{folder}/{artifact['file']}"] = size * _ROOM[artifact["kind"]]
    return found


def judged(instances: list[Data], asked: dict[str, Data], seen: dict[str, Data]) -> list[Finding]:
    """
    Findings on each host by itself.

    instances
        Those that are meant.
    asked
        As ``asked`` returns it.
    seen
        Host to what ``metis_check.facts`` returned, with ``sent`` and ``received``: when the master
        sent the question and got the answer, by its clock; and ``master``: its Salt's version.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.judged '[]' '{}' '{}'
    """
    found = []
    for host, facts in seen.items():
        own = [instance for instance in instances if instance["host"] == host]
        for finding in _of_host(own, asked[host], facts):
            found.append({"host": host, **finding})
    return found


def finding(host: str, what: str, result: str, found: str, advice: str = "") -> Finding:
    """
    One finding.

    host
        A host's name, or ``master``.
    what
        What was looked at.
    result
        ``ok``, ``warning`` or ``failure``.
    found
        What it is like.
    advice
        What to do about it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.finding demo1 CPU warning '2 processors' '8 are advised'
    """
    return {"host": host, "what": what, "result": result, "found": found, "advice": advice}


def _ok(what: str, found: str) -> Finding:
    return {"what": what, "result": "ok", "found": found, "advice": ""}


def _warning(what: str, found: str, advice: str) -> Finding:
    return {"what": what, "result": "warning", "found": found, "advice": advice}


def _failure(what: str, found: str, advice: str) -> Finding:
    return {"what": what, "result": "failure", "found": found, "advice": advice}


def _of_host(own: list[Data], asked: Data, facts: Data) -> Iterator[Finding]:
    roles = list(dict.fromkeys(instance["role"] for instance in own))
    yield from _system(facts["system"])
    yield from _processors(roles, facts)
    yield _memory(own, facts)
    yield from _disks(roles, asked, facts)
    yield _address(asked["address"], facts["own_address"])
    yield from _ports(own, facts["ports"])
    yield _clock(facts)
    yield _time_service(facts)
    yield _packages(asked["packages"], facts["packages"])
    yield _salt(facts["salt"], facts["master"])
    yield from _python(own, asked, facts)


def _system(system: Data) -> Iterator[Finding]:
    named = f"{system['os']} {system['release']}"
    known = [f"{name} {number}" for name, numbers in SUPPORTED.items() for number in numbers]
    # Debian's second number is that of an update.
    number = system["release"].split(".")[0] if system["os"] == "Debian" else system["release"]
    if number in SUPPORTED.get(system["os"], ()):
        yield _ok("operating system", named)
    else:
        advice = f"take a host with {', '.join(known)}"
        yield _failure("operating system", f"{named}, which is not supported", advice)
    architecture = system["architecture"]
    if architecture == ARCHITECTURE:
        yield _ok("architecture", architecture)
    else:
        yield _failure(
            "architecture",
            f"{architecture}, and the programs are built for {ARCHITECTURE}",
            f"take a host with {ARCHITECTURE}",
        )


def _processors(roles: list[str], facts: Data) -> Iterator[Finding]:
    advised = max(RECOMMENDED[role][0] for role in roles)
    found = f"{facts['cpus']} processors"
    if facts["cpus"] < advised:
        yield _warning("CPU", found, f"{advised} are advised for {', '.join(roles)}")
    else:
        yield _ok("CPU", found)
    yield _ok("AVX2", "yes" if facts["avx2"] else "no: programs are taken that do without")


def _bytes(size: str) -> int:
    """What a size of Java's options is in bytes, such as 512m."""
    return int(size[:-1]) * _UNITS[size[-1].upper()]


def _gb(size: float) -> str:
    return f"{size / GB:.1f} GB"


def _memory(own: list[Data], facts: Data) -> Finding:
    memory = facts["memory"]
    advised = max(RECOMMENDED[instance["role"]][1] for instance in own)
    found = f"{_gb(memory['total'])}, {_gb(memory['available'])} of it free"
    for admin in (instance for instance in own if instance["role"] == "admin"):
        heap = admin["settings"]["heap"]
        less = f"set admin.heap below it, or give the host more; now it is {heap}"
        if memory["total"] < _bytes(heap):
            return _failure("memory", f"{found}: less than admin's heap", less)
        starts = "metis-admin.service" not in facts["up"]
        if starts and memory["available"] < _bytes(heap):
            return _warning("memory", f"{found}: less is free than admin's heap", less)
    if memory["total"] < advised * GB:
        roles = ", ".join(dict.fromkeys(instance["role"] for instance in own))
        return _warning("memory", found, f"{advised} GB are advised for {roles}")
    return _ok("memory", found)


def _disks(roles: list[str], asked: Data, facts: Data) -> Iterator[Finding]:
    """One finding for each file system, whatever of ours is on it."""
    advised = max(RECOMMENDED[role][2] for role in roles)
    by_mount: dict[str, list[str]] = {}
    for folder, disk in facts["disks"].items():
        by_mount.setdefault(disk["mount"], []).append(folder)
    needs = _needs(asked, facts)
    for mount, folders in by_mount.items():
        disk = facts["disks"][folders[0]]
        own = [size for folder, size in needs.items() if folder in folders]
        needed = max(sum(own), LEAST_FREE) if own else LEAST_LEFT
        ours = [folder for folder in folders if folder not in (_USR, _ARCHIVES)]
        what = f"disk {mount}"
        found = f"{_gb(disk['total'])}, {_gb(disk['free'])} of it free"
        where = f"where {', '.join(ours or folders)} would be"
        other = "mount it otherwise, or name other folders below paths"
        if disk["read_only"]:
            yield _failure(what, f"can only be read, {where}", other)
        elif disk["noexec"] and _programs(asked) & set(folders):
            yield _failure(what, f"runs no programs (noexec), {where}", other)
        elif needs and disk["free"] < needed:
            lacks = f"{found}, and at least {_gb(needed)} are needed"
            yield _failure(what, lacks, f"make room, {where}")
        elif disk["free"] < LOW_FREE:
            yield _warning(what, found, f"make room, {where}")
        elif ours and disk["total"] < _OF_A_DISK * advised * GB:
            yield _warning(what, found, f"{advised} GB are advised for {', '.join(roles)}")
        else:
            yield _ok(what, found)


def _programs(asked: Data) -> set[str]:
    """Folders from which programs are run."""
    return {
        folder
        for folder in asked["folders"]
        for path in asked["room"]
        if path.startswith(f"{folder}/")
    }


def _needs(asked: Data, facts: Data) -> dict[str, int]:
    """Bytes that will be taken in each folder; empty where everything is installed."""
    needs: dict[str, int] = {}
    for path, size in asked["room"].items():
        if path in facts["absent"]:
            folder = next(folder for folder in asked["folders"] if path.startswith(f"{folder}/"))
            needs[folder] = needs.get(folder, 0) + size
    if facts["packages"]["missing"]:
        download = facts["packages"]["download"]
        needs |= {_ARCHIVES: download, _USR: download * _ROOM_OF_A_PACKAGE}
    return needs


def _address(address: str, own: bool) -> Finding:
    if own:
        return _ok("address", address)
    advice = "correct the address in the organization's file, or the host's network"
    return _failure("address", f"{address} is none of this host's", advice)


def _ports(own: list[Data], held: list[Data]) -> Iterator[Finding]:
    users = {
        (protocol, port): (setting, instance)
        for instance in own
        for setting, protocol, port in __salt__["metis_topology.ports"](instance)
    }
    well = []
    for port in held:
        protocol, number = port["protocol"], port["port"]
        setting, instance = users[protocol, number]
        if port["others"]:
            yield _failure(
                f"port {number}/{protocol}",
                f"{setting} of {instance['id']}, but {', '.join(port['others'])} has it",
                f"stop that program, or set another {setting}",
            )
        else:
            well.append(port)
    mine = sum(1 for port in well if port["own"])
    yield _ok("ports", f"{len(well)}: {len(well) - mine} free, {mine} of our own programs")


def offset(facts: Data) -> tuple[float, float]:
    """
    How far a host's clock is from the master's: the least and the most that can be, in seconds.
    Negative is behind.

    facts
        ``began`` and ``ended`` by the host's clock, ``sent`` and ``received`` by the master's.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.offset '{sent: 0, began: 1, ended: 2, received: 3}'
    """
    return facts["ended"] - facts["received"], facts["began"] - facts["sent"]


def _clock(facts: Data) -> Finding:
    least, most = offset(facts)
    # What lies between question and answer is the way, and no fault of the clock.
    apart = least if least > 0 else -most if most < 0 else 0.0
    where = "ahead of" if least > 0 else "behind"
    found = f"{apart:.1f} s {where} the master" if apart >= 0.1 else "as the master's"
    advice = "set the host's clock, or the master's: both by a time service"
    if apart >= CLOCK_FAILURE:
        return _failure("clock", found, advice)
    return _warning("clock", found, advice) if apart >= CLOCK_WARNING else _ok("clock", found)


def _time_service(facts: Data) -> Finding:
    services = facts["time_services"]
    runs = [name for name, state in services.items() if state == "active"]
    if runs:
        return _ok("time service", ", ".join(runs))
    if facts["system"]["container"]:
        return _ok("time service", "a container's clock is that of the machine around it")
    if services:
        first = next(iter(services))
        return _warning("time service", f"{first} does not run", "fix: true, or start it yourself")
    advice = "apt-get install systemd-timesyncd"
    return _warning("time service", "none is installed", advice)


def _packages(wanted: list[str], seen: Data) -> Finding:
    missing = ", ".join(seen["missing"])
    if not wanted:
        return _ok("packages", "none are needed")
    if not missing:
        return _ok("packages", f"all {len(wanted)} are installed")
    if seen["error"]:
        return _failure(
            "packages",
            f"{missing}: {seen['error']}",
            "look at /etc/apt and run apt-get update there, or give fix: true",
        )
    if stale(seen):
        age = "was never read" if seen["age"] is None else f"is {seen['age'] / 86400:.0f} days old"
        return _warning("packages", f"apt's index {age}, and {missing} are to come", "fix: true")
    return _ok("packages", f"apt has {missing}")


def stale(packages: Data) -> bool:
    """
    Whether apt should read its sources anew before anything is installed.

    packages
        Of what ``metis_check.facts`` returns.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.stale '{missing: [], age: 0, error: ""}'
    """
    age = packages["age"]
    old = age is None or age > STALE or bool(packages["error"])
    return bool(packages["missing"]) and old


def mendable(facts: Data) -> list[str]:
    """
    What of a host is safe to mend: ``packages`` (an index that is old or does not have what is
    needed), ``time`` (systemd's time service, where it is installed and none runs).

    facts
        As ``metis_check.facts`` returns them.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.mendable '{...}'
    """
    services = facts["time_services"]
    idle = "systemd-timesyncd.service" in services and "active" not in services.values()
    found = ["packages"] if stale(facts["packages"]) else []
    return found + (["time"] if idle and not facts["system"]["container"] else [])


def _salt(own: str, master: str) -> Finding:
    if own == master:
        return _ok("Salt", own)
    advice = f"install {master} on the host, as on the master"
    return _warning("Salt", f"{own}, and the master has {master}", advice)


def _python(own: list[Data], asked: Data, facts: Data) -> Iterator[Finding]:
    if facts["lacking"]:
        yield _failure(
            "minion's Python",
            f"lacks {', '.join(facts['lacking'])}",
            "salt-pip install saltext-mysql and PyMySQL with the versions of "
            "requirements/salt.txt, then systemctl restart salt-minion",
        )
    elif asked["modules"]:
        yield _ok("minion's Python", f"has {', '.join(asked['modules'])}")
    programs = [path for path in asked["files"] if path not in asked["room"]]
    for path in programs:
        if path not in facts["absent"]:
            yield _ok("fighter's Python", path)
        # The package of the standard one is installed with the rest.
        elif path != "/usr/bin/python3":
            yield _failure(
                "fighter's Python", f"{path} is not there", f"install a Python as {path}"
            )


def certificate(file: str, ending: str) -> Finding:
    """
    The finding on a certificate of the operator's own.

    file
        Where it is on the master.
    ending
        What ``metis_certificates.ending`` returned.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.certificate /etc/ssl/acme.pem 'ends soon'
    """
    result = {"has ended": "failure", "ends soon": "warning"}.get(ending, "ok")
    advice = f"replace {file}" if ending else ""
    return finding("master", f"certificate {file}", result, ending or "holds", advice)


def complete(name: str, problems: list[str], stored: dict[str, str]) -> Finding:
    """
    The finding on a release.

    name
        The release.
    problems
        What ``metis_orgs.complete_release`` returned.
    stored
        What ``metis_store.look`` returned for it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_findings.complete 0.3.0 '[]' '{}'
    """
    what = f"release {name}"
    if problems:
        advice = "complete the release file"
        return finding("master", what, "failure", "; ".join(problems), advice)
    right = sum(1 for how in stored.values() if how == "right")
    found = f"{right} of {len(stored)} artifacts are in the store"
    if wrong := sorted(artifact for artifact, how in stored.items() if how == "wrong"):
        advice = "run metis.prepare, which fetches them anew"
        said = f"{found}; damaged: {', '.join(wrong)}"
        return finding("master", what, "warning", said, advice)
    rest = "; the others have known checksums and are fetched by metis.prepare"
    return finding("master", what, "ok", found + rest * (right < len(stored)))
