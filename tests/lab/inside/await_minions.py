"""Runs on the lab's master: waits until minions take orders.

Usage: await_minions.py SECONDS ID...; prints the ids that did not come and exits 1 then.
"""

from __future__ import annotations

import sys
import time

import salt.client
import salt.config
import salt.exceptions
import salt.utils.event

# A minion that connects just when it is asked misses the question: it is asked again.
_ASK_AGAIN = 3.0
# A master that has just started takes no orders yet, though its event bus is there.
_NOT_ASKED = 0.3


def _arrived(tag: str) -> str | None:
    """The minion that a tag of the event bus tells of: an answer, or its start."""
    words = tag.split("/")
    if len(words) == 5 and words[:2] == ["salt", "job"] and words[3] == "ret":
        return words[4]
    if len(words) == 4 and words[:2] == ["salt", "minion"] and words[3] == "start":
        return words[2]
    return None


def _ask(client: salt.client.LocalClient, ids: set[str]) -> float:
    """Ask minions for a sign; the answers come over the bus.

    Returns:
        The seconds after which to ask again those that have not answered.
    """
    try:
        client.run_job(sorted(ids), "test.ping", tgt_type="list", listen=False)
    except salt.exceptions.SaltClientError:
        return _NOT_ASKED
    return _ASK_AGAIN


def await_minions(ids: list[str], timeout: float) -> list[str]:
    """Wait until minions take orders.

    Args:
        ids: their ids.
        timeout: seconds to wait.

    Returns:
        The ids that did not come in that time.
    """
    options = salt.config.client_config("/etc/salt/master")
    missing = set(ids)
    deadline = time.monotonic() + timeout
    events = salt.utils.event.get_master_event(options, options["sock_dir"], listen=True)
    with events as bus, salt.client.LocalClient(mopts=options) as client:
        while missing and time.monotonic() < deadline:
            ask_again = time.monotonic() + _ask(client, missing)
            while missing and (left := ask_again - time.monotonic()) > 0:
                event = bus.get_event(wait=left, tag="salt/", full=True)
                if event:
                    missing.discard(_arrived(event["tag"]) or "")
    return sorted(missing)


def main() -> int:
    """Wait for the minions named on the command line."""
    absent = await_minions(sys.argv[2:], float(sys.argv[1]))
    print(" ".join(absent))
    return 1 if absent else 0


if __name__ == "__main__":
    sys.exit(main())
