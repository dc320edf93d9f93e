"""
What the verbs ask of a host, each in one round trip.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import salt.exceptions
import salt.payload

__virtualname__ = "metis_host"

_FORMS = ("modules", "states")
# Salt's own state functions refuse to begin beside a job whose function is called so.
_STATES = "state.*"


def fingerprint(folders: list[str]) -> str:
    """
    What a set of module folders holds, as one checksum.

    folders
        Absolute paths; only their ``metis*.py`` count.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_host.fingerprint '[/srv/metis/_modules, /srv/metis/_states]'
    """
    digest = hashlib.sha256()
    for folder in folders:
        for path in sorted(Path(folder).glob("metis*.py")):
            digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _at_work() -> list[dict[str, Any]]:
    return __salt__["saltutil.is_running"](_STATES)


def ready(wanted: str) -> bool | dict[str, str]:
    """
    Whether this host has the master's modules; it fetches them where it does not.

    Salt's own ``saltutil.sync_all`` asks the master for 20 kinds of modules each time, which takes
    seconds on a host that has everything.

    wanted
        The master's ``fingerprint``.

    Returns ``True``, or ``{"busy": ...}`` with the id of a job that is still at work on this host's
    instances.

    Raises ``CommandExecutionError`` where they differ still after a sync.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_host.ready 9f86d0...
    """
    folders = [f"{__opts__['extension_modules']}/{form}" for form in _FORMS]
    if fingerprint(folders) != wanted:
        _sync(folders, wanted)
    others = _at_work()
    return {"busy": others[0]["jid"]} if others else True


def _sync(folders: list[str], wanted: str) -> None:
    for form in _FORMS:
        __salt__[f"saltutil.sync_{form}"](refresh=True)
    if fingerprint(folders) != wanted:
        raise salt.exceptions.CommandExecutionError(
            "the modules on this host are not the master's: look whether file_roots of the master "
            "is this repository's salt/, then run salt-run fileserver.clear_file_list_cache"
        )


def alone(function: str, jid: str | None) -> None:
    """
    Have this host to oneself: refuse to work beside other states, and have Salt's own state
    functions, such as ``state.highstate``, refuse to begin until this job ends.

    function
        Who asks.
    jid
        Its job's id, as Salt hands it on; nothing where Salt keeps no record of the job.

    Raises ``CommandExecutionError`` with the job that is at work.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_host.alone metis_host.reach 20260101000000000000
    """
    if jid:
        _claim(function, jid)
    if others := _at_work():
        raise salt.exceptions.CommandExecutionError(
            f"another run is at work on this host, {others[0]['fun']} as job {others[0]['jid']}: "
            f"wait for its end, or salt {__opts__['id']} saltutil.term_job {others[0]['jid']}"
        )


def _claim(function: str, jid: str) -> None:
    """
    Salt looks for runs of states by the name of their function, in its record of the jobs that run.
    The minion removes a job's record when the job ends, and a record whose process is gone.
    """
    folder = Path(__opts__["cachedir"])
    record = folder / "proc" / jid
    # At once, as a record that is empty for a moment is removed by who reads it then.
    new = folder / f"{jid}.record"
    try:
        job = salt.payload.loads(record.read_bytes()) | {"fun": f"state.sls, by {function}"}
        new.write_bytes(salt.payload.dumps(job))
        os.replace(new, record)
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"the record of this job cannot be written: {err}; look at the disk of this host"
        ) from err


def reach(
    to: str,
    roles: dict[str, list[str]],
    test: bool = False,
    agent_since: float = 0.0,
    only: list[str] | None = None,
    release: str | None = None,
    keep: list[str] | None = None,
    besides: dict[str, list[str]] | None = None,
    drain: float = 0,
    **kwargs: Any,
) -> dict[str, Any] | list[str]:
    """
    Bring this host's roles to a state, and look at the instances afterwards.

    to
        ``laid_down``, ``installed``, ``configured``, ``running``, ``stopped``, ``left`` or
        ``absent``: the SLS of each role.
    roles
        Host to the roles that are meant; one job serves hosts of different roles.
    test
        Change nothing, say what would change.
    agent_since
        When the consul agent that the programs use was started, in seconds of the epoch: fighters
        older than that are restarted.
    only
        Of data and compute, start these instances only; have these go only, of any role. All where
        not given.
    release
        What is laid down; the wanted one where not given.
    keep
        What does not go with instances: some of ``data``, ``database``, ``logs``.
    besides
        Host to roles that it may have had, and that go too where it has.
    drain
        Seconds that tasks of instances that leave are given to end.

    Returns what ``state.sls`` returns: states by their tag, or texts where the SLS do not render.
    The state ``metis_instance.seen`` among them has the instances.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_host.reach configured '{demo1: [consul, carrier]}' test=True
    """
    meant = roles[__opts__["id"]] + (besides or {}).get(__opts__["id"], [])
    own = [f"roles.{role}.{to}" for role in meant]
    alone("metis_host.reach", kwargs.get("__pub_jid"))
    job = {key: value for key, value in kwargs.items() if key == "__pub_jid"}
    override: dict[str, Any] = {"metis_agent_since": agent_since}
    if only is not None:
        override["metis_only"] = only
    if release is not None:
        override["metis_release"] = release
    if to in ("left", "absent"):
        leaving = {"roles": meant, "only": only, "keep": keep or []}
        override["metis_leaving"] = leaving | ({"drain": drain} if to == "left" else {})
    return __salt__["state.sls"]([*own, "roles.seen"], test=test, pillar=override, **job)
