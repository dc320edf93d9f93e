"""A fighter's configuration: a YAML file, and four options that win over it."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

Config = dict[str, Any]

_OCTET = r"(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_DOTTED = re.compile(rf"{_OCTET}(\.{_OCTET}){{3}}")


def load(arguments: Sequence[str]) -> Config:
    """Read the command line and the file it names. What is missing shows only where it is used.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The file's mapping, with the options applied.

    Raises:
        OSError: the file cannot be read.
        KeyError: ``bind_ip`` or ``port`` is missing.
        ValueError: ``bind_ip`` is no dotted IPv4 address, or ``port`` is out of range.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("config")
    parser.add_argument("--bind_ip")
    parser.add_argument("--port", type=int)
    parser.add_argument("--schedule_svc")
    parser.add_argument("--use_consul", type=int, choices=(0, 1), default=1)
    options = vars(parser.parse_args(arguments))
    config: Config = yaml.safe_load(Path(options.pop("config")).read_text(encoding="utf-8"))
    config.update({name: value for name, value in options.items() if value is not None})
    if not _DOTTED.fullmatch(str(config["bind_ip"])):
        raise ValueError(f"bind_ip is no IPv4 address: {config['bind_ip']!r}")
    if not 1025 <= int(config["port"]) <= 65535:
        raise ValueError(f"port is not within 1025..65535: {config['port']!r}")
    return config
