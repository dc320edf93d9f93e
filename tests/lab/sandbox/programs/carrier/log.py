"""Log lines in the form of the real program's (logrus text)."""

import json
import logging
import sys
import time

from .settings import VERBOSITIES, Settings

_LEVELS = {5: "trace", 10: "debug", 20: "info", 30: "warning", 40: "error", 50: "fatal"}


class _Formatter(logging.Formatter):
    def __init__(self, *, callers: bool) -> None:
        super().__init__()
        self._callers = callers

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))
        message = json.dumps(record.getMessage(), ensure_ascii=False)
        line = f'time="{moment}" level={_LEVELS[record.levelno]} msg={message}'
        if self._callers:
            line += f" file={record.filename}:{record.lineno}"
        return line


def configure(settings: Settings) -> None:
    """Send log lines to standard error.

    Args:
        settings: of these, ``verbosity`` and ``debug`` (adds file and line).
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(callers=settings["debug"]))
    logging.basicConfig(handlers=[handler], level=VERBOSITIES[settings["verbosity"]], force=True)
