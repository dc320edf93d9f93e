"""
The state of a host's instances, as the running system shows it.
"""

import os
import re
import time
from typing import Any

import salt.exceptions

__virtualname__ = "metis_instance"

# A program that ended this recently and is being started again is no healthier than a stopped one.
_UP = ("active", "reloading")
_PAUSE = 0.5
# What an organization has once, and cannot have again: what to keep of it.
_PRECIOUS = {"carrier": "data", "admin": "database"}


def _version(pid: int) -> str | None:
    """
    The release that a process runs: every unit works in the directory of its release, and /proc
    shows where the link pointed when the process started.
    """
    try:
        found = re.search(r"/releases/([^/]+)", os.readlink(f"/proc/{pid}/cwd"))
    except OSError:
        return None
    return found[1] if found else None


def _registrations(agent: dict[str, Any]) -> tuple[dict[str, str] | None, str]:
    try:
        return __salt__["metis_consul.services"](agent), ""
    except salt.exceptions.CommandExecutionError as err:
        return None, str(err)


def _gate(role: str, instance: dict[str, Any], address: str) -> str:
    """What is wrong with an instance that its registration does not tell, or ``""``."""
    settings = instance["settings"]
    # The operator's own is only told: nothing that is done here would renew it.
    if _ending(instance) == "has ended" and not settings.get("certificate"):
        return f"its certificate {instance['tls']['shown']} has ended"
    if role == "consul":
        own = {"address": address, "port": settings["http_port"]}
        try:
            seen = __salt__["metis_consul.cluster"](own)
            if not seen["leader"]:
                return "consul has no leader"
            if len(seen["peers"]) != instance["peers"]:
                return f"consul has {len(seen['peers'])} of {instance['peers']} peers"
            for key, value in instance["keys"].items():
                if (found := __salt__["metis_consul.key"](own, key)) != value:
                    return f"key {key} is {found}, not {value}"
        except salt.exceptions.CommandExecutionError as err:
            return str(err)
    if role == "admin":
        shown = instance["tls"]["shown"]
        return __salt__["metis_health.http"](instance["health"], "Metis-Admin", shown)
    if role == "ice_via":
        answers = [
            __salt__["metis_health.ice"](address, settings["grid_port"]),
            __salt__["metis_health.ice"](
                address, settings["glacier2_port"], instance["tls"]["shown"]
            ),
        ]
        return "; ".join(filter(None, answers))
    return ""


def _ending(instance: dict[str, Any]) -> str:
    """Whether the certificate that an instance shows is at its end; not where it shows none."""
    shown = instance.get("tls", {}).get("shown")
    if not shown or not os.path.isfile(shown):
        return ""
    found: str = __salt__["metis_certificates.ending"](shown)
    return found


def _view() -> dict[str, Any]:
    """
    This host's view, as the organization's file says it now: a minion that runs keeps the pillar
    of its last refresh, which may be older than the file. It has passwords, so it is not for the
    command line.
    """
    found = __salt__["pillar.items"](unmask=True).get("metis")
    if not found:
        raise salt.exceptions.CommandExecutionError(
            f"{__opts__['id']} is a host of no valid organization file; "
            "salt-run metis.status tells what is wrong with one"
        )
    return found


