"""
The organization file as it is read: its instances, and every fault of its form in words.

An organization file is ``pillar/orgs/<org>.sls``. It is the only input of an operator. What may
stand in it, ``metis_orgform`` knows; what must hold *between* its parts (ports that clash, the
number of consul servers) is checked where the parts come together, in ``metis_rules``.
"""

import copy
import difflib
import re
from typing import Any

__virtualname__ = "metis_orgfile"

ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")


def fault(place: str, problem: str, fix: str, value: Any = None) -> dict[str, Any]:
    """
    One fault of an organization file.

    place
        Where it is, as a path in the file (``hosts.demo1.roles[0]``).
    problem
        What is wrong, in a sentence without a full stop.
    fix
        What to do about it.
    value
        What stands there now; ``None`` where nothing does. A password is not shown, and what is
        too long only in part.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgfile.fault hosts "is empty" "name a host"
    """
    return {"place": place, "value": _shown(place, value), "problem": problem, "fix": fix}


# Characters of a value, or of a name that may be anything, in a fault.
_LONGEST = 100
# What msgpack can carry to the verbs.
_LARGEST = 2**63


def _text(value: Any) -> str:
    """A value in one line that can be printed and is not too long, whatever it is."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except ValueError:
        text = "a number with too many digits"
    except RecursionError:
        text = "a list or mapping that is too deep"
    if not text.isprintable():
        text = repr(text)[1:-1]
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _place(location: tuple[str | int, ...]) -> str:
    place = ""
    for part in location:
        name = f"[{part}]" if isinstance(part, int) else _text(part) or "''"
        place += name if isinstance(part, int) or not place else f".{name}"
    return place


def _shown(place: str, value: Any) -> Any:
    # A password may stand in a mapping, under a key that is not the right one.
    items = value if isinstance(value, list | tuple | set) else [value]
    if "password" in place or any(item and isinstance(item, _CONTAINERS) for item in items):
        return "(not shown)"
    if isinstance(value, list) and len(value) <= _LONGEST:
        return [_shown(place, item) for item in value]
    if (isinstance(value, int) and abs(value) < _LARGEST) or isinstance(value, float | None):
        return value
    return _text(value)


_CONTAINERS = (dict, list, tuple, set)


def _nearest(name: Any, known: list[str]) -> str:
    near = difflib.get_close_matches(_text(name), known, 1)
    return f"did you mean {near[0]}?" if near else "known are: " + ", ".join(known)


def _is_key(item: Any) -> bool:
    """Whether it is the key of a mapping that is wrong, and not its value."""
    return item["loc"][-1:] == ("[key]",) and item["type"] != "extra_forbidden"


def _location(item: Any) -> list[str | int]:
    # pydantic's word for a mapping's key; the operator's file has no such place.
    location = list(item["loc"][:-1] if _is_key(item) else item["loc"])
    if location[:1] == ["hosts"] and len(location) > 1:
        # A number is a host's name too, and no place in a list.
        location[1] = str(location[1])
    return location


# What pydantic calls it: what is wrong and what to do, for people.
_WORDS = {
    "missing": ("is missing", "add it"),
    "int_type": ("must be a whole number", "write one, without quotes and without a point"),
    "bool_type": ("must be true or false", "write one of them, without quotes"),
    "string_type": ("must be text", "write text, in quotes where it looks like a number"),
    "string_unicode": ("holds what is no character", "write it anew"),
    "list_type": ("must be a list", "write `[...]`, or a line `- ...` for each"),
    "dict_type": ("must be a mapping", "write lines `name: value` below it"),
    "model_type": ("must be a mapping", "write lines `setting: value` below it"),
    "too_short": ("is empty", "name at least one"),
}


def _words(item: Any) -> tuple[str, str]:
    kind, context = item["type"], item.get("ctx", {})
    if kind == "metis":
        return context["problem"], context["fix"]
    if _is_key(item):
        fix = "write the minion's id: letters, digits, ., _ and -"
        return "is not what a minion can be called", fix
    if item["input"] is None and kind != "missing":
        return "has no value", "write one, or remove the line"
    if kind in _WORDS:
        return _WORDS[kind]
    if kind == "greater_than_equal":
        return "is too small", f"write {context['ge']} or more"
    if kind == "less_than_equal":
        return "is too large", f"write {context['le']} or less"
    if kind == "literal_error":
        known = re.findall("'([^']+)'", context["expected"])
        return f"must be one of {', '.join(known)}", _nearest(item["input"], known)
    problem = item["msg"].removeprefix("Value error, ")
    return problem[0].lower() + problem[1:], "correct the value"


def _faults_of(
    errors: list[dict[str, Any]], section: str, prefix: tuple[str | int, ...] = ()
) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for item in errors:
        location = _location(item)
        place = _place((*prefix, *location)) or "metis"
        problem, fix = _words(item)
        value = item["input"]
        if item["type"] == "extra_forbidden":
            problem, value = "is not a setting known here", None
            known = __salt__["metis_orgform.settings"](section, location[:-1])
            fix = _nearest(location[-1], known)
        elif item["type"] == "missing":
            value = None
        found.setdefault(place, fault(place, problem, fix, value))
    return list(found.values())


def _instances(name: str, host: Any, org: Any, faults: list[dict[str, Any]]) -> list[dict]:
    instances: list[dict[str, Any]] = []
    for number, entry in enumerate(host["roles"]):
        if entry is _LEFT_OUT:
            continue
        place: tuple[str | int, ...] = ("hosts", name, "roles", number)
        named = {entry: None} if isinstance(entry, str) else entry
        if not isinstance(named, dict) or len(named) != 1:
            problem, fix = "must name one role", "write `- role` or `- role: {setting: value}`"
            faults.append(fault(_place(place), problem, fix, entry))
            continue
        role, own = next(iter(named.items()))
        if role not in ROLES:
            fix = _nearest(role, list(ROLES))
            faults.append(fault(_place(place), "is not a role", fix, role))
            continue
        if own is not None and not isinstance(own, dict):
            where, problem = _place((*place, role)), "must be a mapping of settings"
            faults.append(fault(where, problem, "write lines `setting: value` below it", own))
            continue
        settings = {**org[role], **_named(own or {})}
        before = sum(1 for instance in instances if instance["role"] == role)
        if role in ("data", "compute") and "port" not in (own or {}):
            settings["port"] += before
        checked = __salt__["metis_orgform.checked"](role, settings)
        if checked["errors"]:
            faults += _faults_of(checked["errors"], role, (*place, role))
            continue
        instances.append({"role": role, "place": _place(place), **checked["form"]})
    return instances


_LEFT_OUT = object()
# In place of what is missing and has no default, so that the rest can be looked at.
_STAND_INS = {"release": "", "address": "192.0.2.1", "port": 9090, "roles": [_LEFT_OUT]}


def _leave_out(given: dict[Any, Any], item: Any) -> None:
    way = _location(item)
    while len(way) > 1 and isinstance(inner := _inside(given, way[0]), dict):
        given = inner
        way.pop(0)
    if item["type"] != "missing":
        # A host whose name is no text, pydantic may not even name.
        wrong = [key for key in given if _is_key(item) and not isinstance(key, str)]
        for key in wrong or [key for key in given if _same(key, way[0])]:
            del given[key]
    elif len(way) == 1:
        given[way[0]] = _STAND_INS.get(str(way[0]))


def _same(key: Any, part: str | int) -> bool:
    # pydantic says a key that is no text by its text.
    return key == part or _text(key) == _text(part)


def _inside(given: dict[Any, Any], part: str | int) -> Any:
    return next((value for key, value in given.items() if _same(key, part)), None)


def _told(name: Any) -> str:
    return name if isinstance(name, str) and name.isprintable() else _text(name)


def _named(mapping: Any) -> Any:
    """
    A mapping of settings whose names are all text that can be told, as those of its sections and
    hosts: to pydantic, a name that is a number is a place in a list.
    """
    if not isinstance(mapping, dict):
        return mapping
    named = {_told(key): value for key, value in mapping.items()}
    for name, section in named.items():
        if name == "hosts" and isinstance(section, dict):
            # One that is no text is no name of a host either, whatever it looks like.
            named[name] = {
                _told(host) if isinstance(host, str) else host: _named(settings)
                for host, settings in section.items()
            }
        elif isinstance(section, dict):
            named[name] = _named(section)
    return named


def _form(given: dict[str, Any]) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """
    The file with every default, and its faults. Where it has some, they are left out of it, so that
    one look finds those of the rest too; ``None`` where too little is left.
    """
    faults: list[dict[str, Any]] = []
    given = _named(copy.deepcopy(given))
    # Wrong values go, then what is missing for that gets a stand-in, then it is whole.
    for _ in range(4):
        checked = __salt__["metis_orgform.checked"]("metis", given)
        if not checked["errors"]:
            return checked["form"], faults
        faults = faults or _faults_of(checked["errors"], "metis")
        for item in sorted(checked["errors"], key=_depth, reverse=True):
            _leave_out(given, item)
    return None, faults


def _depth(item: Any) -> int:
    return len(_location(item))


def read(data: Any) -> dict[str, Any]:
    """
    Check the form of an organization file and fill in every default.

    data
        What the file renders to: a mapping with the one key ``metis``.

    Returns ``{"org": ..., "faults": [...], "whole": ...}``. ``org`` is the file with every default
    filled in, and each host's ``roles`` replaced by ``instances``: mappings of every setting, with
    ``role`` and the ``place`` in the file. Where there are faults, ``org`` is without what is at
    fault, only good for finding more of them, and ``None`` where too little is left for that;
    ``whole`` tells whether it has every host and every instance.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgfile.read '{"metis": {"release": "0.3.0", "hosts": {}}}'
    """
    if not isinstance(data, dict) or set(data) != {"metis"} or not isinstance(data["metis"], dict):
        wrong = fault("metis", "must be the file's one top key, a mapping", "see docs/pillar.md")
        return {"org": None, "faults": [wrong], "whole": False}
    try:
        org, faults = _form(data["metis"])
    except RecursionError:
        wrong = fault("metis", "has lists in lists without end", "see docs/pillar.md")
        org, faults = None, [wrong]
    if org is None:
        return {"org": None, "faults": faults, "whole": False}
    whole = len(org["hosts"]) == len(data["metis"]["hosts"])
    for name, host in org["hosts"].items():
        host["instances"] = _instances(name, host, org, faults)
        whole = whole and len(host["instances"]) == len(host.pop("roles"))
    return {"org": org, "faults": faults, "whole": whole}
