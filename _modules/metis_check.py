"""
What a host is and has, as far as it counts before anything is changed; and what is safe to mend.

Judges nothing: that is ``metis_findings``, on the master.
"""

import importlib.util
import os
import re
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psutil
import salt.exceptions
import salt.version

__virtualname__ = "metis_check"

# systemd's own mark of a container, whose clock is the machine's around it.
_CONTAINER = Path("/run/systemd/container")
# apt works in it whenever it reads its sources, also where it finds nothing new.
_LISTS = "/var/lib/apt/lists/partial"
TIMESYNC = "systemd-timesyncd.service"
# Debian's and Ubuntu's services that keep the time.
TIME_SERVICES = (
    TIMESYNC,
    "chrony.service",
    "ntpsec.service",
    "ntp.service",
    "openntpd.service",
)
# Else a unit runs, or systemd is about to start it again.
_DOWN = ("absent", "inactive", "failed")
APT_TIMEOUT = 120
# Of one package; apt itself is not asked to wait longer for a source.
_FETCH_TIMEOUT = 10


def facts(asked: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """
    What a host is and has.

    asked
        Host to what counts there, as ``metis_findings.asked`` returns it. One job serves all hosts.

    Returns ``system`` (``os``, ``release``, ``architecture``, ``container``), ``cpus``, ``avx2``,
    ``memory`` and ``disks`` (bytes), ``own_address``, ``ports`` (as ``metis_unit.holders`` returns
    them), ``up`` (units that run, or are about to), ``time_services``, ``packages``, ``absent``
    (files that are not there), ``lacking`` (of the minion's Python), ``salt``, and ``began`` and
    ``ended``, by this host's clock.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_check.facts '{demo1: {...}}'
    """
    began = time.time()
    own = asked[__opts__["id"]]
    units = __salt__["metis_unit.facts"]([*own["units"], *TIME_SERVICES])
    pids = [unit["pid"] for name, unit in units.items() if name in own["units"] and unit["pid"]]
    memory = psutil.virtual_memory()
    found = {
        "system": {
            "os": __grains__["os"],
            "release": str(__grains__["osrelease"]),
            "architecture": __grains__["cpuarch"],
            "container": _CONTAINER.exists(),
        },
        "cpus": len(os.sched_getaffinity(0)),
        "avx2": "avx2" in __grains__.get("cpu_flags", []),
        "memory": {"total": memory.total, "available": memory.available},
        "disks": {folder: _disk(folder) for folder in own["folders"]},
        "own_address": _is_own(own["address"]),
        "ports": __salt__["metis_unit.holders"](pids, own["ports"]),
        "up": [name for name in own["units"] if units[name]["state"] not in _DOWN],
        "time_services": {
            name: units[name]["state"] for name in TIME_SERVICES if units[name]["state"] != "absent"
        },
        "packages": _packages(own["packages"]),
        "absent": [path for path in own["files"] if not os.path.exists(path)],
        "lacking": [name for name in own["modules"] if not _importable(name)],
        "salt": salt.version.__version__,
    }
    return found | {"began": began, "ended": time.time()}


def _disk(folder: str) -> dict[str, Any]:
    """The file system that a folder is on, or would be."""
    place = Path(os.path.realpath(folder))
    while not place.is_dir():
        place = place.parent
    seen = os.statvfs(place)
    while not os.path.ismount(place):
        place = place.parent
    return {
        "mount": str(place),
        "total": seen.f_blocks * seen.f_frsize,
        "free": seen.f_bavail * seen.f_frsize,
        "read_only": bool(seen.f_flag & os.ST_RDONLY),
        "noexec": bool(seen.f_flag & os.ST_NOEXEC),
    }


def _is_own(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _packages(names: list[str]) -> dict[str, Any]:
    """
    Which packages are not installed; and of these, what their download and apt's sources are like.
    """
    known = __salt__["pkg.list_pkgs"]()
    missing = [name for name in names if name not in known]
    found = {"missing": missing, "download": 0, "error": "", "age": _age()}
    if not missing:
        return found
    if not shutil.which("apt-get"):
        return found | {"error": "there is no apt-get"}
    # No lock: others may be installing something, and nothing is changed here.
    apt = ["apt-get", "-qq", "-y", "-o", "Debug::NoLocking=1", "install", "--print-uris", *missing]
    done = _run(apt, APT_TIMEOUT)
    if done["retcode"]:
        return found | {"error": _said(done)}
    files = re.findall(r"^'([^']+)' \S+ (\d+)", done["stdout"], re.MULTILINE)
    found["download"] = sum(int(size) for _, size in files)
    return found | {"error": "; ".join(filter(None, map(_unfetched, _smallest(files))))}


def _age() -> float | None:
    """Seconds since apt read its sources last."""
    try:
        return time.time() - os.stat(_LISTS).st_mtime
    except FileNotFoundError:
        return None


def _run(command: list[str], timeout: int) -> dict[str, Any]:
    done: dict[str, Any] = __salt__["cmd.run_all"](
        command,
        python_shell=False,
        timeout=timeout,
        ignore_retcode=True,
        env={"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    return done


def _said(done: dict[str, Any]) -> str:
    """What apt names as errors, in a line."""
    lines = f"{done['stderr']}\n{done['stdout']}".splitlines()
    errors = [line[3:].strip() for line in lines if line.startswith("E: ")]
    return "; ".join(errors) or " ".join(filter(None, lines))


def _smallest(files: list[tuple[str, str]]) -> list[str]:
    """Of each source one file, the smallest: what gives that gives the others too."""
    chosen: dict[tuple[str, str], tuple[int, str]] = {}
    for uri, size in files:
        parts = urlsplit(uri)
        key, own = (parts.scheme, parts.netloc), (int(size), uri)
        chosen[key] = min(chosen.get(key, own), own)
    return [uri for _, uri in chosen.values()]


def _unfetched(uri: str) -> str:
    """What keeps apt from fetching a file, by its own way and with its own proxies, or ``""``."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return "" if os.path.exists(unquote(parts.path)) else f"{uri} is not there"
    with tempfile.TemporaryDirectory() as folder:
        options = ["Acquire::Retries=0", f"Acquire::http::Timeout={_FETCH_TIMEOUT}"]
        options.append(f"Acquire::https::Timeout={_FETCH_TIMEOUT}")
        # apt fetches as a user of its own.
        os.chmod(folder, 0o755)  # noqa: S103
        words = [word for option in options for word in ("-o", option)]
        command = ["/usr/lib/apt/apt-helper", *words, "download-file", uri, f"{folder}/file"]
        done = _run(command, 3 * _FETCH_TIMEOUT)
    return f"{uri} cannot be fetched: {_said(done)}" if done["retcode"] else ""


def mend(asked: dict[str, list[str]]) -> list[str]:
    """
    Mend what is safe to mend.

    asked
        Host to what: ``packages`` (have apt read its sources anew), ``time`` (enable and start
        systemd's time service).

    Returns what was mended.

    Raises ``CommandExecutionError`` with what keeps it from being mended.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_check.mend '{demo1: [packages]}'
    """
    own = asked[__opts__["id"]]
    problems = []
    for what in own:
        try:
            _MENDERS[what]()
        except salt.exceptions.CommandExecutionError as err:
            problems.append(f"{what}: {err}")
    if problems:
        raise salt.exceptions.CommandExecutionError("; ".join(problems))
    return own


def _mend_packages() -> None:
    __salt__["pkg.refresh_db"](failhard=True)


def _mend_time() -> None:
    __salt__["metis_unit.act"]("enable", [TIMESYNC])
    __salt__["metis_unit.act"]("start", [TIMESYNC])


_MENDERS = {"packages": _mend_packages, "time": _mend_time}