def status(
    wait: float = 0, seen: dict[str, Any] | None = None, leaving: bool = False
) -> list[dict[str, Any]]:
    """
    Every instance of this host's view, as it is now.

    wait
        Seconds to wait for registrations that do not pass yet.
    seen
        The host's view; asked of the master where not given.
    leaving
        Whether to look as well at what is deployed here and not wanted any more. Such an instance
        is not healthy, whatever it does.

    Returns a mapping an instance: ``id``, ``role``, ``state`` (``running``, ``stopped`` on purpose,
    ``down``, ``absent``), ``since`` (seconds of the epoch), ``version`` (of the process that runs),
    ``registration`` (``passing``, ``warning``, ``critical``, ``absent``, ``unknown``; ``None`` for
    a role that registers nothing), ``drift`` (files that changed since it started), ``ending``
    (``ends soon`` or ``has ended`` of its certificate, or ``""``), ``healthy``, ``cause`` (of not
    being healthy, or ``""``), ``explained`` (the cause with what systemd and the journal say).

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_instance.status
    """
    seen = seen or _view()
    units = __salt__["metis_unit.facts"](
        [u for role in seen["roles"].values() for i in role["instances"] for u in i["units"]]
    )
    found = []
    end = time.monotonic() + wait
    registered: dict[str, str] | None = {}
    unknown = ""
    if any(i["service"] for role in seen["roles"].values() for i in role["instances"]):
        registered, unknown = _registrations(seen["agent"])
        while registered is None and time.monotonic() < end:
            # consul itself may be on its way up; where it is not there, nothing can be waited on.
            time.sleep(_PAUSE)
            registered, unknown = _registrations(seen["agent"])
    for role, content in seen["roles"].items():
        for instance in content["instances"]:
            own = [units[unit] for unit in instance["units"]]
            service = instance["service"]
            # What was stopped on purpose will not come.
            comes = _state(own) != "stopped"
            if wait and service and comes and registered is not None:
                left = max(0.0, end - time.monotonic())
                args = (seen["agent"], service, left)
                registered[service["id"]] = __salt__["metis_consul.wait_for_service"](*args)
            found.append(_instance(role, instance, own, registered, unknown, seen["address"]))
    return found + (_leaving(seen) if leaving else [])


def _leaving(seen: dict[str, Any]) -> list[dict[str, Any]]:
    """What is deployed and not wanted: each was registered on the agent of its last deploy."""
    found = []
    every = [instance for role in seen["leaving"].values() for instance in role["instances"]]
    units = __salt__["metis_unit.facts"]([unit for i in every for unit in i["units"]])
    for instance in every:
        own = [units[unit] for unit in instance["units"]]
        registered = _registrations(instance["agent"])[0] if instance["service"] else {}
        cause = "deployed, and not wanted any more: metis.scale_in takes it out"
        if instance["role"] in _PRECIOUS:
            cause += f", with keep: {_PRECIOUS[instance['role']]} or confirm: {seen['org']}"
        found.append(
            {
                "id": instance["id"],
                "role": instance["role"],
                "drift": [],
                "ending": "",
                "healthy": False,
                "cause": cause,
                "explained": cause,
            }
            | _running(own)
            | {"registration": _registration(instance["service"], registered)}
        )
    return found


def _running(units: list[dict[str, Any]]) -> dict[str, Any]:
    """Whether the units of an instance run, since when, and which release."""
    state = _state(units)
    starts = [unit["started"] for unit in units if unit["started"] and unit["state"] in _UP]
    versions = {version for unit in units if unit["pid"] and (version := _version(unit["pid"]))}
    return {
        "state": state,
        "since": max(starts) if starts and state == "running" else None,
        "version": ", ".join(sorted(versions)) or None,
    }


def _registration(service: dict[str, Any] | None, registered: dict[str, str] | None) -> str | None:
    if not service:
        return None
    return "unknown" if registered is None else registered.get(service["id"], "absent")


