"""The command line of `./lab`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tests.lab.systems import SYSTEMS, System

_DESCRIPTION = """\
A fleet of real hosts on this machine: systemd-nspawn containers with systemd, a network of
their own, a Salt master and a minion on every host of the organization files."""
_EPILOG = """\
first steps:
  ./lab demo                             deploy the demo organization and show its status
  ./lab shell demo1                      look around on a host
  ./lab shell demo1 journalctl -n 20     run one command there
  ./lab salt '*' test.ping               give the minions an order
  ./lab salt-run metis.status org=demo   ask the master
  ./lab down                             leave nothing but the cache
  ./lab test tests/unit                  run some of the tests; all of them without arguments"""


_PASSED_ON = ("salt", "salt-run", "test")


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line; it ends the program where it is wrong or asks for help.

    Args:
        argv: the command line without the program's name.

    Returns:
        `command` and what belongs to it.
    """
    words = list(argv)
    if words and words[0] in _PASSED_ON:
        # argparse would take a first option of theirs, as in `./lab test -k name`, for ours.
        given = words[1] if len(words) > 1 else ""
        start = 3 if given == "--name" else 2 if given.startswith("--name=") else 1
        if words[start : start + 1] not in (["-h"], ["--help"], ["--"]):
            words.insert(start, "--")
    found = _parser().parse_args(words)
    if getattr(found, "words", [])[:1] == ["--"]:
        found.words = found.words[1:]
    return found


def _parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="./lab",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        # Without abbreviations: what is not ours belongs to the program that is called.
        return commands.add_parser(name, help=text, description=text, allow_abbrev=False)

    for name, text in (
        ("demo", "bring the lab up, deploy its organizations and show the status of each"),
        ("up", "boot the hosts, with nothing deployed on them"),
    ):
        made = command(name, text)
        _name(made)
        made.add_argument(
            "--org",
            metavar="FILE",
            type=Path,
            action="append",
            default=[],
            help="an organization file whose hosts are booted; may be given several times "
            "(default: pillar/orgs/demo.sls)",
        )
        made.add_argument(
            "--system",
            metavar="HOST=SYSTEM",
            type=_system,
            action="append",
            default=[],
            help=f"a host's system, where it is not the default one: {', '.join(SYSTEMS)}; may be "
            "given several times",
        )
    _name(command("down", "end the hosts and remove everything of the lab but the cache"))
    _name(command("status", "show the hosts as a table"))
    shell = command("shell", "a shell on a host, or one command there")
    _name(shell)
    shell.add_argument("host", metavar="HOST", help="a host of the lab, or master")
    shell.add_argument("words", metavar="COMMAND", nargs=argparse.REMAINDER, help="what to run")
    for name in ("salt", "salt-run"):
        made = command(name, f"run {name} on the lab's master; every argument is passed on")
        _name(made)
        made.add_argument("words", metavar="ARGUMENT", nargs=argparse.REMAINDER)
    test = command(
        "test",
        "run the linters and the tests in the network of lab test; arguments are pytest's. "
        "METIS_LAB_KEEP=1 leaves that lab up afterwards",
    )
    test.add_argument("words", metavar="ARGUMENT", nargs=argparse.REMAINDER)
    return top


def _system(text: str) -> tuple[str, System]:
    host, _, name = text.partition("=")
    if not host or name not in SYSTEMS:
        known = ", ".join(SYSTEMS)
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST=SYSTEM; systems are {known}")
    return host, SYSTEMS[name]


def _name(made: argparse.ArgumentParser) -> None:
    made.add_argument("--name", default="demo", help="the lab's name (default: %(default)s)")
