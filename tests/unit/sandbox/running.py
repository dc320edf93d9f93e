"""Programs under test, and the consul agents they talk to."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_DEADLINE = 20.0


# Below the ephemeral range, so that no outgoing connection takes one; elsewhere for another run.
_CANDIDATES = iter(range(20000 + os.getpid() % 100 * 100, 32000))


def free_ports(count: int) -> list[int]:
    """Find ports that nothing listens on, on any address; never the same twice."""
    found: list[int] = []
    for port in _CANDIDATES:
        with (
            closing(socket.socket(socket.AF_INET6)) as tcp,
            closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as udp,
        ):
            try:
                tcp.bind(("::", port))
                udp.bind(("", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    raise RuntimeError("no free ports")


class Program:
    """A running program and every line that it wrote so far."""

    def __init__(self, command: Sequence[object], cwd: Path, **environment: str) -> None:
        # A packed program unpacks itself there, and leaves that behind when it is killed.
        self._scratch = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={"PATH": "/usr/bin:/bin", "TMPDIR": self._scratch.name, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line)
                self._news.notify_all()

    @property
    def output(self) -> str:
        """Everything that it wrote so far."""
        return "".join(self.lines)

    def says(self, text: str) -> None:
        """Wait for a text in its output."""
        with self._news:
            assert self._news.wait_for(lambda: text in self.output, _DEADLINE), self.output

    def ends(self) -> int:
        """Wait for its end and give its exit status; its output is complete then."""
        status = self.process.wait(_DEADLINE)
        self._reader.join(_DEADLINE)
        return status

    def told_to_stop(self) -> int:
        """Send SIGTERM to the main process alone, as systemd does."""
        self.process.send_signal(signal.SIGTERM)
        return self.ends()

    def end(self) -> None:
        """End it however it is."""
        self.process.kill()
        self.ends()
        self._scratch.cleanup()


def call(method: str, port: int, path: str, body: str | None = None) -> tuple[int, str]:
    """Make one HTTP request to this machine."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=_DEADLINE)) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


class Consul:
    """The real consul, one server in memory."""

    def __init__(self, port: int) -> None:
        self.port = port

    def put(self, path: str, value: Any = "") -> None:
        """Put a text, or JSON of anything else."""
        text = value if isinstance(value, str) else json.dumps(value)
        assert call("PUT", self.port, path, text)[0] == http.client.OK

    def services(self) -> dict[str, Any]:
        """Read the services of the agent, by id."""
        found: dict[str, Any] = json.loads(call("GET", self.port, "/v1/agent/services")[1])
        return found

    def wait_passing(self, service: str) -> dict[str, Any]:
        """Wait until the one instance of a service passes; give its check."""
        index = "0"
        while True:
            path = f"/v1/health/checks/{service}?index={index}&wait={_DEADLINE:.0f}s"
            address = f"http://127.0.0.1:{self.port}{path}"
            # Answers when something changes after this index.
            with urllib.request.urlopen(address, timeout=2 * _DEADLINE) as answer:
                found = json.load(answer)
                assert answer.headers["X-Consul-Index"] != index, f"{service}: {found}"
                index = answer.headers["X-Consul-Index"]
            if [check["Status"] for check in found] == ["passing"]:
                only: dict[str, Any] = found[0]
                return only


class ScriptedConsul:
    """An agent that keeps what it is asked and answers as a test wants."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.carriers: list[dict[str, Any]] = []
        self.kv: dict[str, str] = {}
        self.on_register: Callable[[], None] = lambda: None
        self._news = threading.Condition()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer._take(self)

            do_PUT = do_GET  # noqa: N815  http.server's name

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _take(self, handler: BaseHTTPRequestHandler) -> None:
        sent = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if handler.path.endswith("/register"):
            self.on_register()
        with self._news:
            self.requests.append((handler.command, handler.path, json.loads(sent or "null")))
            self._news.notify_all()
        answer = b""
        if handler.path.startswith("/v1/agent/services"):
            answer = json.dumps({carrier["ID"]: carrier for carrier in self.carriers}).encode()
        elif handler.path.startswith("/v1/kv/"):
            answer = self.kv[handler.path[len("/v1/kv/") :].partition("?")[0]].encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(answer)))
        handler.end_headers()
        handler.wfile.write(answer)

    def count(self, part: str) -> int:
        """Count the requests with this in their path."""
        return sum(part in path for _, path, _ in self.requests)

    def body(self, part: str) -> Any:
        """Wait for a request with this in its path; give what it sent."""

        def found() -> list[Any]:
            return [body for _, path, body in self.requests if part in path]

        with self._news:
            assert self._news.wait_for(found, _DEADLINE), self.requests
            return found()[0]

    def asked_again(self, part: str, seconds: float) -> bool:
        """Tell whether a further such request comes within a time."""
        before = self.count(part)
        with self._news:
            return self._news.wait_for(lambda: self.count(part) > before, seconds)

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()


def health(port: int, service: str) -> int:
    """Ask the gRPC health service, waiting for the port to open."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        request = health_pb2.HealthCheckRequest(service=service)
        answer = stub.Check(request, wait_for_ready=True, timeout=_DEADLINE)
    status: int = answer.status
    return status


Start = Callable[..., Program]
SERVING: int = health_pb2.HealthCheckResponse.SERVING
