"""
What the runners of ``metis`` show on a terminal: rows as a table, or a text as it is.
"""

from typing import Any

__virtualname__ = "metis_table"


def output(ret: dict[str, Any], **kwargs: Any) -> str:
    """
    Show what a runner returned.

    ret
        ``{"data": ...}``: a text, or a list of mappings with the same keys, which become columns.

    CLI Example:

    .. code-block:: bash

        salt-run metis.status org=demo
    """
    data = ret["data"]
    if isinstance(data, str):
        return data
    columns = list(data[0])
    width = {c: max(len(c), *(len(str(row[c])) for row in data)) for c in columns}
    lines = ["  ".join(c.upper().ljust(width[c]) for c in columns).rstrip()]
    lines += ["  ".join(str(row[c]).ljust(width[c]) for c in columns).rstrip() for row in data]
    return "\n".join(lines)
