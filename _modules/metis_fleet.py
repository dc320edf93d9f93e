"""
Jobs over hosts, followed to their end: who answered, what, and who did not.

Salt's own ``salt.state`` calls a busy minion dead and a dead one fine, depending on its options
(salt issues 61505, 46706). Here a host is ``returned``, ``missing`` (the master has no accepted key
of it), ``silent`` (it was asked again by job id, and did not answer), ``cut off`` (it answered, and
no longer knew the job) or ``late``, and never anything else.

Runs on the master.
"""

import logging
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import salt.client
import salt.exceptions
import salt.key

__virtualname__ = "metis_fleet"

log = logging.getLogger(__name__)

# Seconds for the master to take a job.
PUBLISH_TIMEOUT = 15

# A host that has not returned is asked after this many seconds, and then again as often.
ASK_AGAIN = 5.0
# How often in a row a host may fail to say that it still works on the job.
CHANCES = 3

# Where a host is knocked at, and the seconds for it: it may well refuse.
_PORT, _KNOCK = 22, 3

# Salt's own progress events (``state_events``) are not used: a minion authenticates anew for each,
# 0.1 s a state.
Progress = Callable[[str, dict[str, Any]], None]


def run(
    hosts: list[str],
    fun: str,
    kwarg: dict[str, Any] | None = None,
    timeout: float = 900,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """
    Run a function on hosts, and follow it until each has returned or is known not to.

    hosts
        Minion ids.
    fun
        The execution function.
    kwarg
        Its keyword arguments. Readable on the master's event bus: no secret goes here.
    timeout
        Seconds after which a host that still works on it is given up.
    progress
        Called with a host and its answer as soon as it returns, and with a host and
        ``{"answer": "working"}`` each time that it says so, or ``{"answer": "quiet"}`` each time
        that it did not, asked whether it does.

    Raises ``CommandExecutionError`` where the master takes no job, or went down meanwhile.

    Returns host to ``{"answer": "returned" | "missing" | "silent" | "cut off" | "late", "retcode":
    int or None, "return": ...}``, every host of ``hosts`` and no other.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_fleet.run '[demo1, demo2]' test.ping
    """
    if not hosts:
        return {}
    answers: dict[str, dict[str, Any]] = {}
    with salt.client.get_local_client(__opts__["conf_file"]) as client:
        published = _publish(client, hosts, fun, kwarg or {})
        waiting = set(published.get("minions", [])) & set(hosts)
        jid = published.get("jid", "")
        chances = dict.fromkeys(waiting, CHANCES)
        asked: set[str] = set()
        forgot: set[str] = set()
        now = time.monotonic()
        end, ask = now + timeout, now + ASK_AGAIN
        while waiting and now < end:
            event = client.event.get_event(wait=1, tag="salt/job/", full=True, auto_reconnect=True)
            now = time.monotonic()
            if event:
                parts = event["tag"].split("/")
                data = event["data"]
                if parts[2] == jid and parts[3:4] == ["ret"] and data["id"] in waiting:
                    waiting.discard(data["id"])
                    answers[data["id"]] = _returned(data)
                    if progress:
                        progress(data["id"], answers[data["id"]])
                elif parts[2] in asked and parts[3:4] == ["ret"]:
                    host = data["id"]
                    if not data.get("return"):
                        forgot.add(host)
                    elif host in waiting:
                        chances[host] = CHANCES + 1
                        if progress:
                            progress(host, {"answer": "working"})
            if waiting and now >= ask:
                for host in sorted(waiting):
                    if progress and chances[host] < CHANCES:
                        progress(host, {"answer": "quiet"})
                    chances[host] -= 1
                    if chances[host] < 0:
                        # What looks like silence may be that nobody is listening.
                        _require_master()
                        waiting.discard(host)
                        answers[host] = _late_return(client, jid, host, host in forgot)
                if waiting:
                    forgot = set()
                    asked |= _ask(client, sorted(waiting), jid)
                ask = now + ASK_AGAIN
    for host in waiting:
        answers[host] = {"answer": "late", "retcode": None, "return": None}
    unknown = {"answer": "missing", "retcode": None, "return": None}
    return {host: answers.get(host, unknown) for host in hosts}


def _require_master() -> None:
    """Salt itself would try for 45 s, and then speak of an event bus that is congested."""
    port = __opts__["ret_port"]
    try:
        with socket.create_connection((__opts__["interface"], port), _KNOCK):
            pass
    except OSError as err:
        raise salt.exceptions.CommandExecutionError(
            f"the Salt master does not run, or not on port {port}: systemctl status salt-master"
        ) from err


def _publish(client: Any, hosts: list[str], fun: str, kwarg: dict[str, Any]) -> dict[str, Any]:
    _require_master()
    # What goes wrong is raised. Salt also logs it, to the operator's terminal.
    logging.disable(logging.ERROR)
    try:
        published = client.run_job(
            hosts, fun, kwarg=kwarg, tgt_type="list", listen=True, timeout=PUBLISH_TIMEOUT
        )
    except salt.exceptions.SaltException as err:
        # It may have ended meanwhile.
        _require_master()
        raise salt.exceptions.CommandExecutionError(
            f"the Salt master does not take jobs: {err}; look at systemctl status salt-master"
        ) from err
    finally:
        logging.disable(logging.NOTSET)
    return published


def _ask(client: Any, hosts: list[str], jid: str) -> set[str]:
    """Ask whether hosts work on a job still; returns the question's own job id, if it was heard."""
    try:
        _require_master()
        question = client.run_job(
            hosts, "saltutil.find_job", [jid], tgt_type="list", timeout=PUBLISH_TIMEOUT
        )
    except salt.exceptions.SaltException as err:
        # The hosts work on all the same; their chances decide.
        log.info("metis_fleet: hosts could not be asked after job %s: %s", jid, err)
        return set()
    return {question["jid"]} if "jid" in question else set()


def _returned(data: dict[str, Any]) -> dict[str, Any]:
    return {"answer": "returned", "retcode": data.get("retcode"), "return": data.get("return")}


def _late_return(client: Any, jid: str, host: str, forgot: bool) -> dict[str, Any]:
    """A return whose event was missed is in the job cache; else the host is silent, or forgot."""
    cached = client.get_cache_returns(jid).get(host)
    if cached is None:
        return {"answer": "cut off" if forgot else "silent", "retcode": None, "return": None}
    return {"answer": "returned", "retcode": cached.get("retcode"), "return": cached.get("ret")}


def up(addresses: list[str]) -> dict[str, bool]:
    """
    Whether hosts answer at all, whatever becomes of their minions.

    addresses
        Of the hosts.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_fleet.up '[10.77.0.11]'
    """
    if not addresses:
        return {}
    with ThreadPoolExecutor(min(32, len(addresses))) as pool:
        return dict(zip(addresses, pool.map(_answers, addresses), strict=True))


def _answers(address: str) -> bool:
    try:
        with socket.create_connection((address, _PORT), _KNOCK):
            return True
    except ConnectionRefusedError:
        return True
    except OSError:
        return False


def refused_keys() -> dict[str, str]:
    """
    Minions that are none of the master's yet or any more: minion id to what became of its key,
    ``unaccepted`` or ``rejected``.

    CLI Example:

    .. code-block:: bash

        salt-run salt.cmd metis_fleet.refused_keys
    """
    known = salt.key.get_key(__opts__).all_keys()
    waiting, rejected = known.get("minions_pre", []), known.get("minions_rejected", [])
    return dict.fromkeys(waiting, "unaccepted") | dict.fromkeys(rejected, "rejected")
