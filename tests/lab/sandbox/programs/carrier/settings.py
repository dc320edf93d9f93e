"""Carrier's flags and its configuration file.

As in the real one (urfave/cli with altsrc): the file is a flat YAML mapping of flag names, unknown
keys are silently ignored, a value of the wrong type is an error, a flag on the command line wins.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml

FLAGS: dict[str, str | int | bool | list[str]] = {
    "datadir": os.path.expanduser("~/.carrier"),
    "verbosity": "info",
    "debug": False,
    "pprof": False,
    "pprof-port": 6060,
    "pprof-addr": "127.0.0.1",
    "disable-grpc-gateway": False,
    "rpc-host": "127.0.0.1",
    "rpc-port": 4000,
    "grpc-gateway-host": "127.0.0.1",
    "grpc-gateway-port": 3500,
    "enable-debug-rpc-endpoints": False,
    "no-discovery": False,
    "bootstrap-node": [],
    "peer": [],
    "p2p-udp-port": 12000,
    "p2p-tcp-port": 13000,
    "p2p-local-ip": "",
    "p2p-host-ip": "",
    "p2p-priv-key": "",
    "p2p-max-peers": 45,
    "discovery-server-ip": "",
    "discovery-server-port": 0,
    "discovery-service-id": "",
    "discovery-service-name": "carrierService",
    "discovery-service-tags": ["carrier"],
    "discovery-service-health-check-interval": 3000,
    "discovery-service-health-check-deregister": 10000,
}
VERBOSITIES = {
    "trace": 5,
    "debug": 10,
    "info": 20,
    "warn": 30,
    "error": 40,
    "fatal": 50,
    "panic": 50,
}
_GO_TYPES = {str: "string", int: "int", bool: "bool", list: "[]interface {}"}

Settings = dict[str, Any]


class ConfigError(Exception):
    """The configuration cannot be used. The real program logs this and exits 0."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _parser(version: str) -> argparse.ArgumentParser:
    parser = _Parser(prog="carrier", allow_abbrev=False)
    parser.add_argument("--version", "-v", action="version", version=f"carrier version {version}")
    parser.add_argument("--config-file")
    for name, default in FLAGS.items():
        if isinstance(default, bool):
            parser.add_argument(f"--{name}", action="store_true", default=argparse.SUPPRESS)
        elif isinstance(default, list):
            parser.add_argument(f"--{name}", action="append", default=argparse.SUPPRESS)
        else:
            parser.add_argument(f"--{name}", type=type(default), default=argparse.SUPPRESS)
    return parser


def _from_file(path: str) -> Settings:
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot load {path}: {error}") from error
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"cannot load {path}: not a mapping of flag names")
    settings = {name: loaded[name] for name in FLAGS if name in loaded}
    for name, value in settings.items():
        expected = type(FLAGS[name])
        if type(value) is not expected:
            actual = "" if value is None else _GO_TYPES.get(type(value), type(value).__name__)
            raise ConfigError(
                f"Mismatched type for flag '{name}'. "
                f"Expected '{_GO_TYPES[expected]}' but actual is '{actual}'"
            )
    return settings


def load(arguments: Sequence[str], version: str) -> Settings:
    """Read flags and configuration file.

    Args:
        arguments: the command line without the program's name.
        version: what ``--version`` prints.

    Returns:
        Every flag with its value.

    Raises:
        ConfigError: the command line or the file cannot be used.
    """
    given = vars(_parser(version).parse_args(arguments))
    path = given.pop("config_file")
    settings: Settings = {**FLAGS, **(_from_file(path) if path else {})}
    settings.update({name.replace("_", "-"): value for name, value in given.items()})
    if settings["verbosity"] not in VERBOSITIES:
        raise ConfigError(f"not a valid logrus Level: {settings['verbosity']!r}")
    return settings