def restart(instance: str, timeout: float, **kwargs: Any) -> dict[str, Any]:
    """
    Restart an instance, all of its units in their order, and wait until it is healthy.

    instance
        Its id.
    timeout
        Seconds to wait for that.

    Raises ``CommandExecutionError`` where systemd does not restart it, with the end of its journal.

    Returns it as ``status`` has it, healthy or not.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_instance.restart carrier@demo1 60
    """
    __salt__["metis_host.alone"]("metis_instance.restart", kwargs.get("__pub_jid"))
    view = _view()
    own = [
        (role, found)
        for role, content in view["roles"].items()
        for found in content["instances"]
        if found["id"] == instance
    ]
    if not own:
        raise salt.exceptions.CommandExecutionError(
            f"{__opts__['id']} does not know of {instance}: its organization's file just changed"
        )
    ((role, meant),) = own
    # Who else is on this host is not waited for, nor are keys that an edit of the file waits to
    # change: a restart does not write them.
    own_view = view["roles"][role] | {"instances": [meant | {"keys": {}}]}
    alone = view | {"roles": {role: own_view}}
    try:
        # At once: systemd stops them in reverse order and starts them in order.
        __salt__["metis_unit.act"]("restart", meant["units"])
    except salt.exceptions.CommandExecutionError as err:
        units = list(__salt__["metis_unit.facts"](meant["units"]).items())
        raise salt.exceptions.CommandExecutionError(_explained(str(err), units)) from err
    seen: dict[str, Any] = {}

    def look(seconds: float) -> str:
        (now,) = status(seconds, alone)
        if now["cause"] and not meant["service"]:
            # Nobody tells when a leader is elected, or an Ice endpoint answers.
            time.sleep(_PAUSE)
        seen.update(now)
        cause: str = now["cause"]
        return cause

    program = next(unit for unit in meant["units"] if unit.startswith("metis-"))
    __salt__["metis_unit.wait"](program, look, timeout)
    return seen


def _state(units: list[dict[str, Any]]) -> str:
    if all(unit["state"] in _UP for unit in units):
        return "running"
    if all(unit["masked"] and unit["state"] not in _UP for unit in units):
        return "stopped"
    return "absent" if any(unit["state"] == "absent" for unit in units) else "down"


def _explained(cause: str, units: list[tuple[str, dict[str, Any]]]) -> str:
    """A cause with the end of the journal of the unit that is most likely to blame."""
    down = [name for name, unit in units if unit["state"] not in _UP]
    own = [name for name, _ in units if name.startswith("metis-")]
    return __salt__["metis_unit.explain"](cause, (down or own)[0])


def _instance(
    role: str,
    instance: dict[str, Any],
    units: list[dict[str, Any]],
    registered: dict[str, str] | None,
    unknown: str,
    address: str,
) -> dict[str, Any]:
    running = _running(units)
    state = running["state"]
    service = instance["service"]
    registration = _registration(service, registered)
    named = list(zip(instance["units"], units, strict=True))
    drift = [
        path if os.path.lexists(path) else f"{path} (gone)"
        for name, unit in named
        if unit["state"] in _UP
        for path in __salt__["metis_unit.newer_files"](
            instance["files"][name], unit["started"] or 0
        )
    ]
    cause = ""
    if state == "stopped":
        cause = "stopped on purpose: metis.start starts it"
    elif state != "running":
        cause = "; ".join(
            f"{name} is {unit['state']}" + (f" ({unit['result']})" if unit["exit_status"] else "")
            for name, unit in named
            if unit["state"] not in _UP
        )
    elif fleeting := [name for name, unit in named if unit["masked"] or not unit["enabled"]]:
        # As a cut-off `metis.stop` leaves it.
        cause = f"{', '.join(fleeting)} would not come back after a reboot"
    elif unknown and service:
        cause = unknown
    elif registration not in (None, "passing"):
        cause = f"{service['id']} is {registration}"
        if ended := sum(unit["restarts"] for unit in units):
            cause += f", and its program ended {ended} times"
    else:
        cause = _gate(role, instance, address)
    pids = [unit["pid"] for unit in units if unit["pid"]]
    if not cause and (missing := __salt__["metis_unit.missing_ports"](pids, instance["ports"])):
        cause = f"it does not listen on {'; '.join(missing)}"
    return running | {
        "id": instance["id"],
        "role": role,
        "registration": registration,
        "drift": drift,
        "ending": _ending(instance),
        "healthy": not cause,
        "cause": cause,
        "explained": _explained(cause, named) if cause and state != "stopped" else cause,
    }
