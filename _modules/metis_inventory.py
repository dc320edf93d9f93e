"""
An organization file made from an inventory of the Ansible scripts, and what it could not take over.

Text in, text out. ``metis_ini`` reads the inventory and ``metis_variables`` what its variables say;
here is what becomes of that and of the hosts, and ``metis_orgtext`` writes the file.
"""

import difflib
import ipaddress
import re
from collections.abc import Collection, Iterable
from typing import Any

__virtualname__ = "metis_inventory"

Said = dict[str, Any]

ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")
RELEASE = "0.3.0"

# A role's groups: `via` is what ice_via was called before.
_GROUPS = {role: (role,) for role in ROLES} | {"ice_via": ("ice_via", "via")}
# What both kinds are called together.
_OTHERWISE = {"fighter": ["data", "compute"], "fighters": ["data", "compute"]}
# Where the schema has no default of its own for what the scripts have.
_PASSWORD = re.compile(
    r"(pass|passwd|password|pwd|密码|口令)\w*\s*[\"']?\s*([:=\uff1a\uff1d是为]|is\b)\s*\S", re.I
)
_ORG = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]*[A-Za-z0-9])?")


def _reach(names: Iterable[str], ways: dict[str, list[str]]) -> set[str]:
    """All that the ways lead to from some names, step by step."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        new = set(ways.get(waiting.pop(), [])) - found
        found |= new
        waiting += new
    return found


def _ranks(groups: dict[str, dict[str, Any]]) -> dict[str, dict[str, int]]:
    """
    How Ansible ranks what groups say to a role's hosts: ``all``, then a group that the role's is
    in, then the role's own, then one that is in it.
    """
    down = {name: group["children"] for name, group in groups.items()}
    up: dict[str, list[str]] = {}
    for name, children in down.items():
        for child in children:
            up.setdefault(child, []).append(name)
    return {
        role: dict.fromkeys(_reach(own, up), 2)
        | dict.fromkeys(_reach(own, down), 4)
        | dict.fromkeys(own, 3)
        | {"all": 1}
        for role, own in _GROUPS.items()
    }


def _hint(group: str) -> str:
    """Which role's group may be meant by another's name."""
    known = {name for names in _GROUPS.values() for name in names}
    near = _OTHERWISE.get(group.lower()) or difflib.get_close_matches(group.lower(), known, 1)
    return f": did you mean {' or '.join(f'[{name}]' for name in near)}?" if near else ""


def _defaults() -> dict[str, dict[str, Any]]:
    least = {"release": RELEASE, "hosts": {"h": {"address": "10.0.0.1", "roles": ["consul"]}}}
    org = __salt__["metis_orgs.form"]({"metis": least})["org"]
    return {role: org[role] for role in ROLES}


class _Import:
    """One inventory on its way."""

    def __init__(self, ini: dict[str, Any]) -> None:
        self.ini = ini
        self.defaults = _defaults()
        self._members = {
            role: list(dict.fromkeys(h for group in groups for h in self._hosts_of(group)))
            for role, groups in _GROUPS.items()
        }
        ranks = _ranks(ini["groups"])
        said = __salt__["metis_variables.read"](ini["variables"], self._members, ranks)
        # variable -> what stands in the inventory, and what it says
        self.given: dict[str, dict[str, Any]] = said["given"]
        self.faults: list[Said] = [*ini["faults"], *said["faults"]]
        self.notes: list[Said] = [*ini["notes"], *said["notes"]]
        # section -> setting -> value, and the variable that it is from
        self.settings: dict[str, dict[str, tuple[Any, str]]] = {
            section: {} for section in ("", "data_center", *ROLES)
        }
        self.machines: dict[str, dict[str, Any]] = {}

    def _hosts_of(self, group: str) -> list[str]:
        members: list[str] = self.ini["groups"].get(group, {"members": []})["members"]
        return members

    def fault(self, lines: list[int], what: str, why: str) -> None:
        self.faults.append(__salt__["metis_ini.said"](lines, what, why))

    def note(self, lines: list[int], what: str, why: str) -> None:
        self.notes.append(__salt__["metis_ini.said"](lines, what, why))

    def lines(self, *variables: str) -> list[int]:
        return [self.given[variable]["line"] for variable in variables if variable in self.given]

    def set(self, variable: str, value: Any) -> None:
        given = self.given[variable]
        if value != self.defaults.get(given["section"], {}).get(given["setting"]):
            self.settings[given["section"]][given["setting"]] = (value, variable)

    def carry(self) -> None:
        """The variables that hold for a whole role."""
        for variable, given in self.given.items():
            if given["kind"] != "ports" and given["read"] != "":
                self.set(variable, given["read"])
        self._profiler()

    def _port(self, variable: str, role: str, setting: str) -> Any:
        return self.given.get(variable, {"read": self.defaults[role][setting]})["read"]

    def _profiler(self) -> None:
        variable = "carrier_pprof_port"
        port = self._port(variable, "carrier", "pprof_port")
        ice = {
            "ice_grid_port": self._port("ice_grid_port", "ice_via", "grid_port"),
            "ice_glacier2_port": self._port("ice_glacier2_port", "ice_via", "glacier2_port"),
        }
        taken = [other for other, number in ice.items() if number == port]
        together = any(
            {"carrier", "ice_via"} <= {role for role, _ in machine["roles"]}
            for machine in self.machines.values()
        )
        default = self.defaults["carrier"]["pprof_port"]
        if port != default and taken and together:
            del self.settings["carrier"]["pprof_port"]
            why = f"not carried over: {port} is {taken[0]} on the same host; it became {default}"
            self.note(self.lines(variable, *taken), variable, why)

    # Who runs what

    def _off(self, roles: list[str]) -> str:
        """In words that roles are switched off; nothing where one is on, or there is none."""
        on = [r for r in roles if self.given.get(f"enable_deploy_{r}", {"read": True})["read"]]
        if on or not roles:
            return ""
        return f"{' and '.join(roles)} {'is' if len(roles) == 1 else 'are'} switched off"

    def _tell_unfilled(self) -> None:
        down = {name: group["children"] for name, group in self.ini["groups"].items()}
        for host in self.ini["unfilled"]:
            group, what = host["group"], "has a host that is not filled in"
            roles = [r for r, own in _GROUPS.items() if group in {*own, *_reach(own, down)}]
            if off := self._off(roles):
                self.note([host["line"]], f"[{group}]", f"{what}, and {off}")
            else:
                self.fault([host["line"]], f"[{group}]", f"{what}: write its address")

    def take_machines(self) -> None:
        self._tell_unfilled()
        addresses = {}
        for role in ROLES:
            for index, host in enumerate(self._members[role]):
                if host not in addresses:
                    addresses[host] = self._address(host)
                if addresses[host]:
                    new: dict[str, Any] = {"hosts": {}, "roles": [], "settings": {}}
                    machine = self.machines.setdefault(addresses[host], new)
                    machine["hosts"][host] = None
                    machine["roles"].append((role, index))
        self._tell_groups(addresses)
        self._name()

    def _tell_groups(self, known: Collection[str]) -> None:
        """Tell of the groups whose hosts have no role from them, misspelled ones for the most."""
        groups = self.ini["groups"]
        meant = {"ungrouped"}.union(*_ranks(groups).values())
        for name, group in groups.items():
            hint = _hint(name)
            idle = [host for host in group["members"] if host not in known]
            if idle:
                why = f"not carried over: {', '.join(idle)}, in no group of a role{hint}"
                self.note([self.ini["hosts"][host]["line"] for host in idle], f"[{name}]", why)
            rest = [host for host in group["hosts"] if host not in idle]
            if rest and name not in meant:
                why = f"is no group of a role, so {', '.join(rest)} got no role from it{hint}"
                self.note([group["hosts"][host] for host in rest], f"[{name}]", why)

    def _address(self, host: str) -> str:
        found = self.ini["hosts"][host]
        own = found["variables"]
        variable = next((v for v in ("ansible_host", "ansible_ssh_host") if v in own), "")
        value = own[variable] if variable else host
        try:
            return str(ipaddress.IPv4Address(value))
        except ValueError:
            what = f"{variable} of {host}" if variable else host
            off = self._off([r for r in ROLES if host in self._members[r]])
            if value.startswith("${") and off:
                self.note([found["line"]], what, f"is not filled in, and {off}")
                return ""
            if value.startswith("${"):
                why = "is not filled in: write the host's address"
            elif variable:
                why = "is no IPv4 address, which every host needs here"
            else:
                why = "is no IPv4 address: write it behind the name, as ansible_host=10.0.0.5"
            self.fault([found["line"]], what, why)
            return ""

    def _name(self) -> None:
        taken: set[str] = set()
        made: dict[str, int] = {}
        for address, machine in self.machines.items():
            hosts = list(machine["hosts"])
            line = self.ini["hosts"][hosts[0]]["line"]
            alias = next((h for h in hosts if not re.fullmatch(r"[0-9.]+", h)), "")
            name = alias.strip("._-") or f"node-{address.replace('.', '-')}"
            while name in taken:
                name += "-2"
            taken.add(name)
            machine["name"] = name
            if not alias:
                made[name] = line
            elif name != alias:
                self.note([line], alias, f"became {name}, as a minion may be called")
            if len(hosts) > 1:
                lines = [self.ini["hosts"][host]["line"] for host in hosts]
                why = f"are one machine, {address}, which became one host, {name}"
                self.note(lines, ", ".join(hosts), why)
        if made:
            why = "named after the address: the name has to be the id of the host's minion"
            self.note(list(made.values()), ", ".join(made), why)

    # Ports that the inventory lists by host

    def take_ports(self) -> None:
        for variable, given in self.given.items():
            if given["kind"] != "ports":
                continue
            role, ports = given["section"], given["read"]
            hosts = len(self._members[role])
            has = f"[{role}] has {hosts or 'no'} host{'s' if hosts > 1 else ''}"
            if not hosts:
                self.note(self.lines(variable), variable, f"not carried over: {has}")
                continue
            if len(ports) < hosts:
                many = f"has {len(ports)} port{'s' if len(ports) > 1 else ''}"
                why = f"{many}, and {has}: give one for each host"
                self.fault(self.lines(variable), variable, why)
                continue
            if len(ports) > hosts:
                over = ", ".join(str(port) for port in ports[hosts:])
                why = f"carried over without {over}: {has}, and Ansible took the first ports too"
                self.note(self.lines(variable), variable, why)
            self._spread(variable, dict(enumerate(ports[:hosts])))

    def _spread(self, variable: str, ports: dict[int, int]) -> None:
        """Give each instance its own port, or all of them one where it is the same."""
        role, setting = self.given[variable]["section"], self.given[variable]["setting"]
        if role == "compute":
            self._part_from_data(variable, ports)
        base = self.defaults[role][setting]
        if len(ports) == len(self._members[role]) and len(set(ports.values())) == 1:
            base = ports[0]
            self.set(variable, base)
        for machine in self.machines.values():
            indices = [index for own, index in machine["roles"] if own == role]
            for before, index in enumerate(indices):
                usual = base + before if role in ("data", "compute") else base
                if ports.get(index, usual) != usual:
                    machine["settings"].setdefault((role, index), {})[setting] = ports[index]

    def _part_from_data(self, variable: str, ports: dict[int, int]) -> None:
        data = self.given.get("data_port", {"read": []})["read"]
        clashing = []
        for machine in self.machines.values():
            hosting = [index for role, index in machine["roles"] if role == "data"]
            usual = self.defaults["data"]["port"]
            taken = [data[i] if i < len(data) else usual + n for n, i in enumerate(hosting)]
            own = [i for role, i in machine["roles"] if role == "compute" and i in ports]
            clashing += [(machine["name"], ports.pop(i)) for i in own if ports[i] in taken]
        if clashing:
            default = self.defaults["compute"]["port"]
            where = ", ".join(f"{port} on {name}" for name, port in clashing)
            why = f"not carried over: {where}, where data has the same; compute has {default} on"
            self.note(self.lines("data_port", variable), variable, f"{why} there")

    def org(self, asked: str | None) -> str:
        """The organization's name."""
        name = asked or self.given.get("cluster_name", {"read": ""})["read"]
        told = not asked and any(fault["what"] == "cluster_name" for fault in self.faults)
        if not _ORG.fullmatch(name) and not told:
            fix = "name the organization, with letters, digits, - and _: org=..."
            why = f"is no name for a file: {fix}" if asked else f"gives no name: {fix}"
            self.fault(self.lines("cluster_name"), "org" if asked else "cluster_name", why)
        return name

    def content(self) -> dict[str, Any]:
        """What the file shall hold, as ``metis_orgtext.page`` takes it."""
        comments = dict(self.ini["comments"])
        secret = [line for line, text in comments.items() if _PASSWORD.search(text)]
        if secret:
            self.note(secret, "a comment", "not carried over: it looks as if it had a password")
        sections: dict[str, dict[str, Any]] = {}
        for name, settings in self.settings.items():
            above = [
                line
                for group in _GROUPS.get(name, ())
                for line in self.ini["groups"].get(group, {"above": []})["above"]
            ]
            for given in self.given.values():
                if given["section"] == name and given["kind"] == "ports":
                    above += [*given["above"], *given["behind"]]
            sections[name] = {
                "above": above,
                "settings": {
                    setting: {"value": value}
                    | {key: self.given[variable][key] for key in ("above", "behind")}
                    for setting, (value, variable) in settings.items()
                },
            }
        hosts = {
            machine["name"]: {
                "address": address,
                "roles": [
                    (role, machine["settings"].get((role, index), {}))
                    for role, index in machine["roles"]
                ],
                "above": [
                    line
                    for host in machine["hosts"]
                    for line in self.ini["hosts"][host]["comments"]
                ],
            }
            for address, machine in self.machines.items()
        }
        return {
            "release": RELEASE,
            "hosts": hosts,
            "sections": sections,
            "top": self.ini["top"],
            "comments": {line: text for line, text in comments.items() if line not in secret},
        }


def convert(text: str, org: str | None = None) -> dict[str, Any]:
    """
    The organization file of an inventory, or what keeps it from being one.

    text
        The inventory.
    org
        What the organization shall be called; made from ``cluster_name`` where not given.

    Returns ``{"org", "text", "notes", "faults"}``; ``text`` is ``None`` where there are faults.
    Notes and faults are mappings with ``lines`` of the inventory, ``what`` and ``why``. No password
    is in them.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_inventory.convert '[consul]' org=acme
    """
    done = _Import(__salt__["metis_ini.read"](text))
    name, page = org or "", None
    if done.ini["groups"]:
        done.take_machines()
        done.take_ports()
        done.carry()
        name = done.org(org)
        if not done.machines and not done.faults:
            done.fault([], "the inventory", "has no host in a group of a role, such as [consul]")
    if not done.faults:
        page = __salt__["metis_orgtext.page"](done.content())
    return {
        "org": name,
        "text": page,
        "notes": sorted(done.notes, key=lambda said: said["lines"]),
        "faults": sorted(done.faults, key=lambda said: said["lines"]),
    }
