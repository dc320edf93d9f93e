"""
The tasks that a fighter runs: its program forks a process for each (service-contract 6).
"""

import contextlib
import os
import select
import time

import psutil

__virtualname__ = "metis_tasks"


def running(unit: str) -> list[int]:
    """
    The processes of the tasks that run now.

    unit
        The fighter's unit, with its suffix.

    CLI Example:

    .. code-block:: bash

        salt demo4 metis_tasks.running metis-data@8700.service
    """
    main = __salt__["metis_unit.facts"]([unit])[unit]["pid"]
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        # What a task starts ends with it, and one that has ended waits for the fighter to notice.
        for process in psutil.Process(main).children() if main else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process.pid)
    return found


def wait(unit: str, timeout: float) -> int:
    """
    Wait for running tasks to end, those that begin meanwhile too.

    unit
        The fighter's unit, with its suffix.
    timeout
        Seconds.

    Returns how many run still.

    CLI Example:

    .. code-block:: bash

        salt demo4 metis_tasks.wait metis-data@8700.service 60
    """
    end = time.monotonic() + timeout
    while (tasks := running(unit)) and (left := end - time.monotonic()) > 0:
        _wait_for_end(tasks[0], left)
    return len(tasks)


def _wait_for_end(pid: int, timeout: float) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        select.select([process], [], [], timeout)
    finally:
        os.close(process)
