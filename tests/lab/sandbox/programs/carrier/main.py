"""Carrier's start, its life and its end."""

import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import grpc

from . import log
from .discovery import Discovery, DiscoveryError, own_address
from .identity import node_key, peer_id
from .servers import Ports
from .settings import FLAGS, ConfigError, Settings, load
from .storage import Storage

_LOG = logging.getLogger(__name__)
_DIAL_TIMEOUT = 2.0
_DATA_CENTER_KEY = "metis/dataCenter_ip_port"


class _Stop:
    """SIGTERM and SIGINT end the node in order; ten more of them end it like a panic."""

    def __init__(self) -> None:
        # A pipe, as a handler cannot safely wake a thread that waits for an event.
        self._wakes, self._wake = os.pipe()
        self._further = -1
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._further += 1
        os.write(self._wake, b".")
        if self._further == 10:
            os._exit(2)

    def wait(self) -> None:
        os.read(self._wakes, 1)


def _dial_data_center(host: str, port: str) -> grpc.Channel:
    """Connect as a blocking gRPC dial does: an open port is not enough, HTTP/2 has to be spoken."""
    channel = grpc.insecure_channel(f"{host}:{port}")
    try:
        grpc.channel_ready_future(channel).result(timeout=_DIAL_TIMEOUT)
    except grpc.FutureTimeoutError as error:
        raise DiscoveryError(
            f"dial to the data center {host}:{port} failed: context deadline exceeded"
        ) from error
    return channel


def _start_backend(settings: Settings) -> tuple[Discovery, grpc.Channel]:
    discovery = Discovery(settings, own_address())
    discovery.require_unique()
    channel = _dial_data_center(*discovery.address_in_kv(_DATA_CENTER_KEY))
    _LOG.info("registered with consul as %s", discovery.register())
    return discovery, channel


def _run(settings: Settings) -> int:
    storage = Storage(Path(settings["datadir"]).absolute())
    node_id = peer_id(node_key(settings["p2p-priv-key"], Path(settings["datadir"])))
    storage.remember(node_id)
    _LOG.info("starting carrier, node %s", node_id)
    if not settings["discovery-server-ip"] or not settings["discovery-server-port"]:
        _LOG.critical("discovery-server-ip and discovery-server-port must not be empty")
        return 1
    stop = _Stop()
    ports = Ports(settings)
    ports.open()
    try:
        discovery, data_center = _start_backend(settings)
    except DiscoveryError as error:
        _LOG.critical("%s", error)
        return 1
    stop.wait()
    _LOG.info("got interrupt, shutting down")
    ports.close("gateway", "rpc")
    try:
        discovery.deregister()
    except DiscoveryError as error:
        _LOG.error("could not deregister: %s", error)
    data_center.close()
    ports.close("p2p", "discovery", "pprof")
    return 0


def main(arguments: Sequence[str], version: str) -> int:
    """Run carrier until it is told to stop.

    Args:
        arguments: the command line without the program's name.
        version: the version of this build.

    Returns:
        The exit status: 0 also where the configuration, the data or the key is bad, as the real
        one only logs these; 1 where consul, the KV or the data center fail it.
    """
    try:
        log.configure(FLAGS)
        settings = load(arguments, version)
        log.configure(settings)
        return _run(settings)
    except ConfigError as error:
        _LOG.error("%s", error)
        return 0
