"""A fighter's start, its life and its end; the same for both kinds."""

import importlib
import logging
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import requests

_LOG = logging.getLogger(__name__)
_POLL = 3.0
_CLEAN = 1.0
_ENDING = {signal.SIGTERM, signal.SIGINT}

# Loaded and never used: without the SDK no fighter starts.
importlib.import_module("channel_sdk.grpc")
# As in the real one, whose modules import each other without the package's name: the package's
# folder comes last in the path, so that a `config.py`, `common` or `lib` in the working directory
# takes their place and breaks the service.
sys.path.append(str(Path(__file__).parent))
_config = importlib.import_module("config")
_registry = importlib.import_module("common.registry")
_server = importlib.import_module("lib.server")


class _Fighter:
    def __init__(self, kind: str, config: dict[str, Any]) -> None:
        self._config = config
        self._carrier: str | None = config.get("schedule_svc")
        self._stop = threading.Event()
        self._registry: Any = None
        if config["use_consul"]:
            port = int(config["port"])
            self._registry = _registry.Registry(config["consul"], config["bind_ip"], port)
        self._server = _server.Server(kind, config, lambda: self._carrier)

    def _follow_carrier(self) -> None:
        # An error ends this thread for good, and the fighter lives on without it.
        while not self._stop.wait(_POLL):
            carrier = self._registry.carrier()
            if carrier != self._carrier:
                _LOG.info("carrier is now %s", carrier)
                self._carrier = carrier

    def _clean_tasks(self) -> None:
        while not self._stop.wait(_CLEAN):
            continue  # no task ever ran here

    def run(self) -> None:
        # Waited for below, and never handled: a handler cannot safely wake threads.
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        if self._registry:
            self._registry.register()
            threading.Thread(target=self._follow_carrier, name="carrier", daemon=True).start()
        self._server.start(self._config["consul"]["name"])
        cleaner = threading.Thread(target=self._clean_tasks, name="task-clean", daemon=True)
        cleaner.start()
        signal.sigwait(_ENDING)
        self._stop.set()
        _LOG.info("stopping")
        self._server.stop()
        if self._registry:
            try:
                self._registry.deregister()
            except requests.RequestException as error:
                _LOG.error("could not deregister: %s", error)
        cleaner.join()


def run(kind: str) -> None:
    """Run a fighter until it is told to stop. Whatever fails at the start ends it with status 1.

    Args:
        kind: ``data`` or ``compute``.
    """
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stdout,
    )
    _Fighter(kind, _config.load(sys.argv[1:])).run()
