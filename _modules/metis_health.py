"""
Health of what does not report to consul: web servers and Ice endpoints.
"""

import hashlib
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import requests
import requests.adapters
import salt.exceptions

__virtualname__ = "metis_health"

TIMEOUT = 5
PAUSE = 0.1


class _Pinned(requests.adapters.HTTPAdapter):
    """Takes the server that has one certificate, whoever issued it, and no other."""

    def __init__(self, fingerprint: str) -> None:
        self._fingerprint = fingerprint
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, assert_fingerprint=self._fingerprint, **kwargs)


def http(url: str, body: str = "", certificate: str | None = None) -> str:
    """
    Ask a web server.

    url
        Where.
    body
        What the answer must hold.
    certificate
        For ``https``: the file with the server's own certificate, which it has to show.

    Returns ``""`` when it answered 200 with that body, and else what was wrong.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_health.http http://10.77.0.12/metis-admin/health Hello
    """
    try:
        with requests.Session() as session:
            if certificate:
                pin = __salt__["metis_certificates.fingerprint"](certificate)
                session.mount("https://", _Pinned(pin))
            answer = session.get(url, timeout=TIMEOUT, verify=not certificate)
    except salt.exceptions.CommandExecutionError as err:
        return str(err)
    except requests.Timeout:
        return f"{url} does not answer in {TIMEOUT} s"
    except requests.exceptions.SSLError:
        return f"{url} does not show the certificate of {certificate}"
    except requests.RequestException:
        return f"{url} cannot be reached"
    if answer.status_code != 200:
        return f"{url} answers {answer.status_code}"
    return "" if body in answer.text else f"{url} answers without {body!r}"


def ice(address: str, port: int, certificate: str | None = None) -> str:
    """
    Ask an Ice endpoint: a server greets each connection with a message that starts with ``IceP``
    (Ice protocol, ValidateConnection), so this tells Ice from a port that is merely open.

    address, port
        Where.
    certificate
        For ``ssl``: the file with the server's own certificate, which it has to show.

    Returns ``""`` when it greeted, and else what was wrong.

    CLI Example:

    .. code-block:: bash

        salt demo3 metis_health.ice 10.77.0.13 10031
    """
    place = f"Ice endpoint {address}:{port}"
    try:
        with socket.create_connection((address, port), TIMEOUT) as plain:
            connection = _secured(plain, certificate) if certificate else plain
            connection.settimeout(TIMEOUT)
            # A socket with a timeout gives what is there; this reads on until it has four bytes.
            with connection.makefile("rb") as stream:
                greeting = stream.read(4)
    except salt.exceptions.CommandExecutionError as err:
        return f"{place}: {err}"
    except TimeoutError:
        return f"{place} does not answer in {TIMEOUT} s"
    except ssl.SSLError as err:
        return f"{place} does not speak TLS: {err.reason}"
    except OSError as err:
        return f"{place}: {err.strerror or err}"
    return "" if greeting == b"IceP" else f"{place} does not greet as Ice does"


def _secured(plain: socket.socket, certificate: str) -> ssl.SSLSocket:
    """A TLS connection to the server that has a certificate, whoever issued it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Not by an issuer and a name, but by the very certificate, below.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = context.wrap_socket(plain)
    shown = hashlib.sha256(connection.getpeercert(binary_form=True) or b"").hexdigest()
    if shown != __salt__["metis_certificates.fingerprint"](certificate):
        raise salt.exceptions.CommandExecutionError(f"does not show the certificate {certificate}")
    return connection


def _wait(look: Callable[[], str], timeout: float) -> str:
    # A closed port cannot be waited on, only asked again.
    end = time.monotonic() + timeout
    while (wrong := look()) and time.monotonic() < end:
        time.sleep(PAUSE)
    return wrong


def wait_for_http(url: str, body: str, timeout: float, certificate: str | None = None) -> str:
    """
    As ``http``, asked again until it is well or ``timeout`` seconds are over.

    CLI Example:

    .. code-block:: bash

        salt demo2 metis_health.wait_for_http http://10.77.0.12/metis-admin/health Hello 30
    """
    return _wait(lambda: http(url, body, certificate), timeout)


def wait_for_ice(address: str, port: int, timeout: float, certificate: str | None = None) -> str:
    """
    As ``ice``, asked again until it is well or ``timeout`` seconds are over.

    CLI Example:

    .. code-block:: bash

        salt demo3 metis_health.wait_for_ice 10.77.0.13 10031 30
    """
    return _wait(lambda: ice(address, port, certificate), timeout)
