"""Commands run for the lab: always with a time limit, failing with words a person can use."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.errors import LabError

_TAIL_LINES = 15


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last lines of `text`, indented, for an error message."""
    kept = text.rstrip().splitlines()[-lines:]
    return "\n".join("    " + line for line in kept)


def run(
    argv: Sequence[str],
    what: str,
    *,
    timeout: float,
    log: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str = "",
) -> str:
    """Run a command to its end.

    Args:
        argv: the command.
        what: what it does, in words, for the error.
        timeout: seconds after which it is killed.
        log: a file that its output is appended to instead of being returned.
        env: variables on top of the present environment.
        stdin: text for its standard input.

    Returns:
        Its standard output; empty with `log`.

    Raises:
        LabError: it is not installed, took too long or exited non-zero.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(env or {})}
    try:
        if log is None:
            done = subprocess.run(
                argv, input=stdin, text=True, capture_output=True, timeout=timeout, env=environment
            )
            output = done.stdout + done.stderr
        else:
            with log.open("a", encoding="utf-8") as sink:
                sink.write(f"$ {' '.join(argv)}\n")
                sink.flush()
                done = subprocess.run(
                    argv,
                    input=stdin,
                    text=True,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    timeout=timeout,
                    env=environment,
                )
            output = ""
    except FileNotFoundError as error:
        raise LabError(f"{what}: the program {argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(_failure(what, f"took longer than {timeout:.0f} s", log, "")) from error
    if done.returncode != 0:
        raise LabError(_failure(what, f"exit code {done.returncode}", log, output))
    return "" if log is not None else done.stdout


def _failure(what: str, cause: str, log: Path | None, output: str) -> str:
    if log is None:
        return f"{what}: {cause}\n{tail(output)}".rstrip()
    text = log.read_text(encoding="utf-8", errors="replace")
    return f"{what}: {cause}; the whole output is in {log}, its end:\n{tail(text)}"


def wait_for_end(pid: int, timeout: float) -> bool:
    """Wait until a process has ended, whoever its parent is.

    Args:
        pid: the process; one that is gone already counts as ended.
        timeout: seconds to wait.

    Returns:
        True when it has ended, False when the time ran out.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        ended = bool(poller.poll(timeout * 1000))
    finally:
        os.close(handle)
    if ended:
        # A child of ours would stay a zombie; anybody else's is reaped by its own parent.
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return True
    return ended
