"""
Artifacts of a release on a host.
"""

from typing import Any

import salt.exceptions

__virtualname__ = "metis_artifact"

State = dict[str, Any]


def present(name: str, sources: list[str], sha256: str, mode: str = "0644") -> State:
    """
    A file of the release is there, and every byte of it is right.

    name
        Its absolute path; the directory must exist.
    sources
        URLs, in the order of preference.
    sha256
        Of the whole file, in hex.
    mode
        Of the file, in octal.

    .. code-block:: yaml

        The artifact carrier is there:
          metis_artifact.present:
            - name: /opt/metis/carrier/releases/0.3.0/carrier
            - sources: [https://mirror.example/carrier]
            - sha256: 2b2f...
            - mode: '0755'
    """
    ret = {"name": name, "result": True, "changes": {}, "comment": f"{name} is right"}
    if not sha256:
        # Salt hands on what a release file lacks as nothing, and that equals a missing file's.
        return ret | {"result": False, "comment": f"the release has no checksum of {name}"}
    found = __salt__["metis_artifact.checksum"](name)
    if found == sha256:
        return __states__["file.managed"](name, replace=False, mode=mode) | {"name": name}
    ret["changes"] = {"sha256": {"old": found, "new": sha256}}
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"{name} would be downloaded"}
    try:
        __salt__["metis_artifact.fetch"](name, sources, sha256, mode)
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
