"""
What the variables of the Ansible scripts are, and what an inventory says in them.
"""

import difflib
import re
from collections.abc import Callable
from typing import Any

__virtualname__ = "metis_variables"

Said = dict[str, Any]

ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")

# variable -> section, setting, what it holds. `ports` has one for each host of the role's group.
_VARIABLES = {
    "cluster_name": ("", "cluster_name", "name"),
    "dataCenter_ip": ("data_center", "address", "text"),
    "dataCenter_port": ("data_center", "port", "port"),
    **{f"enable_deploy_{role}": (role, "enabled", "flag") for role in ROLES},
    **{
        f"consul_{port}": ("consul", port, "ports")
        for port in ("server_port", "serf_lan_port", "serf_wan_port", "http_port", "dns_port")
    },
    "enable_tls": ("admin", "enable_tls", "flag"),
    "admin_server_name": ("admin", "server_name", "text"),
    "admin_ssl_protocols": ("admin", "ssl_protocols", "protocols"),
    "admin_ssl_ciphers": ("admin", "ssl_ciphers", "ciphers"),
    "admin_user": ("admin", "mysql_user", "text"),
    "admin_password": ("admin", "mysql_password", "text"),
    "admin_web_port": ("admin", "web_port", "port"),
    "carrier_external_ip": ("carrier", "external_address", "text"),
    **{
        f"carrier_{port}": ("carrier", port, "port")
        for port in ("pprof_port", "rpc_port", "grpc_gateway_port", "p2p_udp_port", "p2p_tcp_port")
    },
    "ice_via_external_ip": ("ice_via", "external_address", "text"),
    "ice_glacier2_port": ("ice_via", "glacier2_port", "port"),
    "ice_grid_port": ("ice_via", "grid_port", "port"),
    "ice_protocol": ("ice_via", "protocol", "transport"),
    "data_port": ("data", "port", "ports"),
    "compute_port": ("compute", "port", "ports"),
}
# The role that reads what belongs to none.
_READS = {"": "consul", "data_center": "carrier"}
# As older inventories call them, and the scripts misspell one.
_OLDER = {
    "amin_user": "admin_user",
    "enable_deploy_via": "enable_deploy_ice_via",
    "via_external_ip": "ice_via_external_ip",
    "via_port": "ice_glacier2_port",
}
_FLAGS = dict.fromkeys(("true", "yes", "on", "y", "1"), True) | dict.fromkeys(
    ("false", "no", "off", "n", "0"), False
)

_SSH = (
    "not carried over: Salt's minions call the master and are known by their keys, so no host "
    "needs an account for ssh (README, Accept the keys)"
)
_ROOT = (
    "not carried over: MariaDB's root is the machine's root, through the local socket, and has no "
    "password"
)


def _flag(value: str) -> bool:
    if value.lower() not in _FLAGS:
        raise ValueError(f"is {value!r}: write True or False")
    return _FLAGS[value.lower()]


def _port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ValueError(f"is {value!r}, and a port is a number from 1 to 65535")
    return int(value)


def _ports(value: str) -> list[int]:
    words = re.split(r"[,\uff0c\s]+", value.strip("[]() \t,\uff0c"))
    return [_port(word.strip("'\"")) for word in words]


def _transport(value: str) -> str:
    if value.lower() not in ("tcp", "ssl"):
        raise ValueError(f"is {value!r}: write tcp or ssl")
    return value.lower()


def _words(value: str) -> list[str]:
    return [word for word in re.split(r"[\s,:'\"]+", value.strip("[]")) if word]


def _name(value: str) -> str:
    """As consul takes it; empty where nothing is left of it."""
    return re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")


_READ: dict[str, Callable[[str], Any]] = {
    "name": _name,
    "text": str,
    "flag": _flag,
    "port": _port,
    "ports": _ports,
    "transport": _transport,
    "protocols": _words,
    "ciphers": _words,
}


