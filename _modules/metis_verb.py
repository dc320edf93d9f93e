"""
What a verb was asked for: the organization, the instances, and whether that can be done.

Runs on the master, from the pillar of an orchestration.
"""

import difflib
from typing import Any

__virtualname__ = "metis_verb"

# What every verb takes, and what some do: a key to those that do.
_FILTERS = ("org", "hosts", "roles")
_OTHERS = {
    "fix": "metis.check",
    "release": "metis.upgrade and metis.rollback",
    "to": "metis.backup",
    "recipient": "metis.backup",
    "from": "metis.restore",
    "keyring": "metis.backup and metis.restore",
    "confirm": "metis.cleanup, metis.restore and metis.scale_in",
    "keep": "metis.cleanup and metis.scale_in",
    "forget_identity": "metis.cleanup",
    "ssh": "metis.bootstrap",
    "instances": "metis.scale_in",
    "drain": "metis.scale_in",
    "lost": "metis.scale_in",
}
ROLES = ("consul", "carrier", "admin", "ice_via", "data", "compute")


def _broken(org: str, file: str, faults: list[dict[str, Any]]) -> str:
    lines = [
        f"{file} has {len(faults)} fault{'s' if len(faults) > 1 else ''}; no host was touched:"
    ]
    for fault in faults:
        value = "" if fault["value"] is None else f" (now: {fault['value']!r})"
        lines.append(f"  {fault['place']} {fault['problem']}{value}: {fault['fix']}")
    return "\n".join(lines)


def names(value: Any) -> list[str]:
    """
    Names as an operator gives them.

    value
        A list, text with commas, or nothing.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_verb.names 'acme1,acme2'
    """
    if value is None:
        return []
    given = value if isinstance(value, list) else str(value).split(",")
    return [name for item in given if (name := str(item).strip())]


def _misspelt(asked: dict[str, Any]) -> list[str]:
    """
    Keys that are nearly one of ours: a filter that is not seen would let a verb act on everything.
    Other keys may be there for other reasons, as the pillar is the master's own too.
    """
    found = []
    known = [*_FILTERS, *_OTHERS]
    for key in asked:
        near = difflib.get_close_matches(str(key).lower(), known, 1)
        near = ["org"] if str(key).lower().startswith("organi") else near
        if near and key not in known:
            found.append(f"{key} in the pillar is not known: did you mean {near[0]}?")
    return found


def _not_taken(asked: dict[str, Any], takes: list[str]) -> list[str]:
    return [
        f"{key} in the pillar is for {verbs} alone"
        for key, verbs in _OTHERS.items()
        if asked.get(key) and key not in takes
    ]


def _wrong_access(asked: dict[str, Any]) -> list[str]:
    """What is given for a file may be the passwords that belong into it: it is not shown."""
    if asked.get("ssh") is None or isinstance(asked["ssh"], str):
        return []
    file = 'write it into a file and name that, pillar=\'{"ssh": "/root/acme-ssh.yaml"}\''
    return [
        f"ssh in the pillar is to be the path of a file, or ask: {file}; a password that was given "
        "here stands in the shell's history and in Salt's job cache: change it"
    ]


def _refused(org: str, errors: list[str]) -> dict[str, Any]:
    return {"error": "\n".join(errors), "org": org}


def given(asked: dict[str, Any]) -> dict[str, Any]:
    """
    What the operator gave to a verb and may be shown: of the pillar of an orchestration, which is
    the master's own too.

    asked
        That pillar.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_verb.given '{org: demo, metis: {}}'
    """
    return {
        key: asked[key]
        for key in (*_FILTERS, *_OTHERS)
        if asked.get(key) not in (None, "", []) and not (key == "ssh" and _wrong_access(asked))
    }


def _wrong_leaving(asked: dict[str, Any], topology: dict[str, Any]) -> list[str]:
    """What is asked to be taken out, or said to be lost, and is wanted."""
    out = "take {} out of the organization's file first"
    wanted = {instance["id"]: instance["host"] for instance in topology["instances"]}
    return [
        f"{identity} is wanted, and only what is not is taken out: {out.format('its line')}"
        for identity in names(asked.get("instances"))
        if identity in wanted
    ] + [
        f"{host} has wanted instances, and is said to be lost: {out.format('it')}"
        for host in names(asked.get("lost"))
        if host in wanted.values()
    ]


def _unknown(asked: dict[str, Any], topology: dict[str, Any]) -> list[str]:
    """Names of instances and hosts, and neither the file nor the record of leaving has them."""
    every = topology["instances"] + topology["leaving"]
    instances = {instance["id"] for instance in every}
    hosts = {*topology["hosts"], *(instance["host"] for instance in every)}
    return [name for name in names(asked.get("instances")) if name not in instances] + [
        name
        for name in dict.fromkeys([*names(asked.get("hosts")), *names(asked.get("lost"))])
        if name not in hosts
    ]


