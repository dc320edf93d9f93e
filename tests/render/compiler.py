"""Salt's own compiler and file states over this repository, without a minion or a master."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import salt.config
import salt.loader
import salt.state
import salt.utils.args

REPOSITORY = Path(__file__).resolve().parents[2]
STATES = REPOSITORY / "salt"
ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")

Data = dict[str, Any]

_ID = "minion"

# What decides on a minion which of Salt's modules load; a real look at the machine takes a second.
_GRAINS = {
    "kernel": "Linux",
    "os": "Debian",
    "os_family": "Debian",
    "oscodename": "bookworm",
    "osmajorrelease": 12,
    "osrelease": "12",
    "init": "systemd",
    "cpuarch": "x86_64",
    "osarch": "amd64",
}

# What goes of a role, by the kinds of claims.
_KINDS = ("tree", "unit", "user", "database", "account", "service", "link")

# What systemd says of a unit that was started after all of its files were written.
_RUNS = {"state": "active", "enabled": True, "started": float("inf")}

# States that make something with an owner.
_OWNED = ("file.managed", "file.serialize", "file.directory", "file.recurse")

# Arguments that a function takes without naming them in its signature.
_CONNECTION = ("connection_user", "connection_unix_socket")
_KEYWORDS = {
    "mysql_database.absent": _CONNECTION,
    "mysql_user.absent": _CONNECTION,
    "service.running": ("unmask",),
    "file.directory": ("mode",),
    "mysql_grants.present": _CONNECTION,
}


class CompileError(Exception):
    """What Salt says to states that it would not run."""


def options(folder: Path, **more: Any) -> Data:
    """The configuration of a minion that takes its states from this repository.

    Args:
        folder: where Salt keeps what it caches; ``more_states`` in it is a second file root.
        more: what differs.
    """
    # Salt's modules know one configuration a process, the last that was loaded: so all minions here
    # have the same, with one id.
    found: Data = salt.config.minion_config(None, minion_id=_ID)
    found.update(
        file_client="local",
        file_roots={"base": [str(STATES), str(folder / "more_states")]},
        module_dirs=[str(REPOSITORY / "_modules")],
        states_dirs=[str(REPOSITORY / "_states")],
        root_dir=str(folder),
        cachedir=str(folder / "cache"),
        extension_modules=str(folder / "extension_modules"),
        pki_dir=str(folder / "pki" / "master"),
        log_level="error",
        grains=dict(_GRAINS),
        saltenv="base",
        **more,
    )
    return found


def pillars(folder: Path, file: Path, releases: Path) -> dict[str, Data]:
    """The pillar of each host of an organization, and of the master, as a master makes it.

    Args:
        folder: for the pillar root and the generated secrets.
        file: the organization file.
        releases: the folder of release files.

    Returns:
        Minion id to pillar; the master's id is ``metis_master``.

    Raises:
        CompileError: the organization file has faults.
    """
    root = folder / "pillar"
    (root / "orgs").mkdir(parents=True)
    (root / "orgs" / file.name).symlink_to(file)
    (root / "releases").symlink_to(releases)
    (folder / "pki" / "master").mkdir(parents=True)
    own = options(folder, pillar_roots={"base": [str(root)]}, pillar={})
    modules = salt.loader.minion_mods(own)
    master = modules["metis_orgs.pillar"]("metis_master")
    organization = master["metis"]["orgs"][file.stem]
    if organization["faults"]:
        raise CompileError(f"{file}: {organization['faults']}")
    hosts = organization["topology"]["hosts"]
    return {host: modules["metis_orgs.pillar"](host) for host in hosts} | {"metis_master": master}


class Host:
    """A minion as far as its states go: they are compiled, and its files are written elsewhere."""

    def __init__(self, folder: Path, pillar: Data) -> None:
        """Load Salt.

        Args:
            folder: where Salt keeps what it caches.
            pillar: the host's pillar.
        """
        self.view: Data = pillar["metis"]
        self._highstate = salt.state.HighState(options(folder), initial_pillar=pillar)
        self._functions = self._highstate.state.functions
        # What `metis_host.reach` would run is what is compiled here.
        self._functions["state.sls"] = lambda mods, **_: mods
        self._wanted = "running"
        # systemd is asked for it on a real host.
        self._functions["metis_unit.wanted"] = lambda _: self._wanted
        self._functions["metis_unit.facts"] = lambda names: dict.fromkeys(names, _RUNS)
        # A real host looks at what is there: here it is all that is claimed.
        self._functions["metis_absence.going"] = self._going
        self._functions["metis_absence.shared"] = self._shared

    @property
    def roles(self) -> list[str]:
        """The roles of its view."""
        return list(self.view["roles"])

    def claims(self) -> list[Data]:
        """What the organization makes on the host."""
        found: list[Data] = self._functions["metis_claims.of"](self.view)
        return found

    def _going(self, role: str, view: Data, leaving: Data) -> Data:
        own = [c for c in self.claims() if {one.split("@")[0] for one in c["for"]} == {role}]
        named = {kind: [c["name"] for c in own if c["kind"] == kind] for kind in _KINDS}
        instances = view["roles"].get(role, {"instances": []})["instances"]
        was = {"enabled": True, "active": True}
        found: Data = {f"{kind}s": named[kind] for kind in _KINDS}
        found |= {"paths": named["tree"], "services": dict.fromkeys(named["service"], was)}
        found["links"] = [{"name": link, "target": "/etc/link"} for link in named["link"]]
        found["registered"] = [i["service"]["id"] for i in instances if i["service"]]
        return found

    def _shared(self, view: Data, leaving: Data) -> Data:
        mixed = [c for c in self.claims() if len({one.split("@")[0] for one in c["for"]}) > 1]
        return {
            "paths": [claim["name"] for claim in mixed if claim["kind"] == "tree"],
            "packages": [claim["name"] for claim in self.claims() if claim["kind"] == "package"],
            "owners": [{"name": "/srv/empty", "owner": [33, 33, "0755"]}],
        }

    def reached(self, to: str) -> list[Data]:
        """The states by which a verb brings all roles of the host to a state."""
        return self.compile(self._functions["metis_host.reach"](to, {_ID: self.roles}))

    def highstate(self, wanted: str) -> list[Data]:
        """The host's highstate.

        Args:
            wanted: ``running``, or ``stopped`` after `metis.stop`.
        """
        self._wanted = wanted
        try:
            return self.compile(None)
        finally:
            self._wanted = "running"

    def compile(self, names: Iterable[str] | None) -> list[Data]:
        """Compile SLS files to states in the order in which they run.

        Args:
            names: the files as in `state.sls`; the top file's where None.

        Raises:
            CompileError: something does not render, or is not what Salt can run.
        """
        highstate = self._highstate
        highstate.building_highstate = salt.state.HashableOrderedDict()
        logging.disable(logging.CRITICAL)  # what Salt logs is what it returns
        highstate.push_active()
        try:
            errors = []
            if names is None:
                top = highstate.get_top()
                errors += highstate.verify_tops(top)
                matches = highstate.top_matches(top)
            else:
                matches = {"base": list(names)}
            high, found = highstate.render_highstate(matches)
            errors += found
            high, found = highstate.state.reconcile_extend(high)
            errors += found + highstate.state.verify_high(high)
            if not errors:
                high, errors = highstate.state.requisite_in(high)
            if not errors:
                chunks, errors = highstate.state.compile_high_data(high)
        finally:
            highstate.pop_active()
            logging.disable(logging.NOTSET)
        if errors:
            raise CompileError("\n".join(map(str, errors)))
        return list(chunks)

    def faults(self, chunk: Data) -> list[str]:
        """What is wrong with one state: Salt itself finds this when it runs it, or never.

        Args:
            chunk: as `compile` returns it.
        """
        state = self._highstate.state
        called = f"{chunk['state']}.{chunk['fun']}"
        found: list[str] = state.verify_data(dict(chunk))
        if found:
            return found
        known = [
            *salt.utils.args.get_function_argspec(state.states[called]).args,
            *_KEYWORDS.get(called, ()),
        ]
        internal = salt.state.STATE_INTERNAL_KEYWORDS
        unknown = [key for key in chunk if key not in internal and key not in known]
        if unknown:
            found.append(f"{called} takes no {', '.join(unknown)}")
        if called in _OWNED:
            found += [f"{called} has no {key}" for key in ("user", "group") if not chunk.get(key)]
            found += [f"{called} has no mode"] if "mode" not in chunk else []
        mode = chunk.get("mode", "0644")
        if not isinstance(mode, str) or not re.fullmatch("0[0-7]{3}", mode):
            found.append(f"{called} has the mode {mode!r}, which is not four quoted octal digits")
        return found

    def write(self, chunk: Data, below: Path) -> Path:
        """Have Salt write a file that a state describes, in another place.

        Args:
            chunk: a `file.managed` or `file.serialize`.
            below: the folder that takes the place of ``/``.

        Returns:
            The file.

        Raises:
            CompileError: it cannot be written.
        """
        ours = _below(chunk, below)
        result = self._highstate.state.call(ours)
        if result["result"] is not True:
            raise CompileError(f"{chunk['__id__']}: {result['comment']}")
        return Path(ours["name"])

    def foretold(self, chunk: Data, below: Path) -> Data:
        """What a dry run would change of a file that was written in another place.

        Args:
            chunk: as for `write`.
            below: as for `write`.
        """
        with self._dry() as state:
            changes: Data = state.call(_below(chunk, below))["changes"]
        return changes

    def dry_run(self, names: Iterable[str]) -> dict[str, Data]:
        """Run SLS files with ``test=True``: ID to the changes that are foretold.

        Args:
            names: the files, as for `compile`.
        """
        chunks = self.compile(names)
        with self._dry() as state:
            told = state.call_chunks(chunks)
        return {found["__id__"]: found["changes"] for found in told.values()}

    @contextmanager
    def _dry(self) -> Iterator[salt.state.State]:
        state = self._highstate.state
        # As Salt does it for a `prereq`.
        state.states.opts["test"] = True
        try:
            yield state
        finally:
            state.states.opts["test"] = False


def _below(chunk: Data, below: Path) -> Data:
    """A state of a file, for another place and as whoever runs the tests."""
    ours = {key: value for key, value in chunk.items() if key not in ("user", "group")}
    return ours | {"name": str(below / chunk["name"].lstrip("/")), "makedirs": True}
