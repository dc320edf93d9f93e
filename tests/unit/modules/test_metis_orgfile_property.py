"""Whatever is written into an organization file: a topology, or faults with a place each."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import salt.payload
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from _modules import metis_orgfile, metis_orgform, metis_topology
from tests.unit import orgs

SECRET = "kX9-vw2-pp0-Lq7"
WEAK = "hunter2"
SETTINGS = sorted(
    {
        name
        for section in metis_orgform.json_schema()["$defs"].values()
        for name in section["properties"]
    }
)


def _everything() -> dict[str, Any]:
    """A valid file in which every setting is written."""
    given = orgs.org_file(admin={"mysql_password": SECRET})
    form: dict[str, Any] = metis_orgform.checked("metis", given)["form"]
    return form


_BASES = [
    orgs.org_file(),
    _everything(),
    orgs.one_host("admin", "ice_via", {"data": {"port": 9999}}, "data", {"compute": None}),
    orgs.org_file(admin={"mysql_password": SECRET}),
    orgs.org_file(hosts=orgs.hosts({"admin": {"mysql_password": SECRET}}, h2=["ice_via", "data"])),
]
_ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, float("nan"), float("inf"), 2**64, 10**400),
    *("", " ", "a b", "a\nb", "\x00", "\ud800", "ü", "\u202e", "x" * 300, "{{ a }}", "%s{}"),
    *("yes", "8500", "010", "1e3", "1g", "0.3.0", "enr:-a", "/srv/a", "/etc", "..", "a.example"),
    *("10.0.0.1", "10.0.0.300", "127.0.0.1", "192.0.2.1", "::1", "localhost", "-----BEGIN PGP"),
    *(80, 1025, 8500, 10033, 31050, 65535, 65536),
    *([], {}, [[]], [None], [[[[[[]]]]]], {"": {}}, b"\xff", {1}, (1, 2)),
    *metis_orgfile.ROLES,
]
_KEYS = st.sampled_from(
    [
        *SETTINGS,
        *("h1", "h2", "n9", "Consul", "rolse", "mysql_pasword", "[key]", "a.b", "a b", "", "\n"),
        *("\ud800", "x" * 300, None, True, 5, 1.5, 10**400, b"x", (1,)),
    ]
)
_VALUES = (
    st.sampled_from(_ODD)
    | st.integers()
    | st.text(max_size=8)
    | st.lists(st.sampled_from(_ODD), max_size=3)
    | st.dictionaries(_KEYS, st.sampled_from(_ODD), max_size=3)
)


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list) and value:
        yield value
        for item in value.values() if isinstance(value, dict) else value:
            yield from _containers(item)


def _change(draw: st.DrawFn, file: dict[str, Any]) -> None:
    found = list(_containers(file)) or [file]
    target = found[draw(st.integers(0, len(found) - 1))]
    how = draw(
        st.sampled_from(["replace", "remove", "add", "rename", "repeat", "move", "password"])
    )
    if how == "password" and isinstance(file.get("admin"), dict):
        file["admin"]["mysql_password"] = draw(st.sampled_from([WEAK, SECRET, [WEAK], {WEAK: 1}]))
        return
    value = copy.deepcopy(draw(_VALUES))
    if isinstance(target, list):
        place = draw(st.integers(0, len(target) - 1))
        if how == "remove":
            del target[place]
        elif how == "repeat":
            target.insert(place, copy.deepcopy(target[place]))
        elif how == "move":
            target.append(copy.deepcopy(found[draw(st.integers(0, len(found) - 1))]))
        else:
            target[place : place + (how == "replace")] = [value]
        return
    key = draw(st.sampled_from(list(target))) if target else "hosts"
    if how == "remove":
        target.pop(key, None)
    elif how == "rename":
        target[draw(_KEYS)] = target.pop(key, None)
    elif how == "add":
        target[draw(_KEYS)] = value
    elif how == "move":
        target[key] = copy.deepcopy(found[draw(st.integers(0, len(found) - 1))])
    else:
        target[key] = value


@st.composite
def _broken(draw: st.DrawFn) -> dict[str, Any]:
    """A valid file with up to four places changed, added or taken away."""
    file = copy.deepcopy(_BASES[draw(st.integers(0, len(_BASES) - 1))])
    for _ in range(draw(st.integers(1, 4))):
        _change(draw, file)
    return file


def _places(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[str]:
    """The place of everything in a file."""
    if place:
        yield metis_orgfile._place(place)
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*place, metis_orgfile._text(key)))
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _places(item, (*place, number))


def _is_place(place: str, places: set[str]) -> bool:
    """Whether it is a place of the file, or of what could stand there."""
    sections = {"metis", "hosts", "release", *metis_orgfile.ROLES, *SETTINGS}
    below = re.compile(r"(\.\w+(\[\d\])?){0,2}( \(\w+\))?(, .+)?")
    return any(
        place.startswith(known) and below.fullmatch(place.removeprefix(known))
        for known in places | sections
    )


def _stands_open(value: Any, text: str, hidden: bool = False) -> bool:
    """Whether a text stands in a file elsewhere than below a key that says it is a password."""
    if isinstance(value, dict):
        return any(
            _stands_open(key, text)
            or _stands_open(item, text, hidden or "password" in metis_orgfile._text(key))
            for key, item in value.items()
        )
    if isinstance(value, list | tuple | set):
        return any(_stands_open(item, text, hidden) for item in value)
    return not hidden and isinstance(value, str) and text in value


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return orgs.wired()


@settings(
    max_examples=3000,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(_broken())
def test_a_broken_file_is_a_topology_or_has_named_faults(file: dict[str, Any]) -> None:
    before = copy.deepcopy(file)
    made = orgs.built(file)
    assert file == before
    places = set(_places(file))
    for fault in made["faults"]:
        assert set(fault) == {"place", "value", "problem", "fix"}
        for part in ("place", "problem", "fix"):
            assert isinstance(fault[part], str)
            assert fault[part]
            assert fault[part].isprintable()
            assert len(fault[part]) < 1000
        assert _is_place(fault["place"], places), fault
    said = repr(made["faults"])
    for secret in (SECRET, WEAK):
        assert secret not in said or _stands_open(file, secret)
    # To verbs and minions all of it goes by this.
    salt.payload.loads(salt.payload.dumps(made["faults"]))
    if made["topology"] is None:
        assert made["faults"]
        return
    assert made["faults"] == []
    salt.payload.dumps(made["topology"])
    for view in orgs.views(made["topology"]).values():
        salt.payload.dumps(view)


def test_a_file_that_is_not_broken_is_a_topology() -> None:
    for file in _BASES:
        assert orgs.built(file)["faults"] == []


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.recursive(st.sampled_from([*_ODD, "metis"]), st.lists, max_leaves=5) | _VALUES)
def test_whatever_is_no_organization_is_a_fault(data: Any) -> None:
    for content in (data, {"metis": data}, {"metis": {"hosts": data}}, {"metis": [data], "x": 1}):
        form = metis_orgfile.read(content)
        assert form["faults"]
        assert all(fault["place"] for fault in form["faults"])
        metis_topology.build("acme", form, orgs.RELEASE)
