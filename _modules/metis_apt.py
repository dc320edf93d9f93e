"""
What Debian's apt would remove: asked by simulation, which changes nothing.
"""

import re

import salt.exceptions

__virtualname__ = "metis_apt"

TIMEOUT = 120


def _apt(*arguments: str) -> str:
    done = __salt__["cmd.run_all"](
        ["apt-get", "--simulate", "--quiet", *arguments],
        python_shell=False,
        env={"LC_ALL": "C"},
        timeout=TIMEOUT,
        ignore_retcode=True,
    )
    if done["retcode"]:
        said = done["stderr"] or done["stdout"]
        raise salt.exceptions.CommandExecutionError(
            f"apt-get {' '.join(arguments)} cannot be simulated: {said}"
        )
    text: str = done["stdout"]
    return text


def _removals(text: str) -> set[str]:
    return set(re.findall(r"^(?:Remv|Purg) (\S+)", text, re.MULTILINE))


def purgeable(own: list[str]) -> dict[str, list[str]]:
    """
    Which packages can go, with what came with them and nobody needs any more.

    own
        Installed packages.

    Returns ``packages``, and ``needed``: a text for each of ``own`` that somebody else needs.

    Raises ``CommandExecutionError`` where apt does not say.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_apt.purgeable '[nginx-light]'
    """
    if not own:
        return {"packages": [], "needed": []}
    listed = __salt__["cmd.run_all"](
        ["apt-mark", "showmanual"], python_shell=False, timeout=TIMEOUT, ignore_retcode=True
    )
    if listed["retcode"]:
        raise salt.exceptions.CommandExecutionError(f"apt-mark failed: {listed['stderr']}")
    # Somebody asked for these.
    manual = set(listed["stdout"].split()) - set(own)
    needed = []
    free = []
    alone = not manual & _removals(_apt("remove", *own))
    for name in own:
        users = set() if alone else manual & _removals(_apt("remove", name))
        if users:
            needed.append(f"package {name} is needed by {', '.join(sorted(users))}")
        else:
            free.append(name)
    if not free:
        return {"packages": [], "needed": needed}
    loose = _removals(_apt("autoremove"))
    gone = _removals(_apt("autoremove", "--purge", *free)) - loose
    return {"packages": sorted(gone), "needed": needed}
