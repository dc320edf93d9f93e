import logging
import os
import sys
import threading

import pytest
import salt._logging

# The lab of the fleet, for the folders that need it; nothing is booted before a test asks for it.
pytest_plugins = ["tests.fleet.fixtures"]

_exit_status = 0


def pytest_configure() -> None:
    # Salt keeps log records for a logging that is never set up here, and would print them at exit,
    # after pytest's summary, or complain that the stream for them is closed.
    salt._logging.shutdown_temp_handler()
    # It also lets every record through, and a test that fails would show thousands.
    logging.getLogger().setLevel(logging.WARNING)


def pytest_sessionfinish(exitstatus: int) -> None:
    global _exit_status
    _exit_status = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    # The event listener of pytest-salt-factories 1.0.5 now and then misses its own order to stop,
    # and its thread would keep the process from ending, for ever.
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(5)
            if thread.is_alive():
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(_exit_status)
