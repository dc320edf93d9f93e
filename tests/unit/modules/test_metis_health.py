"""Web servers and Ice endpoints: well, wrong, silent, or not there."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_certificates, metis_health
from tests.unit import certificates, loopback
from tests.unit.loopback import ICE_GREETING, Loopback


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metis_health, "TIMEOUT", 0.2)
    monkeypatch.setattr(metis_health, "PAUSE", 0.02)


@pytest.fixture
def closed() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as once:
        port: int = once.getsockname()[1]
        return port


# HTTP


def test_a_web_server_is_well_when_it_says_so(server: Loopback) -> None:
    server.answers = [loopback.gives(b"Hello, Metis-Admin")]
    assert metis_health.http(server.url(), "Metis-Admin") == ""
    assert metis_health.http(server.url()) == ""


def test_another_page_is_not_it(server: Loopback) -> None:
    server.answers = [loopback.gives(b"Welcome to nginx!")]
    assert metis_health.http(server.url(), "Metis-Admin") == (
        f"{server.url()} answers without 'Metis-Admin'"
    )


@pytest.mark.parametrize("status", [404, 502, 503, 204])
def test_another_status_is_not_well(server: Loopback, status: int) -> None:
    server.answers = [loopback.gives(b"", status=status)]
    assert metis_health.http(server.url()) == f"{server.url()} answers {status}"


def test_a_web_server_that_is_not_there(closed: int) -> None:
    url = f"http://127.0.0.1:{closed}/"
    assert metis_health.http(url) == f"{url} cannot be reached"


def test_a_web_server_that_ends_the_connection(server: Loopback) -> None:
    server.answers = [loopback.says_nothing]
    assert metis_health.http(server.url()) == f"{server.url()} cannot be reached"


def test_a_web_server_that_is_silent(server: Loopback) -> None:
    server.answers = [server.stalls(loopback.says_nothing)]
    assert metis_health.http(server.url()) == f"{server.url()} does not answer in 0.2 s"


def test_a_web_server_that_comes_late_is_waited_for(server: Loopback) -> None:
    server.answers = [
        loopback.gives(b"", status=502),
        loopback.gives(b"", status=503),
        loopback.gives(b"Hello, Metis-Admin"),
    ]
    assert metis_health.wait_for_http(server.url(), "Metis-Admin", 10) == ""
    assert len(server.asked) == 3


def test_a_web_server_that_stays_wrong_is_told_at_the_end(server: Loopback) -> None:
    server.answers = [loopback.gives(b"", status=502)]
    begun = time.monotonic()
    assert "answers 502" in metis_health.wait_for_http(server.url(), "", 0.2)
    assert 0.2 <= time.monotonic() - begun < 2
    assert len(server.asked) > 2


def test_without_time_a_web_server_is_asked_once(server: Loopback) -> None:
    server.answers = [loopback.gives(b"", status=502)]
    assert "answers 502" in metis_health.wait_for_http(server.url(), "", 0)
    assert len(server.asked) == 1


# TLS


@pytest.fixture
def configure_loader_modules(tmp_path: Path) -> dict[ModuleType, dict[str, Any]]:
    made = certificates.wired(tmp_path)
    return made | {metis_health: {"__salt__": made[metis_certificates]["__salt__"]}}


class Secured:
    """The files of a server's certificate, and a TLS context with it."""

    def __init__(self, folder: Path, name: str) -> None:
        made = metis_certificates.issued("acme", name, ["IP:127.0.0.1"])
        self.file = str(folder / f"{name}.crt")
        Path(self.file).write_text(made["certificate"])
        key = folder / f"{name}.key"
        key.write_text(made["key"])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.file, key)


@pytest.fixture
def secured(tmp_path: Path) -> Secured:
    return Secured(tmp_path, "admin")


@pytest.fixture
def another(tmp_path: Path) -> Secured:
    return Secured(tmp_path, "other")


