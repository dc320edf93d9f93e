"""How a program starts and ends that PyInstaller packed into one file."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

_PR_SET_PDEATHSIG = 1


def run(main: Callable[[Sequence[str], str], int], version: str) -> NoReturn:
    """Run a program as the one process that it stands in for.

    The packed file is two processes, a loader and its child. The loader hands signals on; only
    SIGKILL it cannot, and a port held by an orphan is nothing that the real program could leave.

    Args:
        main: takes the arguments and the version; gives the exit status.
        version: of this build.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    status = main(sys.argv[1:], version)
    sys.stdout.flush()
    sys.stderr.flush()
    # Waits for no thread that still serves a client, as a Go program does not either.
    os._exit(status)
