"""
What a release file says of its artifacts: pure functions, no I/O.

Some artifacts are built more than once, for processors with and without AVX2: an artifact each, of
one file name, called ``<name>_avx2`` and ``<name>_no_avx2``. A host takes the one for its own.
"""

from typing import Any

__virtualname__ = "metis_release"

Data = dict[str, Any]

# What a host must know of an artifact, whatever its processor.
_KEYS = ("kind", "file", "unpacks")
# Unpacked into a folder of its own, the first of the path of what it unpacks.
_IN_A_FOLDER = ("installer", "wheelhouse")


def stored(release: str, artifact: Data) -> str:
    """
    Where an artifact is in the master's store: a path below its folder of artifacts.

    release
        What the release is called.
    artifact
        Of the release file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_release.stored 0.3.0 '{file: carrier}'
    """
    # Two builds have one file name, which pip reads.
    return "/".join(part for part in (release, artifact.get("cpu"), artifact["file"]) if part)


def family(name: str, artifact: Data) -> str:
    """
    What an artifact is called on a host: its name without the processor that it is for.

    name
        Of the release file.
    artifact
        Of the release file.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_release.family rosetta_avx2 '{cpu: avx2}'
    """
    return name.removesuffix(f"_{artifact['cpu']}") if artifact.get("cpu") else name


def needed(release: Data, roles: list[str]) -> dict[str, Data]:
    """
    The artifacts that some roles need, every build of them: name to what the release file says,
    with ``stored``.

    release
        The release file's content.
    roles
        Of an organization, or of a host.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_release.needed '{...}' '[carrier]'
    """
    return {
        name: artifact | {"stored": stored(release["release"], artifact)}
        for name, artifact in release["artifacts"].items()
        if set(roles) & set(artifact["roles"])
    }


def all_of(release: Data) -> dict[str, Data]:
    """
    Every artifact, as ``needed`` gives it.

    release
        The release file's content.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_release.all_of '{...}'
    """
    roles = {role for artifact in release["artifacts"].values() for role in artifact["roles"]}
    return needed(release, sorted(roles))


def on_host(release: Data, role: str) -> dict[str, Data]:
    """
    What a host of a role has to know of the role's artifacts.

    release
        The release file's content.
    role
        The role.

    Returns name to ``kind``, ``file``, ``unpacks``, ``into`` (what it is unpacked into, below the
    release's directory), and either ``sha256`` and ``stored``, or ``builds``, which maps a
    processor to these two.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_release.on_host '{...}' data
    """
    known: dict[str, Data] = {}
    for name, artifact in needed(release, [role]).items():
        own = {"sha256": artifact.get("sha256"), "stored": artifact["stored"]}
        facts: Data = {key: artifact.get(key) for key in _KEYS}
        own_folder = artifact["kind"] in _IN_A_FOLDER
        facts["into"] = artifact["unpacks"].partition("/")[0] if own_folder else ""
        cpu = artifact.get("cpu")
        if cpu:
            facts |= {"sha256": None, "stored": None, "builds": {}}
            known.setdefault(family(name, artifact), facts)["builds"][cpu] = own
        else:
            known[name] = facts | own | {"builds": None}
    return known
