"""Servers on loopback whose answers are written down beforehand."""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = Callable[[BaseHTTPRequestHandler], None]

# What Ice 3.7's server sends first: ValidateConnection.
ICE_GREETING = b"IceP\x01\x00\x01\x00\x03\x00\x0e\x00\x00\x00"


class Loopback:
    """A web server: gives its answers in order, the last one for ever; keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.asked: list[str] = []
        # The part that each request asked for, empty where it was the whole.
        self.ranges: list[str] = []
        # For answers that wait: set when the test is over.
        self.over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer._answer(self)

            do_PUT = do_GET  # noqa: N815  http.server's name

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        number = len(self.asked)
        self.asked.append(f"{handler.command} {handler.path}")
        self.ranges.append(handler.headers.get("Range", ""))
        handler.close_connection = True
        self.answers[min(number, len(self.answers) - 1)](handler)

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def url(self, path: str = "artifact") -> str:
        """Give the address of something on it."""
        return f"http://127.0.0.1:{self.port}/{path}"

    def stalls(self, answer: Answer) -> Answer:
        """Say nothing more after an answer, and keep the connection."""

        def given(handler: BaseHTTPRequestHandler) -> None:
            answer(handler)
            handler.wfile.flush()
            self.over.wait(10)

        return given

    def close(self) -> None:
        """Stop answering."""
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def gives(body: bytes, status: int = 200, length: int | None = None) -> Answer:
    """Answer with a body.

    Args:
        body: what is sent.
        status: of the answer.
        length: what the answer says of its length, where that is not what it is.
    """

    def given(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        handler.end_headers()
        handler.wfile.write(body)

    return given


def cuts(body: bytes) -> Answer:
    """Answer with the first half of a body and then end the connection."""
    return gives(body[: len(body) // 2], length=len(body))


def cuts_without_a_length(body: bytes) -> Answer:
    """Answer with the first half of a body of which no length is told."""

    def given(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body[: len(body) // 2])

    return given


def cuts_in_a_chunk(body: bytes) -> Answer:
    """Answer in chunks and end the connection within one."""

    def given(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(f"{len(body):x}\r\n".encode() + body[: len(body) // 2])

    return given


def says_nothing(handler: BaseHTTPRequestHandler) -> None:
    """End the connection without a word."""


def serves(body: bytes, cut: int | None = None) -> Answer:
    """Answer as a good server does: with what is asked for of a body.

    Args:
        body: the whole of it.
        cut: bytes after which the connection ends.
    """

    def given(handler: BaseHTTPRequestHandler) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        begin = int(asked[1]) if asked else 0
        if asked and begin >= len(body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.end_headers()
            return
        handler.send_response(206 if asked else 200)
        if asked:
            handler.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - begin))
        handler.end_headers()
        handler.wfile.write(body[begin : None if cut is None else begin + cut])

    return given


def gives_another_part(body: bytes) -> Answer:
    """Answer with a part that nobody asked for."""

    def given(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 1-{len(body) - 1}/{len(body)}")
        handler.send_header("Content-Length", str(len(body) - 1))
        handler.end_headers()
        handler.wfile.write(body[1:])

    return given


def refuses_the_range(handler: BaseHTTPRequestHandler) -> None:
    """Answer that there is no such part, and nothing more."""
    handler.send_response(416)
    handler.end_headers()


def trickles(body: bytes, over: threading.Event) -> Answer:
    """Answer with a byte now and then, so that no single read is a silent one."""

    def given(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for number in range(len(body)):
            handler.wfile.write(body[number : number + 1])
            if over.wait(0.02):
                return

    return given


@contextmanager
def endpoint(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """Give a port whose connections are served one after the other."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def run() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    serve(connection)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(5)
