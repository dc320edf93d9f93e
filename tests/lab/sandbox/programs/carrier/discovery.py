"""Consul as carrier uses it: the agent's own list of services, the KV, one registration."""

import fcntl
import http.client
import json
import socket
import struct
import urllib.parse
from typing import Any

from .settings import Settings

_TIMEOUT = 5.0
_SIOCGIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8915
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8


class DiscoveryError(Exception):
    """Consul did not give what carrier needs. Fatal at start."""


def own_address() -> str:
    """Find the address to register: of the first interface that is up and no loopback.

    Returns:
        Its IPv4 address. It has nothing to do with ``rpc-host``.

    Raises:
        DiscoveryError: there is none.
    """
    try:
        interfaces = socket.if_nameindex()
    except OSError as error:  # a sandbox without netlink
        raise DiscoveryError(f"cannot list the interfaces: {error}") from error
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in interfaces:
            request = struct.pack("16s240x", name.encode())
            try:
                answer = fcntl.ioctl(probe, _SIOCGIFFLAGS, request)
                (flags,) = struct.unpack("16xH", answer[:18])
                if not flags & _IFF_UP or flags & _IFF_LOOPBACK:
                    continue
                return socket.inet_ntoa(fcntl.ioctl(probe, _SIOCGIFADDR, request)[20:24])
            except OSError:  # gone meanwhile, or without an IPv4 address: look at the next one
                continue
    raise DiscoveryError("no interface is up that has an IPv4 address")


class Discovery:
    """One consul agent.

    Args:
        settings: of these, the ``discovery-*`` flags and ``rpc-port``.
        address: what to register, see `own_address`.
    """

    def __init__(self, settings: Settings, address: str) -> None:
        self._settings = settings
        self._address = address
        self._default_id = f"{settings['discovery-service-name']}_{address}_{settings['rpc-port']}"

    def _call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        host, port = self._settings["discovery-server-ip"], self._settings["discovery-server-port"]
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise DiscoveryError(f"consul {host}:{port}: {method} {path}: {error}") from error
        finally:
            connection.close()

    def require_unique(self) -> None:
        """Refuse to be the second carrier of this agent; a stale registration counts too.

        Raises:
            DiscoveryError: a service with the tag stands there, or consul does not answer.
        """
        expression = urllib.parse.quote("carrier in Tags")
        status, body = self._call("GET", f"/v1/agent/services?filter={expression}")
        if status != http.client.OK:
            raise DiscoveryError(f"query of the services failed: HTTP {status}: {body.decode()}")
        if found := sorted(json.loads(body)):
            raise DiscoveryError(f"carrier service must be unique, found: {', '.join(found)}")

    def address_in_kv(self, key: str) -> tuple[str, str]:
        """Read an address from the KV.

        Args:
            key: where a value ``<host>_<port>`` should stand.

        Returns:
            Host and port.

        Raises:
            DiscoveryError: there is no such value, or consul does not answer.
        """
        status, body = self._call("GET", f"/v1/kv/{key}?raw")
        if status != http.client.OK:
            raise DiscoveryError(f"query of {key} failed: HTTP {status}: {body.decode()}")
        parts = body.decode(errors="replace").split("_")
        if len(parts) != 2:
            raise DiscoveryError(f"{key} is {body!r} and not of the form <ip>_<port>")
        return parts[0], parts[1]

    def register(self) -> str:
        """Register this carrier.

        Returns:
            The service's id.

        Raises:
            DiscoveryError: consul does not take it.
        """
        settings = self._settings
        target = f"{self._address}:{settings['rpc-port']}"
        name = settings["discovery-service-name"]
        service_id: str = settings["discovery-service-id"] or self._default_id
        registration = {
            "ID": service_id,
            "Name": name,
            "Tags": settings["discovery-service-tags"],
            "Address": self._address,
            "Port": settings["rpc-port"],
            "Check": {
                "GRPC": f"{target}/{name}",
                "Interval": f"{settings['discovery-service-health-check-interval']}ms",
                "DeregisterCriticalServiceAfter": (
                    f"{settings['discovery-service-health-check-deregister']}ms"
                ),
            },
        }
        status, body = self._call("PUT", "/v1/agent/service/register", registration)
        if status != http.client.OK:
            raise DiscoveryError(f"registration failed: HTTP {status}: {body.decode()}")
        return service_id

    def deregister(self) -> None:
        """Remove the registration under the *default* id, whatever id was registered.

        Raises:
            DiscoveryError: consul does not answer.
        """
        self._call("PUT", f"/v1/agent/service/deregister/{self._default_id}")
