"""
An organization file as text, with comments where what they are about stands.

Written line by line: a YAML library that keeps comments needs the comments attached to a tree that
is built by hand, which is longer than the lines are.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import salt.utils.yaml

__virtualname__ = "metis_orgtext"

ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")


class _Page:
    """The lines of a file; each comment is written once."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content
        self.comments: dict[int, str] = dict(content["comments"])

    def lines(self) -> Iterator[str]:
        yield "# Made by `salt-run metis.import_inventory` from an Ansible inventory."
        yield "# docs/pillar.md has every setting; what is not written here has a default."
        yield from self._said(self.content["top"], "")
        yield "metis:"
        yield from self._settings("", "  ")
        yield f"  release: {self.content['release']}"
        yield from self._data_center()
        yield ""
        yield "  hosts:"
        for name, host in self.content["hosts"].items():
            yield from self._host(name, host)
        for role in ROLES:
            if self.content["sections"][role]["settings"]:
                yield ""
                yield from self._said(self.content["sections"][role]["above"], "  ")
                yield f"  {role}:"
                yield from self._settings(role, "    ")
        if self.comments:
            yield ""
            yield "# What else the inventory has in comments, by its lines:"
            for line in list(self.comments):
                yield f"#   {line}: {self._comment(line)}"

    def _comment(self, line: int) -> str:
        text = "".join(char if char.isprintable() else " " for char in self.comments.pop(line))
        # Salt renders the file, and Jinja looks into comments of YAML too.
        return re.sub(r"\{(?=[{%#])", "{ ", text)

    def _said(self, lines: Iterable[int], indent: str) -> Iterator[str]:
        for line in lines:
            if line in self.comments:
                yield f"{indent}# {self._comment(line)}"

    def _data_center(self) -> Iterator[str]:
        settings = self.content["sections"]["data_center"]["settings"]
        if settings:
            held = {key: setting["value"] for key, setting in settings.items()}
            yield f"  data_center: {_mapping(held)}"
        else:
            yield "  # Missing: where carrier reaches the network's data center. The scripts had it"
            yield "  # in group_vars/all.yml and not in the inventory."
            yield "  # data_center: {address: 203.0.113.5, port: 9090}"

    def _host(self, name: str, host: dict[str, Any]) -> Iterator[str]:
        yield from self._said(host["above"], "    ")
        if not any(settings for _, settings in host["roles"]):
            roles = ", ".join(role for role, _ in host["roles"])
            yield f"    {_scalar(name)}: {{address: {host['address']}, roles: [{roles}]}}"
            return
        yield f"    {_scalar(name)}:"
        yield f"      address: {host['address']}"
        yield "      roles:"
        for role, settings in host["roles"]:
            yield f"        - {role}: {_mapping(settings)}" if settings else f"        - {role}"

    def _settings(self, section: str, indent: str) -> Iterator[str]:
        for key, setting in self.content["sections"][section]["settings"].items():
            yield from self._said(setting["above"], indent)
            behind = "".join(self._said(setting["behind"], "  "))
            yield f"{indent}{key}: {_scalar(setting['value'])}{behind}"


def _mapping(settings: dict[str, Any]) -> str:
    return f"{{{', '.join(f'{key}: {_scalar(value)}' for key, value in settings.items())}}}"


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_scalar(item) for item in value)}]"
    if not isinstance(value, str):
        return json.dumps(value)
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9._-]*|[0-9]+(\.[0-9]+){3}", value)
    if plain and salt.utils.yaml.safe_load(value) == value:
        return value
    # Nothing in it that Jinja takes for its own, or YAML does not take.
    return "".join(
        char if char.isprintable() and char != "{" else f"\\U{ord(char):08x}"
        for char in json.dumps(value, ensure_ascii=False)
    )


def page(content: dict[str, Any]) -> str:
    """
    The file.

    content
        ``release``. ``hosts``: name to ``address``, ``roles`` (pairs of a role and its own
        settings) and the comments ``above``. ``sections``: name (``""`` for the top) to the
        comments ``above`` and ``settings``, each with its ``value`` and the comments ``above`` and
        ``behind``. ``top``: the comments at the top. ``comments``: number to text; elsewhere a
        comment is its number.

    Comments that nobody names stand at the end.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_orgtext.page '{...}'
    """
    return "\n".join(line.rstrip() for line in _Page(content).lines()) + "\n"
