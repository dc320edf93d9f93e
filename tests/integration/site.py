"""A real master and real minions on loopback, and the operator's commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import salt.payload

REPOSITORY = Path(__file__).resolve().parents[2]
RELEASES = REPOSITORY / "tests/render/releases"
TIMEOUT = 120
_MAIN = {"salt": "salt_main", "salt-run": "salt_run"}

# Two minions that run, one whose key is accepted and that does not run, and one that the master
# has never heard of. Those that run have no instance that would talk to another host: nothing is
# at these addresses.
ORGANIZATION = """\
metis:
  release: sandbox
  data_center: {address: 192.0.2.9, port: 9090}
  hosts:
    one: {address: 192.0.2.1, roles: [consul]}
    two: {address: 192.0.2.2, roles: [ice_via]}
    gone: {address: 192.0.2.3, roles: [consul, carrier, admin, data, compute]}
    stranger: {address: 192.0.2.4, roles: [consul]}
  carrier: {external_address: 203.0.113.1}
  ice_via: {external_address: 203.0.113.2}
"""

# systemctl as metis_unit calls it, on a host where systemd knows a few units of ours or none. It
# looks, and refuses to do anything: these minions run on the very machine of the tests.
SYSTEMCTL = """\
#!/bin/sh
echo "$*" >> {calls}
case $1 in
  --version) printf 'systemd 252 (252)\\n+PAM\\n'; exit 0 ;;
  show) shift ;;
  *) echo "this machine is not to be changed: systemctl $*" >&2; exit 1 ;;
esac
for unit in "$@"; do
  case $unit in -*) continue ;; esac
  load=not-found active=inactive sub=dead pid=0
  if grep --quiet --line-regexp "$unit" {running}; then
    load=loaded active=active sub=running pid=$$
  fi
  printf '%s\\n' "Id=$unit" "LoadState=$load" "ActiveState=$active" "SubState=$sub" \\
    UnitFileState= NeedDaemonReload=no "MainPID=$pid" NRestarts=0 Result=success \\
    ExecMainStatus=0 ExecMainStartTimestamp= ''
done
"""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that the operator sees."""
        return self.out + self.err

    def clean(self) -> Done:
        """Itself, when no program's own words of trouble came to the operator.

        Raises:
            AssertionError: they did.
        """
        for word in ("Traceback", "Exception", "unclosed", "[ERROR", "[WARNING", "Error:"):
            assert word not in self.text, self.text
        return self


class Running:
    """A command that runs beside others."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            words,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def done(self) -> Done:
        """Wait until it has ended."""
        try:
            out, err = self._process.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            raise
        return Done(self._process.returncode, out, err).clean()

    def end(self) -> None:
        """End it where nobody has waited for it."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


class Site:
    """The master's side of it all."""

    def __init__(self, folder: Path, configuration: Path, master: Path) -> None:
        """Write what is no daemon's.

        Args:
            folder: for the operator's pillar root and the stand-in for systemctl.
            configuration: the master's configuration folder.
            master: the folder of its keys and its cache.
        """
        self._configuration = configuration
        self.master_cache = master / "cache"
        self.secrets = master / "pki/metis"
        # Minion id to the folder of the modules that the master sent.
        self.modules: dict[str, Path] = {}
        self._begun: dict[str, Running] = {}
        self.pillar_root = folder / "pillar"
        self.programs = folder / "bin"
        self.running_units = folder / "running"
        self.systemctl_calls = folder / "calls"
        (self.pillar_root / "orgs").mkdir(parents=True)
        (self.pillar_root / "releases").symlink_to(RELEASES)
        self.organization("small", ORGANIZATION)
        self.programs.mkdir()
        self.running_units.touch()
        self.systemctl_calls.touch()
        places = {"calls": self.systemctl_calls, "running": self.running_units}
        (self.programs / "systemctl").write_text(SYSTEMCTL.format(**places), encoding="utf-8")
        (self.programs / "systemctl").chmod(0o755)

    def organization(self, name: str, text: str) -> Path:
        """Write an organization file."""
        file = self.pillar_root / "orgs" / f"{name}.sls"
        file.write_text(text, encoding="utf-8")
        return file

    def begin(self, program: str, *words: str) -> Running:
        """Start ``salt`` or ``salt-run`` as an operator does on the master."""
        # Not by its script: these tests may run in an environment over Salt's own.
        code = f"from salt.scripts import {_MAIN[program]} as main; main()"
        command = [sys.executable, "-c", code, f"--config-dir={self._configuration}", *words]
        return Running(command, dict(os.environ))

    def begin_slow(self) -> None:
        """Start what takes long, as a silent host is asked again before it is called that.

        The minions are new: they have none of our modules.
        """
        self._begun = {
            "deploy": self.begin("salt-run", *_verb("deploy", {"org": "small"})),
            "status": self.begin("salt-run", "metis.status", "org=small"),
            "json": self.begin("salt-run", "metis.status", "org=small", "--out=json"),
        }

    def end_slow(self) -> None:
        """End what `begin_slow` started, as when only some of the tests run."""
        for running in self._begun.values():
            running.end()

    def slow(self, name: str) -> Done:
        """How one of those ended: ``deploy``, ``status`` or ``json``, which is the status too."""
        return self._ended[name]

    @cached_property
    def _ended(self) -> dict[str, Done]:
        return {name: running.done() for name, running in self._begun.items()}

    def asked(self) -> set[str]:
        """Every host that a job was for, as the master's cache of jobs has it."""
        files = self.master_cache.glob("jobs/*/*/.load.p")
        jobs = [salt.payload.loads(file.read_bytes()) for file in files]
        return {host for job in jobs if isinstance(job["tgt"], list) for host in job["tgt"]}

    def salt(self, host: str, *words: str) -> Any:
        """What a function on a minion returns."""
        done = self.begin("salt", host, *words, "--out=json", "--static").done()
        return json.loads(done.out)[host]

    def salt_run(self, *words: str) -> Done:
        """Run a runner to its end."""
        return self.begin("salt-run", *words).done()

    def verb(self, name: str, pillar: dict[str, str], test: bool = False) -> Done:
        """Run a verb to its end.

        Args:
            name: of its SLS.
            pillar: what the operator gives.
            test: whether to change nothing.
        """
        return self.salt_run(*_verb(name, pillar, test))


def _verb(name: str, pillar: dict[str, str], test: bool = False) -> list[str]:
    words = ["state.orchestrate", f"metis.{name}", f"pillar={json.dumps(pillar)}"]
    return words + ["test=True"] * test
