"""A fighter's registration with one consul agent, and its look-out for carrier there."""

import logging
from typing import Any

import requests

_LOG = logging.getLogger(__name__)
_TIMEOUT = 5.0


def _duration(value: Any) -> str:
    return f"{value}s" if isinstance(value, int) else str(value)


class Registry:
    """One consul agent.

    Args:
        consul: the section ``consul`` of the configuration; every key of it is required.
        bind_ip: the address to register; nothing listens on it in particular.
        port: of the gRPC server.
    """

    def __init__(self, consul: dict[str, Any], bind_ip: str, port: int) -> None:
        self._agent = f"http://{consul['service_ip']}:{consul['service_port']}/v1/agent"
        name = consul["name"]
        self.service_id = f"{name}_{bind_ip}_{port}"
        self._registration = {
            "ID": self.service_id,
            "Name": name,
            "Tags": [consul["tag"]],
            "Address": bind_ip,
            "Port": port,
            "Check": {
                "GRPC": f"{bind_ip}:{port}/{name}",
                "Interval": _duration(consul["interval"]),
                "DeregisterCriticalServiceAfter": _duration(consul["deregister"]),
            },
        }

    def register(self) -> None:
        """Register this fighter, once and for all.

        Raises:
            requests.RequestException: consul does not take it; there is no second attempt.
        """
        url = f"{self._agent}/service/register"
        requests.put(url, json=self._registration, timeout=_TIMEOUT).raise_for_status()
        _LOG.info("registered with consul as %s", self.service_id)

    def deregister(self) -> None:
        """Take the registration back.

        Raises:
            requests.RequestException: consul does not answer.
        """
        url = f"{self._agent}/service/deregister/{self.service_id}"
        requests.put(url, timeout=_TIMEOUT).raise_for_status()

    def carrier(self) -> str | None:
        """Look for carrier.

        Returns:
            Its address and port; None while there is no carrier.

        Raises:
            requests.RequestException: consul does not answer.
            RuntimeError: there are several.
        """
        query = {"filter": "carrier in Tags"}
        answer = requests.get(f"{self._agent}/services", params=query, timeout=_TIMEOUT)
        answer.raise_for_status()
        found = list(answer.json().values())
        if len(found) > 1:
            raise RuntimeError(f"{len(found)} carriers are registered, there must be one")
        return f"{found[0]['Address']}:{found[0]['Port']}" if found else None
