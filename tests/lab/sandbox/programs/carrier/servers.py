"""What carrier listens on: gRPC, REST gateway, pprof, p2p over TCP and discovery over UDP."""

import json
import logging
import socketserver
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

import grpc
from grpc_health.v1 import health_pb2

from .settings import Settings

_LOG = logging.getLogger(__name__)
_SERVING = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)
# libp2p's listeners open with this (length, protocol, newline).
_MULTISTREAM = b"\x13/multistream/1.0.0\n"
# GracefulStop has no limit in the real program: an open stream holds it until systemd's patience
# ends. grpcio wants a number.
_GRACE = 86400.0


class Server(Protocol):
    """Something that listens until it is stopped."""

    def stop(self) -> None:
        """Close the port."""


_Factory = Callable[[str, int], Server]


def _check(request: Any, context: grpc.ServicerContext) -> Any:
    return _SERVING


def _watch(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
    ended = threading.Event()
    if context.add_callback(ended.set):
        yield _SERVING
        ended.wait()


def _health() -> grpc.GenericRpcHandler:
    """Say serving, whatever service is asked for."""
    asked = health_pb2.HealthCheckRequest.FromString
    answered = health_pb2.HealthCheckResponse.SerializeToString
    return grpc.method_handlers_generic_handler(
        "grpc.health.v1.Health",
        {
            "Check": grpc.unary_unary_rpc_method_handler(_check, asked, answered),
            "Watch": grpc.unary_stream_rpc_method_handler(_watch, asked, answered),
        },
    )


class _Rpc:
    def __init__(self, host: str, port: int) -> None:
        # Without this a second carrier would share the port instead of being refused.
        self._server = grpc.server(ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_health(),))
        self._server.add_insecure_port(f"{host}:{port}")
        self._server.start()

    def stop(self) -> None:
        self._server.stop(_GRACE).wait()


class _Threaded:
    def __init__(self, server: socketserver.BaseServer) -> None:
        self._server = server
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _threaded(kind: Callable[..., socketserver.BaseServer], handler: type) -> _Factory:
    return lambda host, port: _Threaded(kind((host, port), handler))


class _Http(BaseHTTPRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: Any) -> None:
        _LOG.debug(format, *args)

    def _answer(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Gateway(_Http):
    """As a grpc-gateway without a matching route."""

    def do_GET(self) -> None:
        nothing = {"code": 5, "message": "Not Found", "details": []}
        self._answer(404, "application/json", json.dumps(nothing))

    do_POST = do_GET  # noqa: N815  http.server's name


class _Pprof(_Http):
    def do_GET(self) -> None:
        if not self.path.startswith("/debug/pprof/"):
            self._answer(404, "text/plain", "404 page not found\n")
            return
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        stacks = [
            f"{names.get(ident)}\n{''.join(traceback.format_stack(frame))}"
            for ident, frame in sys._current_frames().items()
        ]
        self._answer(200, "text/plain; charset=utf-8", "\n".join(stacks))


class _PeerHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.settimeout(60)
        try:
            self.request.sendall(_MULTISTREAM)
            while self.request.recv(4096):
                continue
        except OSError as error:
            _LOG.debug("peer %s: %s", self.client_address, error)


class _Peers(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _DatagramHandler(socketserver.BaseRequestHandler):
    """discv5 drops what it cannot decrypt; nothing can be here."""

    def handle(self) -> None:
        _LOG.log(5, "dropped a datagram from %s", self.client_address)


class Ports:
    """Everything that carrier listens on.

    A port that cannot be had is logged and no more: the real program drops these errors too, and
    stays up without it.

    Args:
        settings: every flag.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Server] = {}

    def _try(self, name: str, host: str, port: int, server: _Factory) -> None:
        try:
            self._open[name] = server(host, port)
        except (OSError, RuntimeError) as error:  # grpcio raises RuntimeError
            _LOG.error("could not listen for %s on %s:%s: %s", name, host, port, error)
        else:
            _LOG.info("listening for %s on %s:%s", name, host, port)

    def open(self) -> None:
        """Open the ports that the settings ask for."""
        settings = self._settings
        self._try("rpc", settings["rpc-host"], settings["rpc-port"], _Rpc)
        if not settings["disable-grpc-gateway"]:
            host, port = settings["grpc-gateway-host"], settings["grpc-gateway-port"]
            self._try("gateway", host, port, _threaded(ThreadingHTTPServer, _Gateway))
        if settings["pprof"]:
            host, port = settings["pprof-addr"], settings["pprof-port"]
            self._try("pprof", host, port, _threaded(ThreadingHTTPServer, _Pprof))
        host = settings["p2p-local-ip"] or "0.0.0.0"  # a node of a public network
        self._try("p2p", host, settings["p2p-tcp-port"], _threaded(_Peers, _PeerHandler))
        if not settings["no-discovery"]:
            udp = _threaded(socketserver.UDPServer, _DatagramHandler)
            self._try("discovery", host, settings["p2p-udp-port"], udp)

    def close(self, *names: str) -> None:
        """Close ports, one after the other.

        Args:
            names: which, in this order; one that is not open is passed over.
        """
        for name in names:
            if server := self._open.pop(name, None):
                server.stop()
