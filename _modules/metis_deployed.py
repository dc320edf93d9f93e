"""
What is deployed, and which release each instance is to run: a record on the master, beside the
organization file.

The file's ``release`` is what is wanted. What is deployed is changed by ``metis.upgrade`` and
``metis.rollback`` alone, instance by instance, so that neither a deploy nor a highstate switches a
release by itself, and a run that was cut off is known to the next one.

What is in the record and not in the file is deployed and not wanted any more: it is leaving. Of
each instance the record has a trace, which is enough to take it out.

One file an organization, ``<pki_dir>/metis/deployed/<org>.yaml``, kept as the secrets are.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import salt.exceptions

__virtualname__ = "metis_deployed"

Entry = dict[str, Any]

# Its programs are the distribution's packages.
WITHOUT = ("ice_via",)
# What every trace has.
_PLACE = {"id", "role", "host"}


def _edit(org: str, change: Any) -> Any:
    return __salt__["metis_secrets.edit"](org, change, "deployed")


def _record(org: str) -> dict[str, Entry]:
    found: dict[str, Entry] = __salt__["metis_secrets.read"](org, "deployed")
    for identity, entry in found.items():
        if not _is_entry(entry):
            file = Path(__opts__["pki_dir"], "metis/deployed", f"{org}.yaml")
            raise salt.exceptions.CommandExecutionError(
                f"{file} is damaged, in what it says of {identity}"
            )
    return found


def _is_entry(entry: Any) -> bool:
    """Whether it is as it was written, as far as every verb relies on it."""
    if not isinstance(entry, dict):
        return False
    trace = entry.get("trace", dict.fromkeys(_PLACE))
    releases = [entry[key] for key in ("release", "previous") if key in entry]
    if "undo" in entry:
        releases.append(entry["undo"].get("release") if isinstance(entry["undo"], dict) else None)
    wrong = [release for release in releases if not isinstance(release, str)]
    return not wrong and isinstance(trace, dict) and trace.keys() >= _PLACE


def read(org: str) -> dict[str, Entry]:
    """
    What the record says of releases.

    org
        The organization.

    Returns instance to ``{"release": ...}``, with ``previous`` where an upgrade brought it from
    another one, and with ``undo``, the entry before, from when it is switched until it is well;
    nothing for an instance that was never deployed.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.read acme
    """
    return {
        identity: {key: value for key, value in entry.items() if key != "trace"}
        for identity, entry in _record(org).items()
        if "release" in entry
    }


def traces(org: str) -> dict[str, Entry]:
    """
    What the record says of where instances are.

    org
        The organization.

    Returns instance to what ``metis_view.traces`` had of it when it was deployed last, with its
    ``release`` (``None`` for a role that has none).

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.traces acme
    """
    return {
        identity: entry["trace"] | {"release": entry.get("release")}
        for identity, entry in _record(org).items()
        if "trace" in entry
    }


def leaving(topology: dict[str, Any], known: dict[str, Entry]) -> list[Entry]:
    """
    What is deployed and not wanted any more. Roles that are switched off are nobody's business.

    topology
        The organization's.
    known
        As ``traces`` returns it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.leaving '{instances: [], off: []}' '{}'
    """
    wanted = {instance["id"] for instance in topology["instances"]}
    return [
        trace
        for identity, trace in sorted(known.items())
        if identity not in wanted and trace["role"] not in topology["off"]
    ]


def releases(changed: dict[str, dict[str, Entry]] | None = None) -> list[str]:
    """
    Every release that an instance of any organization runs, or would go back to; also of one whose
    file is gone or wrong.

    changed
        Organization to entries that count in place of those on record.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.releases
    """
    files = Path(__opts__["pki_dir"], "metis/deployed").glob("*.yaml")
    found = set()
    for org in [file.stem for file in files]:
        for entry in (read(org) | (changed or {}).get(org, {})).values():
            found |= {entry["release"], entry.get("previous"), entry.get("undo", {}).get("release")}
    return sorted(found - {None})


def of(topology: dict[str, Any], known: dict[str, Entry]) -> dict[str, Entry]:
    """
    The release of every instance: the recorded one. One that is new gets what most of its role run,
    or of the organization, so that a host more is no upgrade; in an organization that is new, it
    is the wanted one.

    topology
        The organization's.
    known
        As ``read`` returns it.

    Returns instance to ``{"release": ...}``, with ``previous`` where it is known.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.of '{instances: [], release: 0.3.0}' '{}'
    """
    instances = topology["instances"]
    recorded = [i for i in instances if i["id"] in known]
    found = {}
    for instance in instances:
        own = [i for i in recorded if i["role"] == instance["role"]] or recorded
        usual = Counter(known[i["id"]]["release"] for i in own).most_common(1)
        new = {"release": usual[0][0] if usual else topology["release"]}
        found[instance["id"]] = known.get(instance["id"], new)
    return found


def switchable(instances: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    The instances that have a release.

    instances
        Of a topology.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.switchable '[{role: ice_via}]'
    """
    return [i for i in instances if i["role"] not in WITHOUT]


def keep(org: str, entries: dict[str, Entry]) -> None:
    """
    Write down releases; those of other instances stay as they are, and so do traces.

    org
        The organization.
    entries
        Instance to ``{"release": ...}``, with ``previous`` where there is a way back.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.keep acme '{consul@acme1: {release: 0.3.0}}'
    """

    def change(known: dict[str, Entry]) -> None:
        for identity, entry in entries.items():
            of_place = {k: v for k, v in known.get(identity, {}).items() if k == "trace"}
            known[identity] = entry | of_place

    _edit(org, change)


def settle(org: str, identities: list[str]) -> None:
    """
    Instances are well with the release on record: what they ran before is not brought back by
    itself any more, however they fail from now on.

    org
        The organization.
    identities
        The instances.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.settle acme '[consul@acme1]'
    """

    def change(known: dict[str, Entry]) -> None:
        for identity in identities:
            known.get(identity, {}).pop("undo", None)

    _edit(org, change)


def note(org: str, found: dict[str, Entry]) -> None:
    """
    Write down where instances are; what is known of their releases stays.

    org
        The organization.
    found
        Instance to its trace, as ``metis_view.traces`` returns it.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.note acme '{consul@acme1: {host: acme1}}'
    """

    def change(known: dict[str, Entry]) -> None:
        for identity, trace in found.items():
            known.setdefault(identity, {})["trace"] = trace

    _edit(org, change)


def drop(org: str, identity: str) -> None:
    """
    Forget an instance: it is not deployed any more.

    org
        The organization.
    identity
        The instance.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.drop acme data@acme4:8700
    """
    _edit(org, lambda known: known.pop(identity, None))


def before(entries: list[Entry]) -> list[str]:
    """
    The releases that instances would go back to.

    Where some were switched and others were not, as a roll-out that failed leaves them, these are
    what the others run still. Where one was cut off on its way back, it is where that goes.

    entries
        As ``read`` returns them.

    Returns releases; more than one where the instances do not agree.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_deployed.before '[{release: 0.4.0, previous: 0.3.0}]'
    """
    on_the_way = {e["release"] for e in entries if "undo" in e and "previous" not in e}
    if on_the_way:
        return sorted(on_the_way)
    there = {entry["release"] for entry in entries}
    behind = {entry["previous"] for entry in entries if "previous" in entry}
    return sorted(behind & there or behind)
