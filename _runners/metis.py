"""
The operator's read side.
"""

import time
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


def _rows(instances: list[dict[str, Any]], answers: dict[str, Any]) -> list[dict[str, Any]]:
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
                "release": found["version"] or "-",
                "up": _age(found["since"]),
                "registered": found["registration"] or "-",
                "health": "healthy" if found["healthy"] else found["cause"],
            }
            if found["ending"] and found["healthy"]:
                row["health"] += "; its certificate ends soon: run metis.deploy"
            if found["drift"]:
                row["health"] += f"; changed since it started: {', '.join(found['drift'])}"
        rows.append(row)
    return rows


def status(org: str | None = None) -> dict[str, Any]:
    """
    Every instance of an organization as it is now, a row each.

    org
        The organization; may be left out where there is one.

    Returns the rows, as a table; with ``--out json`` or ``--out yaml`` as mappings. A host that
    does not answer has rows with the state ``unknown``. The exit code is 1 then, as it is when
    anything is not healthy.

    CLI Example:

    .. code-block:: bash

        salt-run metis.status org=demo
    """
    try:
        return _status(org)
    except salt.exceptions.CommandExecutionError as err:
        return _shown(str(err), 1)


def _status(org: str | None) -> dict[str, Any]:
    orgs = __salt__["salt.cmd"]("metis_orgs.read")
    request = __salt__["salt.cmd"]("metis_verb.request", {"org": org}, orgs)
    if request["error"]:
        return _shown(request["error"], 1)
    hosts = sorted({instance["host"] for instance in request["instances"]})
    answers = __salt__["salt.cmd"]("metis_fleet.run", hosts, "metis_instance.status", timeout=60)
    rows = _rows(request["instances"], answers)
    retcode = 0 if all(row["health"] == "healthy" for row in rows) else 1
    return _shown(rows, retcode)


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