def _asked_to_leave(
    topology: dict[str, Any], chosen: list[dict[str, Any]], lost: list[str]
) -> set[str]:
    """The hosts that have to answer for instances to leave: theirs, and those of who stays."""
    every = topology["instances"] + topology["leaving"]
    servers = {i["host"] for i in every if i["role"] == "consul" and i not in chosen}
    found = set()
    for instance in chosen:
        found.add(instance["host"])
        if instance["role"] == "consul":
            found |= servers
        if instance["host"] in lost and instance["service"]:
            found.add(instance["agent"]["host"])
    return found - set(lost)


def roles() -> list[str]:
    """
    Every role.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_verb.roles
    """
    return list(ROLES)


def request(
    asked: dict[str, Any],
    orgs: dict[str, dict[str, Any]],
    takes: list[str] | None = None,
    leaving: bool = False,
) -> dict[str, Any]:
    """
    What a verb shall do, or why it cannot.

    asked
        The operator's pillar: ``org`` (may be left out where there is one organization), ``hosts``
        and ``roles`` (filters: lists, or text with commas).
    orgs
        As ``metis_orgs.read`` returns them.
    takes
        Which other keys of the pillar the verb knows.
    leaving
        Whether the instances are those that are deployed and not wanted any more; then there may be
        none, and ``instances`` (a filter) and ``lost`` (hosts that are gone) are looked at too. A
        name that is neither wanted nor leaving may have been taken out in the run before: it is an
        error only where something is leaving, and none of it is named.

    Returns ``{"error": ..., "org": ..., "topology": ..., "instances": ..., "hosts": ...,
    "lost": ..., "unknown": ...}``; ``error`` is ``""`` or a text for the operator, and all but
    ``org`` are missing then; ``org`` is ``""`` where it is none that is known. ``hosts`` are those
    that have to answer, ``unknown`` names that are neither wanted nor leaving.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_verb.request '{org: demo}' '{}'
    """
    # A folder that cannot be looked into has an entry under its path: there may be more in it.
    named = sorted(name for name in orgs if not name.startswith("/"))
    closed = [
        f"{fault['place']} {fault['problem']}: {fault['fix']}"
        for name in orgs.keys() - set(named)
        for fault in orgs[name]["faults"]
    ]
    nothing = "none" if closed else "none: write pillar/orgs/<org>.sls first"
    known = "\n".join([", ".join(named) or nothing, *sorted(closed)])
    org = asked.get("org") or (named[0] if len(named) == 1 and not closed else None)
    # A name of digits comes as a number from the command line.
    org = None if org is None else str(org)
    wrong = _misspelt(asked) + _not_taken(asked, takes or []) + _wrong_access(asked)
    if org is None:
        how = "pillar='{\"org\": ...}' of a verb, org=... of metis.status"
        return _refused("", wrong or [f"name an organization: {how}; known are {known}"])
    if org not in named:
        return _refused("", [*wrong, f"there is no organization {org}; known are {known}"])
    if wrong:
        return _refused(org, wrong)
    if orgs[org]["faults"]:
        return _refused(org, [_broken(org, orgs[org]["file"], orgs[org]["faults"])])
    topology = orgs[org]["topology"]
    hosts, roles = names(asked.get("hosts")), names(asked.get("roles"))
    errors = [
        f"the organization {org} has no host {host}; it has {', '.join(topology['hosts'])}"
        for host in hosts
        # One that nothing is left of may have been left in the run before.
        if host not in topology["hosts"] and not leaving
    ] + [
        f"there is no role {role}; known are {', '.join(ROLES)}"
        for role in roles
        if role not in ROLES
    ]
    errors += _wrong_leaving(asked, topology) if leaving else []
    if errors:
        return _refused(org, errors)
    meant = names(asked.get("instances"))
    instances = [
        instance
        for instance in _every(topology, leaving)
        if (not hosts or instance["host"] in hosts)
        and (not roles or instance["role"] in roles)
        and (not meant or instance["id"] in meant)
    ]
    if not instances and not leaving:
        left = f"nothing of the organization {org} is left by these hosts and roles"
        return _refused(org, [left])
    unknown = _unknown(asked, topology) if leaving else []
    if unknown and topology["leaving"] and not instances:
        there = ", ".join(instance["id"] for instance in topology["leaving"])
        mistaken = (
            "is neither in the organization's file nor to be taken out; "
            f"to be taken out are {there}"
        )
        return _refused(org, [f"{name} {mistaken}" for name in unknown])
    lost = names(asked.get("lost"))
    asks = {instance["host"] for instance in instances}
    asks = _asked_to_leave(topology, instances, lost) if leaving else asks
    found = {"org": org, "topology": topology, "instances": instances}
    return {"error": "", **found, "hosts": sorted(asks), "lost": lost, "unknown": unknown}


def _every(topology: dict[str, Any], leaving: bool) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = topology["leaving"]
    return found if leaving else __salt__["metis_topology.instances"](topology)
