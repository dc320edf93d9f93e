"""
Reading an Ansible inventory in its INI form, with its comments and all of its faults.

It reads by itself. ``configparser`` knows no host lines (``10.0.0.1 ansible_user=me``), takes a key
that stands twice for an error, and forgets comments. ansible-core reads them, and forgets comments
and line numbers, stops at the first fault, and is large to have on a master for one command.
What people write and Ansible does not read (``:`` for ``=``, a comment behind ``;``) is read too.
"""

import re
import shlex
from typing import Any

__virtualname__ = "metis_ini"

Said = dict[str, Any]

# More than any organization has; a slip in a range must not fill the memory.
_MOST_HOSTS = 256
_DEEPEST = 20
_HEADER = re.compile(r"\[\s*([^\[\]:\s]+)\s*(?::\s*(\w+)\s*)?\]\s*(?:[#;](.*))?")
_ASSIGNMENT = re.compile(r"([A-Za-z_][\w.-]*)\s*[=:]\s*(.*)", re.DOTALL)
_HOST_VARIABLE = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_HOST = re.compile(r"(.+?)(?::[0-9]{1,5})?")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")
_RANGE = re.compile(
    r"\[(?:([0-9]{1,9}):([0-9]{1,9})|([A-Za-z]):([A-Za-z]))(?::([1-9][0-9]{0,3}))?\]"
)


def said(lines: list[int], what: str, why: str) -> Said:
    """
    What there is to say of an inventory: a fault, or what was not carried.

    lines
        Where it is in the inventory.
    what
        The variable, the host or the group.
    why
        A sentence without a full stop that goes on from ``what``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_ini.said '[3]' data_port "is no port"
    """
    return {"lines": sorted(set(lines)), "what": what, "why": why}


def _split(text: str) -> tuple[str, str | None]:
    """What a line holds and the comment behind it, which does not begin within quotes."""
    quote = ""
    for at, char in enumerate(text):
        before = text[at - 1] if at else " "
        if quote:
            quote = "" if char == quote and before != "\\" else quote
        elif char in "'\"" and (before.isspace() or before in "=:,["):
            quote = char
        elif char in "#;" and before.isspace():
            return text[:at].rstrip(), text[at:]
    return text, None


def _hosts(pattern: str) -> list[str]:
    """The hosts of `node[1:3]`: as Ansible counts them, both ends included."""
    names, at = [""], 0
    for match in _RANGE.finditer(pattern):
        first, last, letter, last_letter, step = match.groups()
        if letter:
            numbers = range(ord(letter), ord(last_letter) + 1, int(step or 1))
        else:
            numbers = range(int(first), int(last) + 1, int(step or 1))
        if len(names) * len(numbers) > _MOST_HOSTS:
            raise ValueError(f"names more than {_MOST_HOSTS} hosts")
        width = len(first) if first and first[0] == "0" else 0
        items = [chr(n) if letter else str(n).zfill(width) for n in numbers]
        names = [name + pattern[at : match.start()] + item for name in names for item in items]
        at = match.end()
    names = [name + pattern[at:] for name in names]
    if not names:
        raise ValueError("is a range that ends before it begins, so it names no host")
    if not all(_NAME.fullmatch(name) for name in names):
        raise ValueError("does not begin with a host's name or an IPv4 address")
    return names


