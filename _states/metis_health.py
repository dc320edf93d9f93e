"""
Gates of what does not report to consul: web servers and Ice endpoints.
"""

from collections.abc import Callable
from typing import Any

__virtualname__ = "metis_health"

State = dict[str, Any]


def _gate(name: str, unit: str, look: Callable[[float], str], timeout: float) -> State:
    ret = {"name": name, "result": True, "changes": {}, "comment": "answers as it should"}
    wrong = __salt__["metis_unit.wait"](unit, look, 0 if __opts__["test"] else timeout)
    if not wrong:
        return ret
    if __opts__["test"]:
        return ret | {"result": None, "comment": f"would be waited for: {wrong}"}
    return ret | {"result": False, "comment": __salt__["metis_unit.explain"](wrong, unit)}


def answers_http(
    name: str,
    url: str,
    body: str,
    unit: str,
    certificate: str | None = None,
    timeout: float = 60,
) -> State:
    """
    A web server answers 200 with what is expected.

    name
        What the state is called.
    url
        Where.
    body
        What the answer must hold.
    unit
        Whose journal explains a failure.
    certificate
        For ``https``: the file with the server's own certificate, which it has to show.
    timeout
        Seconds.
    """

    def look(left: float) -> str:
        return __salt__["metis_health.wait_for_http"](url, body, left, certificate)

    return _gate(name, unit, look, timeout)


def answers_ice(
    name: str,
    address: str,
    port: int,
    unit: str,
    certificate: str | None = None,
    timeout: float = 60,
) -> State:
    """
    An Ice endpoint greets a new connection.

    name
        What the state is called.
    address, port
        Where.
    unit
        Whose journal explains a failure.
    certificate
        For ``ssl``: the file with the server's own certificate, which it has to show.
    timeout
        Seconds.
    """

    def look(left: float) -> str:
        return __salt__["metis_health.wait_for_ice"](address, port, left, certificate)

    return _gate(name, unit, look, timeout)
