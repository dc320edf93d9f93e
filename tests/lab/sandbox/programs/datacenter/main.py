"""The data center: carrier needs no more of it than a completed gRPC connection."""

import argparse
import logging
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_LOG = logging.getLogger(__name__)
_GRACE = 2.0
_ENDING = {signal.SIGTERM, signal.SIGINT}


def main(arguments: Sequence[str], version: str) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        arguments: the command line without the program's name.
        version: the version of this build.

    Returns:
        The exit status: 1 if the port cannot be had.
    """
    parser = argparse.ArgumentParser(prog="datacenter", description=__doc__)
    parser.add_argument("--version", action="version", version=f"datacenter version {version}")
    parser.add_argument("--port", type=int, default=9090, help="on all addresses (default: 9090)")
    port = parser.parse_args(arguments).port
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")

    # Waited for below, and never handled: a handler that wakes a waiting thread deadlocks now and
    # then when two signals come at once, as systemd's and the loader's do.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    try:
        server.add_insecure_port(f"0.0.0.0:{port}")
    except RuntimeError as error:
        _LOG.error("cannot listen on port %s: %s", port, error)
        return 1
    server.start()
    _LOG.info("listening on port %s", port)
    signal.sigwait(_ENDING)
    server.stop(_GRACE).wait()
    return 0