class _Variables:
    """What was said, and what there is to say of it."""

    def __init__(self, members: dict[str, list[str]]) -> None:
        self.members = members
        self.given: dict[str, dict[str, Any]] = {}
        self.notes: list[Said] = []
        self.faults: list[Said] = []
        self.unfilled: list[tuple[str, int, str]] = []

    def fault(self, line: int, what: str, why: str) -> None:
        self.faults.append(__salt__["metis_ini.said"]([line], what, why))

    def note(self, lines: list[int], what: str, why: str) -> None:
        self.notes.append(__salt__["metis_ini.said"](lines, what, why))

    def take(self, variables: list[dict[str, Any]]) -> None:
        ssh: dict[str, list[int]] = {}
        for variable in variables:
            name = _OLDER.get(variable["name"], variable["name"])
            if name in ("ansible_host", "ansible_ssh_host"):
                continue
            if name.startswith("ansible_"):
                ssh.setdefault(name, []).append(variable["line"])
            elif name == "mysql_root_password":
                self.note([variable["line"]], name, _ROOT)
            elif name not in _VARIABLES:
                near = difflib.get_close_matches(name, [*_VARIABLES, *_OLDER], 1)
                hint = f": did you mean {near[0]}?" if near else ""
                why = f"not carried over: it is no variable of the Ansible scripts{hint}"
                self.note([variable["line"]], variable["name"], why)
            elif variable["host"] and not self._counts(name, variable["host"]):
                why = "not carried over from a host's line: write it there in the organization file"
                self.note([variable["line"]], name, why)
            else:
                self._take(name, variable)
        if ssh:
            self.note([line for lines in ssh.values() for line in lines], ", ".join(ssh), _SSH)

    def _counts(self, name: str, host: str) -> bool:
        role, _, kind = _VARIABLES[name]
        return kind != "ports" and self.members.get(role) == [host]

    def _take(self, name: str, variable: dict[str, Any]) -> None:
        value, line, shown = variable["value"], variable["line"], variable["name"]
        if name in self.given:
            before = self.given.pop(name)
            why = f"not carried over: {shown} on line {line} counts"
            if before["value"] != value:
                self.note([before["line"]], before["name"], why)
        if not value.strip():
            self.note([line], shown, "has no value, so the default counts")
        elif re.match(r"\$\{.*\}", value.strip(), re.DOTALL):
            self.unfilled.append((_VARIABLES[name][0], line, shown))
        elif re.search(r"\{\{|\{%", value):
            self.fault(line, shown, "is for Ansible to fill in: write the value itself")
        else:
            section, setting, kind = _VARIABLES[name]
            what = {"section": section, "setting": setting, "kind": kind}
            try:
                self.given[name] = variable | what | {"read": _READ[kind](value)}
            except ValueError as err:
                self.fault(line, shown, str(err))

    def look(self) -> None:
        """What only shows when all is read."""
        for role, line, name in self.unfilled:
            if self.given.get(f"enable_deploy_{role}", {"read": True})["read"]:
                self.fault(line, name, "is not filled in: write its value, or take the line out")
            else:
                self.note([line], name, f"is not filled in, and {role} is switched off")
        cluster = self.given.get("cluster_name")
        if cluster and cluster["read"] != cluster["value"]:
            became = f"became {cluster['read']}" if cluster["read"] else "was not carried over"
            why = f"{became}: consul takes small letters, digits and - in it"
            self.note([cluster["line"]], "cluster_name", why)
        password = self.given.get("admin_password")
        if password and password["read"] == "admin_123456":
            why = "is the password of the scripts' own example, which everyone knows: change it"
            self.note([password["line"]], "admin_password", why)
        if password and password["behind"] and not password["quoted"]:
            why = "ends before the comment; Ansible took the comment into the password"
            self.note([password["line"]], "admin_password", why)
        self._tls()

    def _tls(self) -> None:
        found = {
            name: self.given.pop(name)
            for name in ("admin_ssl_protocols", "admin_ssl_ciphers")
            if name in self.given
        }
        on = self.given.get("enable_tls")
        for name, variable in found.items():
            weak = _weak(variable["kind"], variable["read"])
            kept = [word for word in variable["read"] if word not in weak]
            if weak:
                which = ", ".join(weak)
                many = "is" if len(weak) == 1 else "are"
                why = f"not carried over: {which} {many} too weak, or unknown"
                self.note([variable["line"]], name, why)
            if not kept or not on or not on["read"]:
                continue
            if variable["kind"] == "protocols":
                self.given[name] = variable | {"read": kept}
            # Of words that are good each by itself, others may leave none.
            elif problem := __salt__["metis_orgform.ciphers_problem"](":".join(kept)):
                self.note([variable["line"]], name, f"not carried over: it {problem}")
            else:
                self.given[name] = variable | {"read": ":".join(kept)}
        if on and on["read"]:
            why = "carried over without the certificate, which an inventory does not hold"
            self.note([on["line"]], "enable_tls", why)
        elif found:
            why = (
                "not carried over: enable_tls is off, and the Ansible scripts leave it out then too"
            )
            self.note([v["line"] for v in found.values()], ", ".join(found), why)


def _weak(kind: str, words: list[str]) -> list[str]:
    if kind == "protocols":
        return [word for word in words if word not in ("TLSv1.2", "TLSv1.3")]
    # A word with !, - or + before it selects none, and what is excluded may make HIGH a good one.
    never = [word for word in words if word[0] == "!"]
    return [
        word
        for word in words
        if word[0] not in "!-+"
        and __salt__["metis_orgform.ciphers_problem"](":".join([word, *never]))
    ]


def read(
    variables: list[dict[str, Any]],
    members: dict[str, list[str]],
    ranks: dict[str, dict[str, int]],
) -> dict[str, Any]:
    """
    What an inventory's variables say.

    variables
        As ``metis_ini.read`` returns them.
    members
        Each role's hosts.
    ranks
        Of each role the groups that say something to its hosts, with a number: the highest counts.
        What another group says counts only where none of these says anything.

    Returns ``given``: what a file can hold, by the variable's newest name, each as it was given and
    with ``section``, ``setting``, ``kind`` and what was ``read``; ``notes`` and ``faults``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_variables.read '[]' '{}' '{}'
    """
    found = _Variables(members)

    def rank(variable: dict[str, Any]) -> tuple[bool, int]:
        name = _OLDER.get(variable["name"], variable["name"])
        section = _VARIABLES.get(name, ("",))[0]
        groups = ranks.get(_READS.get(section, section), {})
        return variable["host"] is not None, groups.get(variable["group"], 0)

    # What a host's own line says is above all groups, and of two that are equal the last counts.
    found.take(sorted(variables, key=rank))
    found.look()
    given = {name: found.given[name] for name in _VARIABLES if name in found.given}
    return {"given": given, "notes": found.notes, "faults": found.faults}
