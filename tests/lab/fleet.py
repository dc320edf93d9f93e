"""A lab: a master and the hosts of its organizations, brought up and taken down."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from tests.lab import files, images, keys, mounts, network, record, teardown, topology
from tests.lab.errors import LabError
from tests.lab.host import STATE, Host
from tests.lab.images import Images
from tests.lab.nodes import MASTER, Node
from tests.lab.processes import run, tail
from tests.lab.progress import Progress
from tests.lab.systems import DEFAULT, SYSTEMS, System
from tests.lab.venv import REPOSITORY

DEMO = REPOSITORY / "pillar/orgs/demo.sls"
_AWAIT = "/srv/metis/tests/lab/inside/await_minions.py"
_MINIONS_TIMEOUT = 60
_PKI = "etc/salt/pki"


class Lab:
    """A fleet of hosts on this machine, with its own network."""

    def __init__(
        self,
        name: str,
        *org_files: Path,
        systems: Mapping[str, System] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """
        Args:
            name: the lab's name; labs of different names do not know of each other.
            org_files: the organization files whose hosts it has; the demo's when none is given.
            systems: host to its system, where that is not the default one.
            progress: where to say what happens; standard error when None.
        """
        self.name = name
        self.org_files = org_files or (DEMO,)
        self._systems = dict(systems or {})
        self._progress = progress or Progress()

    @property
    def master(self) -> Host:
        """The host of the Salt master."""
        return record.require(self.name).master

    @property
    def hosts(self) -> dict[str, Host]:
        """The hosts of all organizations by name, without the master."""
        hosts = record.require(self.name).hosts
        return {host.name: host for host in hosts if host.name != MASTER.name}

    def host(self, name: str) -> Host:
        """The host of this name, the master's included.

        Raises:
            LabError: there is none, or the lab is not up.
        """
        return record.require(self.name).host(name)

    def salt(self, argv: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run `salt` on the master; takes what Host.run takes."""
        return self.master.run(["salt", *argv], **options)  # type: ignore[arg-type]

    def salt_run(self, argv: Sequence[str], **options: object) -> subprocess.CompletedProcess[str]:
        """Run `salt-run` on the master; takes what Host.run takes."""
        return self.master.run(["salt-run", *argv], **options)  # type: ignore[arg-type]

    def await_minions(
        self, names: Iterable[str] | None = None, timeout: int = _MINIONS_TIMEOUT
    ) -> None:
        """Wait until minions take orders from the master.

        Args:
            names: the hosts; all of the lab when None.
            timeout: seconds to wait.

        Raises:
            LabError: some did not come; their names are in it.
        """
        wanted = sorted(self.hosts if names is None else names)
        done = self.master.run(
            ["/opt/salt/bin/python3", _AWAIT, str(timeout), *wanted],
            check=False,
            timeout=timeout + 30,
        )
        if done.returncode != 0:
            raise LabError(
                f"minions that did not connect to the master: {done.stdout.strip()}\n"
                f"{tail(done.stderr)}\n"
                f"look at: ./lab shell --name {self.name} HOST journalctl -u salt-minion"
            )

    def up(self) -> None:
        """Bring the lab up; what stands already stays, hosts new in the files are added.

        Raises:
            LabError: something failed; what was begun is left for a look and for `down`.
        """
        organizations = topology.read(self.org_files)
        names = {node.name for organization in organizations for node in organization.nodes}
        if strange := sorted(set(self._systems) - names):
            raise LabError(f"no organization file has the host {', '.join(strange)}")
        built = images.prepare(self._progress, self._systems.values())
        with teardown.exclusive(self.name):
            known = record.load(self.name)
            if known is not None and not known.complete:
                with self._progress.step("removing what an interrupted command left"):
                    teardown.clear(self.name)
                known = None
            given = [str(organization.file) for organization in organizations]
            if known is not None and not set(known.files) <= set(given):
                raise LabError(
                    f"lab {self.name} is up with the hosts of {', '.join(known.files)}; "
                    f"name all of these, or take it down first: ./lab down --name {self.name}"
                )
            self._converge(organizations, built, known)

    def down(self) -> None:
        """Take the lab down and leave nothing of it.

        Called from within the lab's network, it leaves that namespace to its caller.
        """
        with teardown.exclusive(self.name):
            teardown.clear(self.name)

    def _converge(
        self,
        organizations: Sequence[topology.Organization],
        built: Images,
        known: record.Record | None,
    ) -> None:
        present = {host.name: host for host in known.hosts} if known else {}
        wanted = [MASTER, *(node for org in organizations for node in org.nodes)]
        fresh = [self._host(node, built) for node in wanted if node.name not in present]
        hosts = (*present.values(), *fresh)
        idle = [host for host in hosts if host.leader() is None]
        org_files = [org.file for org in organizations]
        begun = record.Record(tuple(map(str, org_files)), False, hosts)
        if idle:
            record.save(self.name, begun)
            network.make(self.name)
            if fresh:
                with self._progress.step(f"making {_names(fresh)}"):
                    self._make(hosts, fresh, built)
            booting = self._progress.step(f"booting {_names(idle)}")
            with booting, ThreadPoolExecutor(len(idle)) as pool:
                list(pool.map(Host.start, idle))
        master = next(host for host in hosts if host.name == MASTER.name)
        files.share(master, org_files, sorted(built.sandbox.glob("*.yaml")))
        if idle:
            salted = {h.name for h in hosts if not SYSTEMS[h.system].bare} - {MASTER.name}
            minions = salted & {host.name for host in idle}
            with self._progress.step("waiting for the minions"):
                self.await_minions(minions or salted)
        record.save(self.name, replace(begun, complete=True))
        if idle:
            return
        self._progress.say(f"lab {self.name} is up")
        if any(present[node.name] != self._host(node, built) for node in wanted):
            self._progress.say("its hosts are older than what is built now: ./lab down, ./lab up")

    def _host(self, node: Node, built: Images) -> Host:
        system = self._systems.get(node.name, DEFAULT)
        binds = [] if system.bare else [(str(built.salt), "/opt/salt")]
        if node == MASTER:
            binds += [(str(REPOSITORY), "/srv/metis"), (str(built.sandbox), files.SANDBOX)]
        return Host(self.name, node.name, node.address, node.roles, system.name, tuple(binds))

    def _make(self, hosts: Sequence[Host], fresh: Sequence[Host], built: Images) -> None:
        top = STATE / self.name
        if not mounts.mounted_below(top):
            top.mkdir(parents=True, exist_ok=True)
            run(
                ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", str(top)],
                f"mounting a tmpfs at {top}",
                timeout=30,
            )
        for host in fresh:
            folder = top / host.name
            layers = built.layers[host.system]
            mounts.overlay(layers, folder / "upper", folder / "work", host.root)
        with ThreadPoolExecutor() as pool:
            pairs = list(pool.map(lambda _: keys.pair(), fresh))
        master = top / MASTER.name / "root"
        for host, (private, public) in zip(fresh, pairs, strict=True):
            files.write_host(host, private, public)
            if host.name != MASTER.name and not SYSTEMS[host.system].bare:
                accepted = master / _PKI / "master/minions"
                accepted.mkdir(parents=True, exist_ok=True)
                (accepted / host.name).write_text(public, encoding="ascii")
        names = files.hosts(hosts)
        for host in hosts:
            (host.root / "etc/hosts").write_text(names, encoding="utf-8")


def _names(hosts: Sequence[Host]) -> str:
    return ", ".join(host.name for host in hosts)
