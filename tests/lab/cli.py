"""What the commands of `./lab` do."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.lab import arguments, cache, machine, network, record, systems, teardown, venv
from tests.lab.errors import LabError
from tests.lab.host import ENVIRONMENT, RUN, Host
from tests.lab.nodes import MASTER
from tests.lab.progress import Progress
from tests.lab.table import table

_TEST_LAB = "test"
# The folders of tests that have hosts.
_ON_HOSTS = ("fleet", "faults", "lab")
_NAME = re.compile(r"[a-z][a-z0-9]{0,11}")


def main(argv: Sequence[str]) -> int:
    """Run one command.

    Args:
        argv: the command line without the program's name.

    Returns:
        The exit code.
    """
    words = arguments.parse(argv)
    try:
        if os.geteuid() != 0:
            machine.require()
        name = getattr(words, "name", _TEST_LAB)
        if not _NAME.fullmatch(name):
            raise LabError(f"a lab's name is up to 12 of a-z and 0-9, not {name!r}")
        return _COMMANDS[words.command](words)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        option = _option(getattr(words, "name", _TEST_LAB))
        print(f"lab: interrupted; ./lab down{option} removes what was begun", file=sys.stderr)
        return 130


def _with_tools(progress: Progress) -> None:
    """Have the tools that the lab takes, and go on in Debian's Python: this may not return."""
    machine.require()
    machine.install(machine.TOOLS, progress)
    if sys.prefix != machine.PREFIX:
        os.execv(machine.PYTHON, [machine.PYTHON, str(venv.REPOSITORY / "lab"), *sys.argv[1:]])


def _up(words: argparse.Namespace) -> int:
    progress = Progress()
    _with_tools(progress)
    from tests.lab.fleet import Lab

    Lab(words.name, *words.org, systems=dict(words.system), progress=progress).up()
    return 0


def _demo(words: argparse.Namespace) -> int:
    progress = Progress()
    _with_tools(progress)
    from tests.lab.fleet import Lab

    lab = Lab(words.name, *words.org, systems=dict(words.system), progress=progress)
    lab.up()
    orgs = [file.stem for file in lab.org_files]
    deploy = ["salt-run", "state.orchestrate", "metis.deploy"]
    for org in orgs:
        with progress.step(f"deploying {org}"):
            code = _call(lab.master, [*deploy, f'pillar={{"org": "{org}"}}'])
        if code:
            return code
    codes = []
    for org in orgs:
        with progress.step(f"status of {org}"):
            codes.append(_call(lab.master, ["salt-run", "metis.status", f"org={org}"]))
    print(_LOOK_AROUND.format(option=_option(words.name), host=next(iter(lab.hosts))))
    return max(codes)


_LOOK_AROUND = """
Look around:
  ./lab status{option}
  ./lab shell{option} {host}
  ./lab salt{option} '*' state.highstate
  ./lab down{option}
"""


def _option(name: str) -> str:
    return "" if name == "demo" else f" --name {name}"


def _down(words: argparse.Namespace) -> int:
    with teardown.exclusive(words.name):
        teardown.clear(words.name)
    print(f"lab {words.name} is down")
    return 0


def _status(words: argparse.Namespace) -> int:
    known = record.require(words.name)
    rows = [_row(host) for host in known.hosts]
    print(table(("host", "address", "roles", "pid", "system", "salt"), rows))
    return 0


def _row(host: Host) -> tuple[str, ...]:
    daemon = "salt-master" if host.name == MASTER.name else "salt-minion"
    leader = host.leader()
    if leader is None:
        return (host.name, host.address, " ".join(host.roles), "-", "off", "-")
    system = host.run(["systemctl", "is-system-running"], check=False).stdout.strip()
    salt = host.run(["systemctl", "is-active", daemon], check=False).stdout.strip()
    return (host.name, host.address, " ".join(host.roles), str(leader), system, salt)


def _shell(words: argparse.Namespace) -> int:
    return _call(record.require(words.name).host(words.host), words.words or ["bash", "--login"])


def _salt(words: argparse.Namespace) -> int:
    return _call(record.require(words.name).master, [words.command, *words.words])


def _call(host: Host, argv: Sequence[str]) -> int:
    """Run a command on a host with this terminal as its own."""
    environment = {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb")}
    return _foreground(host.enter(argv), environment)


def _foreground(argv: Sequence[str], environment: dict[str, str]) -> int:
    # An interrupt from the keyboard is the command's: it decides, and we report how it ended.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        code = subprocess.call(argv, env=environment, preexec_fn=_default_interrupt)
    finally:
        signal.signal(signal.SIGINT, handler)
    return code if code >= 0 else 128 - code


def _default_interrupt() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _test(words: argparse.Namespace) -> int:
    progress = Progress()
    _with_tools(progress)
    from tests.lab import images

    with cache.locked(RUN / "tests.lock", "another ./lab test is running"):
        machine.install(["shellcheck"], progress)
        # In the lab's network, where the tests run, nothing can be fetched any more.
        images.prepare(progress, systems.SYSTEMS.values(), venv.tests)
        environment = venv.tests(progress)
        keep = os.environ.get("METIS_LAB_KEEP") == "1"
        _make_room(keep, progress)
        try:
            python = str(environment / "bin/python3")
            pytest = network.enter(_TEST_LAB, python, "-m", "pytest")
            os.chdir(venv.REPOSITORY)
            if words.words:
                return _foreground([*pytest, *words.words], dict(os.environ))
            return _everything(pytest, progress)
        finally:
            if not keep:
                with teardown.exclusive(_TEST_LAB):
                    teardown.clear(_TEST_LAB)


def _everything(pytest: Sequence[str], progress: Progress) -> int:
    """Run every test: those on hosts, which mostly wait for them, and the others in between."""
    folders = [file.parent.name for file in sorted(Path("tests").glob("*/__init__.py"))]
    others = [f"tests/{name}" for name in folders if name not in _ON_HOSTS]
    behind = ["nice", "--adjustment=19", *pytest, "-p", "no:cacheprovider", *others]
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen(
            behind, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            on_hosts = [f"tests/{name}" for name in _ON_HOSTS]
            code = _foreground([*pytest, *on_hosts], dict(os.environ))
            if beside.poll() is None:
                with progress.step(f"waiting for {' '.join(others)}"):
                    beside.wait()
        finally:
            if beside.poll() is None:
                beside.terminate()
                beside.wait()
            print(f"{' '.join(others)}:", flush=True)
            said.seek(0)
            shutil.copyfileobj(said, sys.stdout.buffer)
            sys.stdout.flush()
    return code or abs(beside.returncode)


def _make_room(keep: bool, progress: Progress) -> None:
    """The network for the tests, without the hosts of a run that was cut off, whose repository may
    be another one.
    """
    with teardown.exclusive(_TEST_LAB):
        if not keep and record.load(_TEST_LAB):
            with progress.step("removing what an earlier ./lab test left"):
                teardown.clear(_TEST_LAB)
        network.make(_TEST_LAB)


_COMMANDS = {
    "demo": _demo,
    "down": _down,
    "salt": _salt,
    "salt-run": _salt,
    "shell": _shell,
    "status": _status,
    "test": _test,
    "up": _up,
}
