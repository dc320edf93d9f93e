"""
How ``metis.bootstrap`` gets onto hosts: an operator's ssh file, or what was typed on the terminal.

The file is YAML, of mode 0600. What stands at the top counts for every host, and what stands at a
host in ``hosts`` for that host, and wins. Nothing of it is kept anywhere.

Lives on the master only: it needs pydantic.
"""

import getpass
import ipaddress
import os
import stat
from pathlib import Path
from typing import Any

import salt.exceptions
import salt.utils.yaml

try:
    import pydantic

    HAS_PYDANTIC = True
except ImportError:
    HAS_PYDANTIC = False

__virtualname__ = "metis_sshfile"

_TERMINAL = "/dev/tty"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def __virtual__() -> str | tuple[bool, str]:
    if not HAS_PYDANTIC:
        return False, "metis_sshfile runs on the master, whose Python needs pydantic"
    return __virtualname__


if HAS_PYDANTIC:

    class _Access(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="forbid", strict=True)

        user: str | None = None
        password: str | None = None
        sudo_password: str | None = None
        key: str | None = None
        key_passphrase: str | None = None
        port: int = pydantic.Field(22, ge=1, le=65535)
        accept_new_host_keys: bool = False

    class _Host(_Access):
        address: str | None = None
        fingerprint: str | None = pydantic.Field(None, pattern="^SHA256:[A-Za-z0-9+/]{43}$")

    class _File(_Access):
        master: str | None = None
        package_source: str | None = None
        hosts: dict[str, _Host | None] = {}


_WORDS = {
    "extra_forbidden": "is no setting of this file; known are {known}",
    "string_type": "is to be text: write it in quotes",
    "string_pattern_mismatch": "is to be SHA256: and 43 characters, as ssh-keygen -l shows it",
    "int_type": "is to be a number",
    "greater_than_equal": "is to be a port, 1 to 65535",
    "less_than_equal": "is to be a port, 1 to 65535",
    "bool_type": "is to be true or false",
}


def _faults(error: Any) -> list[str]:
    found = []
    # Without what stands there: it may be a password.
    for item in error.errors(include_url=False, include_input=False):
        place = ":".join(str(part) for part in item["loc"]) or "the file"
        model = _Host if item["loc"][:1] == ("hosts",) else _File
        known = ", ".join(model.model_fields)
        words = _WORDS.get(item["type"], item["msg"]).format(known=known)
        found.append(f"{place} {words}")
    return found


def _private(path: Path, what: str) -> list[str]:
    """What keeps a file from being one that only its owner reads."""
    try:
        if not path.is_absolute():
            return [f"{what} {path} is to be an absolute path"]
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as err:
        mine = getpass.getuser()
        return [f"{what} {path} cannot be read: {err.strerror}; its owner is to be {mine}"]
    if not stat.S_ISREG(mode):
        return [f"{what} {path} is no file"]
    if mode & _OTHERS:
        return [f"{what} {path} is readable by others: chmod 0600 {path}"]
    return []


def read(path: str, known: list[str]) -> dict[str, Any]:
    """
    Read an ssh file, with all its faults.

    path
        The file, an absolute path.
    known
        The organization's hosts.

    Returns ``{"faults": [...], "common": {...}, "hosts": {...}}``: texts without any value of the
    file; what counts for every host, and of each host what differs. With faults, the latter two are
    empty.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_sshfile.read /root/acme-ssh.yaml '[acme1, acme2]'
    """
    nothing: dict[str, Any] = {"common": {}, "hosts": {}}
    if faults := _private(Path(path), "the ssh file"):
        return {"faults": faults, **nothing}
    try:
        given = salt.utils.yaml.safe_load(Path(path).read_text("utf-8"))
    except (salt.utils.yaml.YAMLError, UnicodeDecodeError) as err:
        # Of the error, only the place: what stands there may be a password.
        mark = getattr(err, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        return {"faults": [f"the ssh file {path} is no YAML{line}"], **nothing}
    try:
        file = _File.model_validate(given)
    except pydantic.ValidationError as err:
        return {"faults": [f"{path}: {fault}" for fault in _faults(err)], **nothing}
    unknown = [host for host in file.hosts if host not in known]
    faults = [
        f"{path}: hosts:{host} is no host of the organization; it has {', '.join(known)}"
        for host in unknown
    ]
    for place, address in _addresses(file):
        try:
            ipaddress.ip_address(address)
        except ValueError:
            faults.append(f"{path}: {place} is to be an address, such as 10.0.0.10")
    if file.package_source and not Path(file.package_source).is_file():
        faults.append(f"{path}: package_source {file.package_source} is no file")
    if faults:
        return {"faults": faults, **nothing}
    common = file.model_dump(exclude={"hosts"})
    hosts = {name: host.model_dump(exclude_unset=True) for name, host in file.hosts.items() if host}
    return {"faults": [], "common": common, "hosts": hosts}


def _addresses(file: Any) -> list[tuple[str, str]]:
    hosts = [(f"hosts:{n}:address", h.address) for n, h in file.hosts.items() if h and h.address]
    return hosts + ([("master", file.master)] if file.master else [])


def ask(hosts: list[str]) -> dict[str, Any]:
    """
    Ask on the terminal how to get onto hosts; what is typed is not shown.

    hosts
        Which.

    Returns what ``read`` returns.

    Raises ``SaltInvocationError`` where there is no terminal.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_sshfile.ask '[acme1]'
    """
    try:
        with open(_TERMINAL, "w", encoding="utf-8") as shown:
            shown.write(f"ssh access to {', '.join(hosts)}\n  user: ")
        with open(_TERMINAL, encoding="utf-8") as typed:
            user = typed.readline().strip()
    except OSError as err:
        raise salt.exceptions.SaltInvocationError(
            "there is no terminal to ask on for ssh access: name a file, "
            'pillar=\'{"ssh": "/root/acme-ssh.yaml"}\''
        ) from err
    common: dict[str, Any] = _File(user=user).model_dump(exclude={"hosts"})
    common["password"] = getpass.getpass("  password: ") or None
    if user != "root":
        common["sudo_password"] = getpass.getpass("  sudo password (empty: the same): ") or None
    return {"faults": [], "common": common, "hosts": {}}


def access(
    found: dict[str, Any], addresses: dict[str, str], place: str
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """
    How to get onto hosts.

    found
        As ``read`` or ``ask`` returns it.
    addresses
        Host to the address that the organization's file gives it.
    place
        Where that stands, for the operator.

    Returns faults, and host to ``address``, ``port``, ``user``, ``password``, ``sudo_password``,
    ``key``, ``key_passphrase``, ``accept_new_host_keys`` and ``fingerprint``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_sshfile.access '{common: {}, hosts: {}}' '{}' acme-ssh.yaml
    """
    faults: list[str] = []
    hosts: dict[str, dict[str, Any]] = {}
    for host, address in addresses.items():
        own = found["hosts"].get(host, {})
        entry = {"address": address, "fingerprint": None} | found["common"] | own
        entry["address"] = entry["address"] or address
        entry["sudo_password"] = entry["sudo_password"] or entry["password"]
        hosts[host] = entry
        if not entry["user"]:
            faults.append(f"{place}: {host} has no `user` to log in as")
        if entry["key"]:
            faults += _private(Path(entry["key"]), f"{place}: {host}: the key")
        elif not entry["password"]:
            faults.append(f"{place}: {host} has neither `password` nor `key`")
    # A common key is at fault for every host.
    return list(dict.fromkeys(faults)), hosts


def may_ask() -> bool:
    """
    Whether there is a terminal.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_sshfile.may_ask
    """
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
