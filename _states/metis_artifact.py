"""
Artifacts of a release on a host.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_artifact"

State = dict[str, Any]

# Damaged files that are named.
_SHOWN = 10


def present(
    name: str, directory: str, store: dict[str, Any], artifacts: dict[str, dict[str, Any]]
) -> State:
    """
    Files of a release are there, from the master's store, and every byte of them is right. Those
    that are not are downloaded several at once.

    name
        What the state is called.
    directory
        The absolute path of their directory, which must exist.
    store
        Where the master's store is: ``address`` (``None`` where the minion reaches its master) and
        ``port``.
    artifacts
        By their names in the release, as ``metis_release.on_host`` tells them: ``file``, ``kind``,
        and ``stored`` and ``sha256``; or, where there is a file for each kind of processor,
        ``builds``: ``avx2`` and ``no_avx2``, each with these two.

    .. code-block:: yaml

        The artifacts of carrier 0.3.0 are there:
          metis_artifact.present:
            - directory: /opt/metis/carrier/releases/0.3.0
            - store: {address: null, port: 8014}
            - artifacts:
                carrier: {file: carrier, kind: binary, stored: 0.3.0/carrier, sha256: 2b2f...}
    """
    ret: State = {"name": name, "result": True, "changes": {}, "comment": "every one is right"}
    fitting = {key: artifact | _build(artifact) for key, artifact in artifacts.items()}
    lacking = [key for key, artifact in fitting.items() if not artifact["sha256"]]
    if lacking:
        # Salt hands on what a release file lacks as nothing, and that equals a missing file's.
        comment = f"the release has no checksum of {', '.join(lacking)}"
        return ret | {"result": False, "comment": f"{comment}: run metis.prepare on the master"}
    wanted = {}
    problems = []
    for artifact in fitting.values():
        file, mode = f"{directory}/{artifact['file']}", _mode(artifact)
        found = __salt__["metis_artifact.checksum"](file)
        if found != artifact["sha256"]:
            wanted[file] = {"stored": artifact["stored"], "sha256": artifact["sha256"]}
            wanted[file]["mode"] = mode
            ret["changes"][artifact["file"]] = {"old": found, "new": artifact["sha256"]}
            continue
        done = __states__["file.managed"](file, replace=False, mode=mode)
        if done["changes"]:
            ret["changes"][artifact["file"]] = done["changes"]
        if done["result"] is False:
            problems.append(f"{file}: {done['comment']}")
    if __opts__["test"]:
        if not ret["changes"]:
            return ret
        files = ", ".join(ret["changes"])
        return ret | {"result": None, "comment": f"would be downloaded or set right: {files}"}
    failed = __salt__["metis_artifact.fetch_all"](store, wanted)
    for file in failed:
        del ret["changes"][file.removeprefix(f"{directory}/")]
    problems += failed.values()
    if problems:
        return ret | {"result": False, "comment": "\n".join(problems)}
    if ret["changes"]:
        ret["comment"] = f"downloaded or set right: {', '.join(ret['changes'])}"
    return ret


def _build(artifact: dict[str, Any]) -> dict[str, Any]:
    """Which file it is on this host."""
    builds = artifact.get("builds")
    return builds[__salt__["metis_artifact.cpu"]()] if builds else {}


def _mode(artifact: dict[str, Any]) -> str:
    return "0755" if artifact["kind"] == "binary" else "0644"


def unpacked(name: str, archive: str, sha256: str, unpacks: str) -> State:
    """
    An archive of the release is unpacked, to its end, and what came out is still as it was.

    name
        The absolute path of the directory that it is unpacked into; an installer's own.
    archive
        Its absolute path.
    sha256
        Of the archive, in hex: another one is unpacked anew.
    unpacks
        The absolute path of a file that comes out of it.

    .. code-block:: yaml

        The artifact consul is unpacked:
          metis_artifact.unpacked:
            - name: /opt/metis/consul/releases/0.3.0
            - archive: /opt/metis/consul/releases/0.3.0/consul.zip
            - sha256: 2b2f...
            - unpacks: /opt/metis/consul/releases/0.3.0/consul
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{archive} is unpacked"}
    found = __salt__["metis_archive.seen"](archive)
    if found["sha256"] != sha256:
        ret["changes"] = {"unpacked": {"old": found["sha256"], "new": sha256}}
    elif found["damaged"]:
        damaged = found["damaged"][:_SHOWN]
        more = len(found["damaged"]) - len(damaged)
        damaged += [f"and {more} more"] * bool(more)
        ret["changes"] = {"mended": {"old": damaged, "new": f"as {archive} has it"}}
    else:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{archive} would be unpacked"}
    try:
        __salt__["metis_archive.unpack"](archive, name, sha256, unpacks)
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "changes": {}, "comment": str(err)}
    return ret | {"comment": f"{archive} was unpacked"}
