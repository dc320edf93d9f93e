"""
Health of what does not report to consul: web servers and Ice endpoints.
"""

import socket
import time
from collections.abc import Callable

import requests

__virtualname__ = "metis_health"

TIMEOUT = 5
PAUSE = 0.1


def http(url: str, body: str = "") -> str:
    """
    Ask a web server.

    url
        Where.
    body
        What the answer must hold.

    Returns ``""`` when it answered 200 with that body, and else what was wrong.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_health.http http://10.77.0.12/metis-admin/health Hello
    """
    try:
        answer = requests.get(url, timeout=TIMEOUT)
    except requests.Timeout:
        return f"{url} does not answer in {TIMEOUT} s"
    except requests.RequestException:
        return f"{url} cannot be reached"
    if answer.status_code != 200:
        return f"{url} answers {answer.status_code}"
    return "" if body in answer.text else f"{url} answers without {body!r}"


def ice(address: str, port: int) -> str:
    """
    Ask an Ice endpoint: a server greets each connection with a message that starts with ``IceP``
    (Ice protocol, ValidateConnection), so this tells Ice from a port that is merely open.

    address, port
        Where.

    Returns ``""`` when it greeted, and else what was wrong.

    CLI Example:

    .. code-block:: bash

        salt demo3 metis_health.ice 10.77.0.13 10031
    """
    place = f"Ice endpoint {address}:{port}"
    try:
        with socket.create_connection((address, port), TIMEOUT) as connection:
            connection.settimeout(TIMEOUT)
            # A socket with a timeout gives what is there; this reads on until it has four bytes.
            with connection.makefile("rb") as stream:
                greeting = stream.read(4)
    except TimeoutError:
        return f"{place} does not answer in {TIMEOUT} s"
    except OSError as err:
        return f"{place}: {err.strerror or err}"
    return "" if greeting == b"IceP" else f"{place} does not greet as Ice does"


def _wait(look: Callable[[], str], timeout: float) -> str:
    # A closed port cannot be waited on, only asked again.
    end = time.monotonic() + timeout
    while (wrong := look()) and time.monotonic() < end:
        time.sleep(PAUSE)
    return wrong


def wait_for_http(url: str, body: str, timeout: float) -> str:
    """
    As ``http``, asked again until it is well or ``timeout`` seconds are over.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_health.wait_for_http http://10.77.0.12/metis-admin/health Hello 30
    """
    return _wait(lambda: http(url, body), timeout)


def wait_for_ice(address: str, port: int, timeout: float) -> str:
    """
    As ``ice``, asked again until it is well or ``timeout`` seconds are over.

    CLI Example:

    .. code-block:: bash

        salt demo3 metis_health.wait_for_ice 10.77.0.13 10031 30
    """
    return _wait(lambda: ice(address, port), timeout)
