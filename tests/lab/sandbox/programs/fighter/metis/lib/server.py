"""The fighter's gRPC server: health, and the one call of the business that a probe can make."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import empty_pb2, struct_pb2
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

_LOG = logging.getLogger(__name__)
_GRACE = 5.0
_PROVIDERS = {"data": "datasvc.DataProvider", "compute": "computesvc.ComputeProvider"}
_KEYS = (
    "code_root_dir",
    "results_root_dir",
    "task_port_range",
    "total_bandwidth",
    "pass_via",
    "certs",
    "channel_log_level",
)
_KEYS_OF_DATA = ("data_root", "chunk_size")


class Server:
    """The server; its port opens with `start`.

    Args:
        kind: ``data`` or ``compute``.
        config: the configuration. What is missing fails the call that needs it.
        carrier: says where carrier is, for the status.
    """

    def __init__(
        self, kind: str, config: dict[str, Any], carrier: Callable[[], str | None]
    ) -> None:
        self._kind = kind
        self._config = config
        self._carrier = carrier
        self._health = health.HealthServicer()
        pool = ThreadPoolExecutor(int(config["thread_pool_size"]))
        # Without this two fighters would share a port and half of the calls.
        self._server = grpc.server(pool, options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        status = grpc.unary_unary_rpc_method_handler(
            self._status, empty_pb2.Empty.FromString, struct_pb2.Struct.SerializeToString
        )
        handler = grpc.method_handlers_generic_handler(_PROVIDERS[kind], {"GetStatus": status})
        self._server.add_generic_rpc_handlers((handler,))

    def _status(self, request: Any, context: grpc.ServicerContext) -> struct_pb2.Struct:
        keys = _KEYS + (_KEYS_OF_DATA if self._kind == "data" else ())
        status = struct_pb2.Struct()
        status.update({key: self._config[key] for key in keys})
        status.update({"carrier": self._carrier()})
        return status

    def start(self, service: str) -> None:
        """Open the port, on all addresses.

        Args:
            service: the name that the health check asks for.

        Raises:
            RuntimeError: the port cannot be had.
        """
        self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._server.add_insecure_port(f"[::]:{self._config['port']}")
        self._server.start()
        _LOG.info("%s serves on port %s", service, self._config["port"])

    def stop(self) -> None:
        """Take no new call and give those that run some seconds."""
        self._server.stop(_GRACE).wait()
