"""What is written down about a lab while it stands."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import systems
from tests.lab.errors import LabError
from tests.lab.host import RUN, Host
from tests.lab.nodes import MASTER


@dataclass(frozen=True)
class Record:
    """A lab that stands, or that was begun."""

    files: tuple[str, ...]
    complete: bool
    hosts: tuple[Host, ...]

    def host(self, name: str) -> Host:
        """The host of this name.

        Raises:
            LabError: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts)
        raise LabError(f"there is no host {name} in this lab; its hosts: {names}")

    @property
    def master(self) -> Host:
        """The host of the Salt master."""
        return self.host(MASTER.name)


def _file(lab: str) -> Path:
    return RUN / lab / "lab.json"


def save(lab: str, record: Record) -> None:
    """Write a lab's record, whole or not at all."""
    file = _file(lab)
    file.parent.mkdir(parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(asdict(record), indent=1), encoding="utf-8")
    fresh.rename(file)


def load(lab: str) -> Record | None:
    """A lab's record; None where no lab was begun."""
    try:
        data = json.loads(_file(lab).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    hosts = tuple(
        Host(
            lab=entry["lab"],
            name=entry["name"],
            address=entry["address"],
            roles=tuple(entry["roles"]),
            # A lab that was begun before there was a choice.
            system=entry.get("system", systems.DEFAULT.name),
            binds=tuple((source, point) for source, point in entry["binds"]),
        )
        for entry in data["hosts"]
    )
    return Record(files=tuple(data["files"]), complete=data["complete"], hosts=hosts)


def require(lab: str) -> Record:
    """A lab's record.

    Raises:
        LabError: the lab does not stand.
    """
    found = load(lab)
    if found is None:
        option = "" if lab == "demo" else f" --name {lab}"
        others = ", ".join(sorted(file.parent.name for file in RUN.glob("*/lab.json")))
        there = f"; up is: {others} (--name before the command)" if others else ""
        raise LabError(f"lab {lab} is not up: ./lab demo{option}, or ./lab up{option}{there}")
    return found