def test_a_web_server_shows_its_certificate(
    server: Loopback, secured: Secured, another: Secured
) -> None:
    server.answers = [loopback.gives(b"Hello, Metis-Admin")]
    server.secure(secured.context)
    url = server.url().replace("http:", "https:")
    assert metis_health.http(url, "Metis-Admin", secured.file) == ""
    assert metis_health.wait_for_http(url, "Metis-Admin", 0, secured.file) == ""
    wrong = metis_health.http(url, "Metis-Admin", another.file)
    assert wrong == f"{url} does not show the certificate of {another.file}"
    assert (
        metis_health.http(url, "Metis-Admin", "/none.crt") == "/none.crt: No such file or directory"
    )


def test_a_web_server_without_tls_is_not_well(server: Loopback, secured: Secured) -> None:
    server.answers = [loopback.gives(b"Hello, Metis-Admin")]
    url = server.url().replace("http:", "https:")
    assert metis_health.http(url, "", secured.file).startswith(url)


def test_an_ice_endpoint_shows_its_certificate(secured: Secured, another: Secured) -> None:
    def serve(connection: socket.socket) -> None:
        # A client that does not want this certificate goes away.
        with suppress(OSError), secured.context.wrap_socket(connection, True) as wrapped:
            wrapped.sendall(ICE_GREETING)

    with loopback.endpoint(serve) as port:
        place = f"Ice endpoint 127.0.0.1:{port}"
        assert metis_health.ice("127.0.0.1", port, secured.file) == ""
        assert metis_health.wait_for_ice("127.0.0.1", port, 0, secured.file) == ""
        assert metis_health.ice("127.0.0.1", port, another.file) == (
            f"{place}: does not show the certificate {another.file}"
        )


def test_an_ice_endpoint_without_tls_is_not_well(secured: Secured) -> None:
    with loopback.endpoint(lambda connection: connection.sendall(ICE_GREETING)) as port:
        wrong = metis_health.ice("127.0.0.1", port, secured.file)
    assert wrong.startswith(f"Ice endpoint 127.0.0.1:{port} does not speak TLS")


# Ice


def test_an_ice_endpoint_greets() -> None:
    with loopback.endpoint(lambda connection: connection.sendall(ICE_GREETING)) as port:
        assert metis_health.ice("127.0.0.1", port) == ""
        assert metis_health.wait_for_ice("127.0.0.1", port, 10) == ""


def test_a_greeting_in_pieces_is_one_too() -> None:
    def serve(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in ICE_GREETING[:4]:
            connection.sendall(bytes([byte]))
            time.sleep(0.005)

    with loopback.endpoint(serve) as port:
        assert metis_health.ice("127.0.0.1", port) == ""


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400\r\n", b"Ice", b""])
def test_another_program_does_not_greet_so(greeting: bytes) -> None:
    with loopback.endpoint(lambda connection: connection.sendall(greeting)) as port:
        assert metis_health.ice("127.0.0.1", port) == (
            f"Ice endpoint 127.0.0.1:{port} does not greet as Ice does"
        )


def test_a_port_that_is_open_and_no_more_is_not_well() -> None:
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        over.wait(5)

    with loopback.endpoint(serve) as port:
        wrong = metis_health.ice("127.0.0.1", port)
        over.set()
    assert wrong == f"Ice endpoint 127.0.0.1:{port} does not answer in 0.2 s"


def test_an_ice_endpoint_that_is_not_there(closed: int) -> None:
    wrong = f"Ice endpoint 127.0.0.1:{closed}: Connection refused"
    assert metis_health.ice("127.0.0.1", closed) == wrong
    begun = time.monotonic()
    assert metis_health.wait_for_ice("127.0.0.1", closed, 0.2) == wrong
    assert 0.2 <= time.monotonic() - begun < 2


def test_an_ice_endpoint_that_comes_late_is_waited_for(closed: int) -> None:
    def comes() -> None:
        with socket.create_server(("127.0.0.1", closed)) as listening:
            listening.settimeout(5)
            connection, _ = listening.accept()
            with connection:
                connection.sendall(ICE_GREETING)

    timer = threading.Timer(0.1, comes)
    timer.start()
    assert metis_health.wait_for_ice("127.0.0.1", closed, 5) == ""
    timer.join(5)
