"""
What the operator asks the master for: what there is, and an organization file to begin with.
"""

import functools
import inspect
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import salt.exceptions

__virtualname__ = "metis"


def _age(since: float | None) -> str:
    if since is None:
        return "-"
    # A host's clock may be a little before the master's.
    seconds = max(0, int(time.time() - since))
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _shown(data: Any, retcode: int) -> dict[str, Any]:
    """What a runner returns so that salt-run shows it by our outputter and exits with a code."""
    return {"data": data, "outputter": "metis_table", "retcode": retcode}


def _reported(function: Callable[..., str | dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """
    A runner that shows a text, and what went wrong with the exit code 1. Salt itself answers
    arguments that do not fit with a docstring, and the exit code 0; so it is to see none that it
    could miss, and nothing of what is wrapped.
    """
    arguments = inspect.signature(function)

    @functools.wraps(function)
    def runner(*args: Any, **kwargs: Any) -> dict[str, Any]:
        given = {name: value for name, value in kwargs.items() if not name.startswith("__")}
        try:
            bound = arguments.bind(*args, **given)
        except TypeError as err:
            known = ", ".join(arguments.parameters)
            return _shown(f"metis.{function.__name__}: {err}; its arguments are {known}", 1)
        try:
            done = function(*bound.args, **bound.kwargs)
        except salt.exceptions.SaltException as err:
            return _shown(str(err), 1)
        return _shown(done, 0) if isinstance(done, str) else done

    del vars(runner)["__wrapped__"]
    return runner


def _unknown(answer: dict[str, Any]) -> str:
    """Why nothing is known of an instance."""
    if answer["answer"] != "returned":
        return f"host {answer['answer']}"
    if isinstance(answer["return"], list):
        return "its host does not know of it: look again, as the organization's file just changed"
    # A row is a line.
    if "is not available" in str(answer["return"]):
        return "not deployed yet: run metis.deploy"
    return str(answer["return"]).partition("\n")[0]


def _running_release(instance: dict[str, Any], runs: str | None, topology: dict[str, Any]) -> str:
    """The release that runs, with a word where another one is wanted."""
    deployed = topology["deployed"].get(instance["id"])
    # What is leaving goes to no other release.
    if not runs or not deployed or deployed["release"] == topology["release"]:
        return runs or "-"
    return f"{runs} ({topology['release']} is wanted)"


def _rows(
    instances: list[dict[str, Any]], answers: dict[str, Any], topology: dict[str, Any]
) -> list[dict[str, Any]]:
    seen = {
        instance["id"]: instance
        for answer in answers.values()
        if isinstance(answer["return"], list)
        for instance in answer["return"]
    }
    rows = []
    for instance in instances:
        answer = answers[instance["host"]]
        found = seen.get(instance["id"])
        row = {"instance": instance["id"], "address": instance["address"]}
        if found is None:
            row |= {"state": "unknown", "release": "-", "up": "-", "registered": "unknown"}
            row |= {"health": _unknown(answer)}
        else:
            row |= {
                "state": found["state"],
                "release": _running_release(instance, found["version"], topology),
                "up": _age(found["since"]),
                "registered": found["registration"] or "-",
                "health": "healthy" if found["healthy"] else found["cause"],
            }
            if found["ending"] and found["healthy"]:
                own = instance["settings"].get("certificate")
                how = f"replace {own} and run metis.deploy" if own else "run metis.deploy"
                how = f"its certificate {found['ending']}: {how}"
                row["health"] = how if found["ending"] == "has ended" else f"healthy; {how}"
            if found["drift"]:
                row["health"] += f"; changed since it started: {', '.join(found['drift'])}"
        rows.append(row)
    return rows


@_reported
def status(org: str | None = None) -> dict[str, Any]:
    """
    Every instance of an organization as it is now, a row each.

    org
        The organization; may be left out where there is one.

    Returns the rows, as a table; with ``--out json`` or ``--out yaml`` as mappings. A host that
    does not answer has rows with the state ``unknown``. The exit code is 1 then, as it is when
    anything is not healthy, or is deployed and not wanted any more.

    CLI Example:

    .. code-block:: bash

        salt-run metis.status org=demo
    """
    orgs = __salt__["salt.cmd"]("metis_orgs.read")
    request = __salt__["salt.cmd"]("metis_verb.request", {"org": org}, orgs)
    if request["error"]:
        return _shown(request["error"], 1)
    topology = request["topology"]
    instances = request["instances"] + topology["leaving"]
    hosts = sorted({instance["host"] for instance in instances})
    asked = {"leaving": True}
    answers = __salt__["salt.cmd"](
        "metis_fleet.run", hosts, "metis_instance.status", asked, timeout=60
    )
    rows = _rows(instances, answers, topology)
    retcode = 0 if all(row["health"] == "healthy" for row in rows) else 1
    return _shown(rows, retcode)


@_reported
def ca(org: str | None = None) -> dict[str, Any]:
    """
    The certificate of an organization's own authority, PEM: what a browser or an Ice client has to
    trust, where the organization's servers have no certificate of the operator's own.

    org
        The organization; may be left out where there is one.

    CLI Example:

    .. code-block:: bash

        salt-run metis.ca org=demo
    """
    orgs = __salt__["salt.cmd"]("metis_orgs.read")
    request = __salt__["salt.cmd"]("metis_verb.request", {"org": org}, orgs)
    if request["error"]:
        return _shown(request["error"], 1)
    return _shown(__salt__["salt.cmd"]("metis_certificates.authority", request["org"]).strip(), 0)


def _began(entry: dict[str, Any]) -> str:
    return entry["time"][:19].replace("T", " ")


def _took(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds:.1f} s"


@_reported
def runs(org: str | None = None) -> dict[str, Any]:
    """
    The verbs that were run, the newest first, a row each; at the most 50.

    org
        Of this organization; of all where not given.

    Returns the rows, as a table; with ``--out json`` or ``--out yaml`` as mappings. The result is
    ``done``, ``running``, ``interrupted`` (its process was ended before it came to its end), or why
    it failed: ``failed``, ``invalid-input``, ``locked`` or ``hosts-missing``.

    CLI Example:

    .. code-block:: bash

        salt-run metis.runs org=demo
    """
    cmd = __salt__["salt.cmd"]
    found = cmd("metis_journal.runs", None if org is None else str(org))
    if org is not None and not found:
        # Where it had runs, it may be in no file any more.
        request = cmd("metis_verb.request", {"org": str(org)}, cmd("metis_orgs.read"))
        if not request["org"]:
            return _shown(request["error"], 1)
    rows = [
        {
            "run": run["run"],
            "org": run["org"],
            "verb": run["verb"] + " (dry run)" * run["test"],
            "by": run["user"],
            "begun": _began(run),
            "took": _took(run["seconds"]),
            "result": run["reason"] or run["result"],
        }
        for run in found
    ]
    return _shown(rows or "no verb was run yet", 0)


@_reported
def report(run: str | None = None, org: str | None = None) -> dict[str, Any]:
    """
    A run of a verb: its phases, what hosts did in them, and what went wrong.

    run
        As ``metis.runs`` names it; the last one where not given.
    org
        The last one of this organization.

    Returns a text; with ``--out json`` or ``--out yaml`` every entry of the run's journal.

    CLI Example:

    .. code-block:: bash

        salt-run metis.report run=20261125-140455-3f2a
    """
    cmd = __salt__["salt.cmd"]
    wanted = [None if name is None else str(name) for name in (run, org)]
    entries = cmd("metis_journal.read", *wanted)
    if __opts__.get("output") in ("json", "yaml"):
        return _shown(entries, 0)
    return _shown("\n".join(_reported_lines(cmd("metis_journal.summary", entries), entries)), 0)


def _reported_lines(known: dict[str, Any], entries: list[dict[str, Any]]) -> list[str]:
    why = f" ({known['reason']})" if known["reason"] else ""
    filters = [f"{k} {v}" for k, v in known["asked"].items() if k != "org"]
    lines = [
        f"run {known['run']}: metis.{known['verb']} of {known['org']}"
        + ", a dry run" * known["test"],
        f"  by {known['user']}, process {known['pid']}, {_began(known)} UTC"
        + f", with {', '.join(filters)}" * bool(filters),
        f"  {known['result']}{why}, {_took(known['seconds'])}",
    ]
    results = {True: "held", None: "would change", False: "FAILED"}
    begun = None
    for entry in entries:
        if entry["event"] == "phase":
            begun = entry["name"]
        elif entry["event"] == "phase-end":
            begun = None
            count = sum(entry["changes"].values())
            lines.append(
                f"{results[entry['result']]:12}  {entry['name']}"
                f" ({count} changes, {_took(entry['seconds'])})"
            )
            lines += [f"    {line}" for line in entry.get("problems", "").splitlines()]
        elif entry["event"] == "host":
            did = entry["answer"]
            if did == "returned":
                did = f"{entry['changed']} of {entry['states']} states changed"
                did += f", {entry['failed']} failed" * bool(entry["failed"])
            lines.append(f"    {entry['host']}: {did}")
        elif entry["event"] == "restarted":
            lines.append(f"    {entry['instance']}: restarted")
        elif entry["event"] == "versions":
            lines += [f"    {name}: runs {v}" for name, v in entry["instances"].items() if v]
    if begun:
        lines.append(f"{known['result']:12}  {begun}")
    return lines


@_reported
def unlock(org: str | None = None, run: str | None = None) -> dict[str, Any]:
    """
    Let the next verb begin although one has the organization's lock.

    The lock of a process that has ended is free by itself. This is for one that hangs: it ends at
    its next phase, should it come to one.

    org
        The organization; may be left out where there is one.
    run
        Whose lock it is, as ``metis.runs`` names it. Without it nothing is done, and the holder is
        told.

    CLI Example:

    .. code-block:: bash

        salt-run metis.unlock org=demo run=20261125-140455-3f2a
    """
    cmd = __salt__["salt.cmd"]
    request = cmd("metis_verb.request", {"org": org}, cmd("metis_orgs.read"))
    # An organization whose file is broken may have its lock all the same.
    if not request["org"]:
        return _shown(request["error"], 1)
    holder = cmd("metis_lock.holder", request["org"])
    if holder is None:
        return _shown(f"{request['org']} is not locked", 0)
    whose = cmd("metis_run.described", holder)
    if run is None or str(run) != holder.get("run"):
        how = f"salt-run metis.unlock org={request['org']} run={holder.get('run')}"
        return _shown(f"{request['org']} is locked by {whose}; to let go of it:\n  {how}", 1)
    cmd("metis_lock.forget", request["org"])
    return _shown(f"the lock of {whose} is let go of; end that process: kill {holder['pid']}", 0)


@_reported
def import_inventory(path: str, org: str | None = None, to: str | None = None) -> dict[str, Any]:
    """
    Make an organization file from an inventory of the Ansible scripts.

    path
        The ``inventory.ini``, on the master, where the user that Salt runs as may read it.
    org
        What the organization shall be called; made from ``cluster_name`` where not given.
    to
        The file to write; ``orgs/<org>.sls`` below the last pillar root where not given.

    Returns what was written, what could not be carried over and why, and what is left to complete
    by hand. Where the inventory has faults nothing is written, they are returned, and the exit code
    is 1. No password is shown.

    CLI Example:

    .. code-block:: bash

        salt-run metis.import_inventory /srv/inventory.ini org=acme
    """
    try:
        return _import(
            str(path), None if org is None else str(org), None if to is None else str(to)
        )
    except salt.exceptions.CommandExecutionError as err:
        return _shown(f"nothing was written: {err}", 1)


def _import(path: str, org: str | None, to: str | None) -> dict[str, Any]:
    cmd = __salt__["salt.cmd"]
    text, encoding = cmd("metis_import.read", path)
    made = cmd("metis_inventory.convert", text, org)
    faults = made["faults"]
    if faults:
        many = f"{len(faults)} fault{'s' if len(faults) > 1 else ''}"
        return _shown("\n".join([f"nothing was written: {path} has {many}:", *_said(faults)]), 1)
    file = cmd("metis_import.write", made["org"], made["text"], to)
    notes = _said(made["notes"])
    if encoding != "utf-8":
        notes.append(f"  the inventory is not UTF-8: read as {encoding.upper()}, look at comments")
    lines = [f"{file} is the organization {made['org']}, as {path} has it"]
    lines += ["to know:", *notes] if notes else []
    known = cmd("metis_orgs.read").get(made["org"])
    found = known is not None and known["file"] == file
    by_hand = _by_hand((known if found else cmd("metis_orgs.check", made["org"], file))["faults"])
    lines += [f"to complete by hand in {file}:", *by_hand] if by_hand else []
    lines.append("next:" if found else f"next, once it is orgs/{made['org']}.sls in a pillar root:")
    lines.append(
        f"""  salt-run state.orchestrate metis.deploy pillar='{{"org": "{made["org"]}"}}'"""
    )
    return _shown("\n".join(lines), 0)


def _tell(text: str) -> None:
    """Say how far something is that takes long."""
    print(text, file=sys.stderr, flush=True)


def _release(name: Any) -> dict[str, Any]:
    """A release file's content, with pins; it has no faults."""
    cmd = __salt__["salt.cmd"]
    found: dict[str, Any] | None = cmd("metis_orgs.release", str(name))
    if found is None:
        raise salt.exceptions.CommandExecutionError(
            f"there is no release {name}: no releases/{name}.yaml is in the pillar roots"
        )
    faults = cmd("metis_releasefile.faults", str(name), found)
    if faults:
        raise salt.exceptions.CommandExecutionError(
            f"releases/{name}.yaml is wrong: {'; '.join(faults)}"
        )
    return found


@_reported
def pin(release: str, artifact: str, sha256: str | None = None) -> str:
    """
    Pin the checksum of an artifact of which the release file has none.

    release
        The release.
    artifact
        Its name in the release file.
    sha256
        The checksum, in hex. Without it, the file is fetched into a quarantine, where nothing uses
        it, and what it is is shown, with the command that pins it.

    CLI Example:

    .. code-block:: bash

        salt-run metis.pin release=0.3.0 artifact=carrier
    """
    cmd = __salt__["salt.cmd"]
    known = _release(release)
    if sha256 is None:
        seen = cmd("metis_pins.inspect", known, artifact, _tell)
        return "\n".join(
            [
                f"{artifact} of {release} is in quarantine, and nothing uses it:",
                f"  file    {seen['file']}",
                f"  size    {seen['size']} bytes",
                f"  looks   {seen['kind']}",
                f"  sha256  {seen['sha256']}",
                "look at it, compare the checksum with one that you trust, and then:",
                f"  salt-run metis.pin release={release} artifact={artifact} "
                f"sha256={seen['sha256']}",
            ]
        )
    done = cmd("metis_pins.accept", known, artifact, str(sha256), _tell)
    before = done["before"]
    lines = [f"{artifact} of {release} is pinned to {str(sha256).strip().lower()}"]
    if before and before != str(sha256).strip().lower():
        lines.append(f"until now it was pinned to {before}")
    if not done["inspected"]:
        lines.append("it was not inspected: that file is not in quarantine")
    return "\n".join(lines)


@_reported
def bundle(release: str, to: str) -> str:
    """
    Write what the master's store has of a release to one file, for a master without a network.

    release
        The release.
    to
        The file; it must not exist.

    CLI Example:

    .. code-block:: bash

        salt-run metis.bundle release=0.3.0 to=/root/metis-0.3.0.tar
    """
    done = __salt__["salt.cmd"]("metis_bundle.write", _release(release), str(to), _tell)
    lines = [f"{to}: release {release}, {len(done['artifacts'])} artifacts, {done['size']} bytes"]
    if done["missing"]:
        lines.append(f"not in it, as the store does not have it: {', '.join(done['missing'])}")
    lines.append(f"on the other master: salt-run metis.unbundle {to}")
    return "\n".join(lines)


@_reported
def unbundle(path: str) -> str:
    """
    Take a bundle into this master's store, after a look at every byte of it.

    path
        The file that ``metis.bundle`` wrote.

    CLI Example:

    .. code-block:: bash

        salt-run metis.unbundle /root/metis-0.3.0.tar
    """
    done = __salt__["salt.cmd"]("metis_bundle.read", str(path), _tell)
    there = f", {len(done['there'])} were there" if done["there"] else ""
    lines = [f"release {done['release']}: {len(done['artifacts'])} artifacts taken in{there}"]
    if done["pinned"]:
        lines.append(f"pinned as the bundle says, as nobody did here: {', '.join(done['pinned'])}")
    if done["file"]:
        lines.append(f"its release file is {done['file']}")
    return "\n".join(lines)


@_reported
def verify(release: str) -> dict[str, Any]:
    """
    Look at every byte of a release in the master's store.

    release
        The release.

    Returns a row for each artifact; the exit code is 1 where one is wrong. What is wrong or missing
    is fetched by ``metis.prepare``.

    CLI Example:

    .. code-block:: bash

        salt-run metis.verify release=0.3.0
    """
    cmd = __salt__["salt.cmd"]
    artifacts = cmd("metis_release.all_of", _release(release))
    found = cmd("metis_store.look", artifacts, whole=True)
    rows = [
        {"artifact": name, "file": artifacts[name]["stored"], "is": how}
        for name, how in found.items()
    ]
    return _shown(rows, 1 if "wrong" in found.values() else 0)


def _said(things: list[dict[str, Any]]) -> list[str]:
    lines = []
    for thing in things:
        numbers = ", ".join(str(line) for line in thing["lines"])
        place = f"line{'s' if len(thing['lines']) > 1 else ''} {numbers}: " if numbers else ""
        lines.append(f"  {place}{thing['what']} {thing['why']}")
    return lines


def _by_hand(faults: list[dict[str, Any]]) -> list[str]:
    """What keeps the file from being valid, and how many checksums its release lacks."""
    lines = []
    release = [fault for fault in faults if fault["place"] == "release"]
    for fault in [fault for fault in faults if fault["place"] != "release"] + release[:1]:
        value = "" if fault["value"] is None else f" (now: {fault['value']!r})"
        lines.append(f"  {fault['place']} {fault['problem']}{value}: {fault['fix']}")
    if len(release) > 1:
        lines.append(f"  release: {len(release) - 1} more of its artifacts have no checksum")
    return lines


@_reported
def inspect_backup(path: str, keyring: str | None = None) -> str:
    """
    Look at every byte of a backup, and show what it is of.

    path
        The file that ``metis.backup`` wrote.
    keyring
        The folder of the GnuPG keyring that has the private key; GnuPG's usual one where not given.

    CLI Example:

    .. code-block:: bash

        salt-run metis.inspect_backup /root/demo.backup
    """
    cmd = __salt__["salt.cmd"]
    known = cmd("metis_backup_file.manifest", str(path), cmd("metis_gpg.keyring", keyring))
    lines = [f"{path}: the organization {known['org']}, as it was at {known['made']}"]
    for name, entry in sorted(known["files"].items()):
        version = f", version {entry['version']}" if entry.get("version") else ""
        place = f" {entry['path']}" if entry["path"] else ""
        lines.append(f"  {name}: {entry['size']} bytes of {entry['from']}{place}{version}")
        lines.append(f"    sha256 {entry['sha256']}")
    lines.append("instances and their releases:")
    lines += [f"  {name}: {release}" for name, release in sorted(known["releases"].items())]
    return "\n".join(lines)


@_reported
def unpack_backup(path: str, keyring: str | None = None, confirm: str | None = None) -> str:
    """
    Make what this master knows of an organization what a backup says: its file, its secrets and its
    authority, what is deployed, its releases and pins. What hosts lost comes back with
    ``metis.restore``.

    path
        The file that ``metis.backup`` wrote.
    keyring
        The folder of the GnuPG keyring that has the private key; GnuPG's usual one where not given.
    confirm
        The organization, where what this master knows of it is another and shall be replaced.

    CLI Example:

    .. code-block:: bash

        salt-run metis.unpack_backup /root/demo.backup
    """
    cmd = __salt__["salt.cmd"]
    own: dict[str, bytes] = {}

    def take(name: str, chunks: Iterator[bytes]) -> None:
        if name.startswith("master/"):
            own[name.removeprefix("master/")] = b"".join(chunks)

    found = cmd("metis_backup_file.walk", str(path), cmd("metis_gpg.keyring", keyring), take)
    if found["problems"]:
        raise cmd("metis_backup_file.damaged", str(path), found["problems"])
    manifest = found["manifest"]
    org, files = manifest["org"], manifest["files"]
    if confirm is not None and str(confirm) != org:
        raise salt.exceptions.CommandExecutionError(
            f"confirm is {confirm}, and the backup is of {org}: nothing was written"
        )
    kept = {n: {"content": own[n], "path": files[f"master/{n}"]["path"]} for n in own}
    taken = cmd("metis_run.hold", org, "unpack_backup", "-")
    if taken["locked"]:
        raise salt.exceptions.CommandExecutionError(f"nothing was written: {taken['locked']}")
    if taken["before"]:
        _tell(taken["before"])
    try:
        done = cmd("metis_backup_master.unpack", org, kept, confirm is not None)
    finally:
        cmd("metis_lock.release", taken["file"])
    lines = [f"{path}: the organization {org}, as it was at {manifest['made']}"]
    lines += [f"  {name}: written" for name in done["written"]]
    lines += [f"  {name}: is here already" for name in done["same"]]
    asked = json.dumps({"org": org, "from": str(path)})
    lines.append("its hosts are not touched; what they lost comes back with")
    lines.append(f"  salt-run state.orchestrate metis.restore pillar='{asked}'")
    return "\n".join(lines)
