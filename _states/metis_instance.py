"""
The instances of a host, looked at.
"""

from typing import Any

__virtualname__ = "metis_instance"

State = dict[str, Any]


def seen(name: str) -> State:
    """
    Look at every instance of the host's view. Changes nothing and demands nothing: what it sees is
    for the verb, which reads ``instances`` of what this returns, as ``metis_instance.status`` does.

    name
        What the state is called.
    """
    instances = __salt__["metis_instance.status"](seen=__pillar__["metis"])
    well = sum(1 for instance in instances if instance["healthy"])
    comment = f"{well} of {len(instances)} instances are healthy"
    return {"name": name, "result": True, "changes": {}, "comment": comment, "instances": instances}
