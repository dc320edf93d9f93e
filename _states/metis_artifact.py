"""
Artifacts of a release on a host.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_artifact"

State = dict[str, Any]


def present(
    name: str,
    store: dict[str, Any],
    stored: str | None = None,
    sha256: str | None = None,
    builds: dict[str, dict[str, str]] | None = None,
    mode: str = "0644",
) -> State:
    """
    A file of the release is there, from the master's store, and every byte of it is right.

    name
        Its absolute path; the directory must exist.
    store
        Where the master's store is: ``address`` (``None`` where the minion reaches its master) and
        ``port``.
    stored
        The file's path in the store.
    sha256
        Of the whole file, in hex.
    builds
        In place of these two, where there is a file for each kind of processor: ``avx2`` and
        ``no_avx2``, each with ``stored`` and ``sha256``.
    mode
        Of the file, in octal.

    .. code-block:: yaml

        The artifact carrier is there:
          metis_artifact.present:
            - name: /opt/metis/carrier/releases/0.3.0/carrier
            - store: {address: null, port: 8014}
            - stored: 0.3.0/carrier
            - sha256: 2b2f...
            - mode: '0755'
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is right"}
    if builds:
        fitting = builds[__salt__["metis_artifact.cpu"]()]
        stored, sha256 = fitting["stored"], fitting["sha256"]
    if not sha256 or not stored:
        # Salt hands on what a release file lacks as nothing, and that equals a missing file's.
        comment = f"the release has no checksum of {name}: run metis.prepare on the master"
        return ret | {"result": False, "comment": comment}
    found = __salt__["metis_artifact.checksum"](name)
    if found == sha256:
        return __states__["file.managed"](name, replace=False, mode=mode) | {"name": name}
    ret["changes"] = {"sha256": {"old": found, "new": sha256}}
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{name} would be downloaded"}
    try:
        sources = __salt__["metis_artifact.sources"](store, stored)
        # The master is near; a proxy is for what is far.
        __salt__["metis_artifact.fetch"](name, sources, sha256, mode, proxy=False)
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "changes": {}, "comment": str(err)}
    return ret | {"comment": f"{name} was downloaded"}


def unpacked(name: str, archive: str, sha256: str, unpacks: str) -> State:
    """
    An archive of the release is unpacked, to its end.

    name
        The absolute path of the directory that it is unpacked into.
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
    found = __salt__["metis_artifact.unpacked"](archive, unpacks)
    if found == sha256:
        return ret
    ret["changes"] = {"unpacked": {"old": found, "new": sha256}}
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{archive} would be unpacked"}
    try:
        __salt__["metis_artifact.unpack"](archive, name, sha256, unpacks)
    except salt.exceptions.CommandExecutionError as err:
        return ret | {"result": False, "changes": {}, "comment": str(err)}
    return ret | {"comment": f"{archive} was unpacked"}