class _Reader:
    """Takes line by line, and keeps what it found."""

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, Any]] = {}
        self.hosts: dict[str, dict[str, Any]] = {}
        self.variables: list[dict[str, Any]] = []
        self.comments: dict[int, str] = {}
        self.top: list[int] = []
        self.unfilled: list[dict[str, Any]] = []
        self.faults: list[Said] = []
        self.notes: list[Said] = []
        self._group, self._kind, self._number = "ungrouped", "hosts", 0
        self._above: list[int] = []

    def take(self, number: int, line: str) -> None:
        self._number = number
        if not line:
            if not self.groups and not self.hosts:
                self.top, self._above = [*self.top, *self._above], []
        elif line[0] in "#;":
            if self._comment(line):
                self._above.append(number)
        elif line[0] == "[":
            self._header(line)
        elif self._kind != "unknown":
            held, comment = _split(line)
            behind = [number] if comment and self._comment(comment) else []
            take = {"hosts": self._host, "vars": self._variable, "children": self._child}
            take[self._kind](held, {"above": self._above, "behind": behind})
            self._above = []

    def _fault(self, what: str, why: str) -> None:
        self.faults.append(said([self._number], what, why))

    def _comment(self, text: str) -> bool:
        text = text.strip().lstrip("#;").strip()
        if text:
            self.comments[self._number] = text
        return bool(text)

    def _header(self, line: str) -> None:
        match = _HEADER.fullmatch(line)
        kind = (match and match[2]) or "hosts"
        if not match or kind not in ("hosts", "vars", "children"):
            self._fault("[...]", "is no group: write [name], [name:vars] or [name:children]")
            self._kind, self._above = "unknown", []
            return
        self._group, self._kind = match[1], kind
        if match[3]:
            self._above += [self._number] if self._comment(match[3]) else []
        self._of(self._group)["above"] += self._above
        self._above = []

    def _of(self, group: str) -> dict[str, Any]:
        new: dict[str, Any] = {"line": self._number, "hosts": {}, "children": [], "above": []}
        return self.groups.setdefault(group, new)

    def _host(self, held: str, comments: dict[str, list[int]]) -> None:
        place = f"[{self._group}]"
        if held.startswith("${"):
            self.unfilled.append({"line": self._number, "group": self._group})
            return
        try:
            words = shlex.split(held)
        except ValueError:
            self._fault(place, "has a quote that is not closed, or ends in a backslash")
            return
        if "=" in words[0] or words[0].endswith(":") or words[1:2] == ["="]:
            self._fault(place, "has an assignment where hosts stand: move it below [all:vars]")
            return
        match = _HOST.fullmatch(words[0])
        try:
            names = _hosts(match[1] if match else "")
        except ValueError as err:
            self._fault(place, f"has a line that {err}")
            return
        assigned = [_HOST_VARIABLE.fullmatch(word) for word in words[1:]]
        if not all(assigned):
            why = "has something that is not name=value behind a host: quote it where it has spaces"
            self._fault(place, why)
        for name in names:
            new: dict[str, Any] = {"line": self._number, "variables": {}, "comments": []}
            host = self.hosts.setdefault(name, new)
            host["comments"] += [*comments["above"], *comments["behind"]]
            host["variables"] |= {m[1]: m[2] for m in assigned if m}
            members = self._of(self._group)["hosts"]
            if name in members:
                why = f"stands in {place} again: it counts once, as it does for Ansible"
                self.notes.append(said([self._number], name, why))
            else:
                members[name] = self._number
        for match in filter(None, assigned):
            of = {"host": names[0], "group": self._group, "quoted": True}
            self._assign(match[1], match[2], of | {"above": [], "behind": []})

    def _variable(self, held: str, comments: dict[str, list[int]]) -> None:
        match = _ASSIGNMENT.fullmatch(held)
        if not match:
            self._fault(f"[{self._group}:vars]", "has a line that is not `name = value`")
            return
        value, quoted = match[2], match[2][:1] in ("'", '"')
        if quoted:
            if len(value) < 2 or value[-1] != value[0]:
                self._fault(match[1], "has a quote that is not closed, or something behind it")
                return
            value = re.sub(r"\\(['\"\\])", r"\1", value[1:-1])
        of = {"host": None, "group": self._group, "quoted": quoted}
        self._assign(match[1], value, of | comments)

    def _assign(self, name: str, value: str, others: dict[str, Any]) -> None:
        self.variables.append({"name": name, "value": value, "line": self._number, **others})

    def _child(self, held: str, comments: dict[str, list[int]]) -> None:
        group = self._of(self._group)
        group["above"] += [*comments["above"], *comments["behind"]]
        group["children"].append({"name": held, "line": self._number})

    def resolved(self) -> dict[str, list[str]]:
        """The hosts of every group: those of its children first, as Ansible counts them."""
        done: dict[str, list[str]] = {}
        for name in self.groups:
            self._resolve(name, done, ())
        return done

    def _resolve(self, name: str, done: dict[str, list[str]], way: tuple[str, ...]) -> list[str]:
        if name in done:
            return done[name]
        hosts: dict[str, None] = {}
        for child in self.groups[name]["children"]:
            self._number, place = child["line"], f"[{name}:children]"
            if child["name"] not in self.groups:
                self._fault(place, "names a group that is not there")
            elif child["name"] in (*way, name) or len(way) > _DEEPEST:
                self._fault(place, "goes round in a circle, or too deep")
            else:
                hosts |= dict.fromkeys(self._resolve(child["name"], done, (*way, name)))
        hosts |= dict.fromkeys(self.groups[name]["hosts"])
        done[name] = list(hosts)
        return done[name]


def read(text: str) -> dict[str, Any]:
    """
    What an inventory says, whatever it is about.

    text
        The inventory.

    Returns a mapping. ``groups``: name to ``line``, its own ``hosts`` (name to line), the names of
    its ``children``, all its ``members`` and the comments ``above``. ``hosts``: name to ``line``,
    ``variables`` and ``comments``. ``variables``: in the order of the file, each with ``name``,
    ``value`` without quotes, whether it was ``quoted``, ``line``, ``group``, ``host`` (or ``None``)
    and the comments ``above`` and ``behind``. ``comments``: line to text; elsewhere a comment is
    its line. ``top``: the comments at the top. ``unfilled``: ``line`` and ``group`` of each host
    that is a ``${...}`` still. ``notes`` and ``faults``: as ``said`` makes them.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_ini.read '[consul]'
    """
    reader = _Reader()
    # Not splitlines, which splits at characters where no editor counts a line.
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), 1):
        if line.startswith("$ANSIBLE_VAULT;"):
            why = "is encrypted: run ansible-vault decrypt on a copy first"
            return _nothing([said([number], "the file", why)])
        reader.take(number, line.strip())
    if not reader.groups.keys() - {"ungrouped"}:
        why = "has no [group], so it is no inventory in INI form"
        return _nothing([said([1], "the file", why)])
    members = reader.resolved()
    groups = {
        name: {
            "line": group["line"],
            "above": group["above"],
            "hosts": group["hosts"],
            "children": [child["name"] for child in group["children"]],
            "members": members[name],
        }
        for name, group in reader.groups.items()
    }
    found = {key: getattr(reader, key) for key in _nothing([])}
    return found | {"groups": groups}


def _nothing(faults: list[Said]) -> dict[str, Any]:
    empty: dict[str, Any] = {"groups": {}, "hosts": {}, "variables": [], "comments": {}, "top": []}
    return empty | {"unfilled": [], "notes": [], "faults": faults}
