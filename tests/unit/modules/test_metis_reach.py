"""Hosts that try to reach each other, here as addresses of one machine."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from _modules import metis_reach
from tests.unit.sandbox.running import free_ports

ONE, TWO = "127.0.0.1", "127.0.0.2"
GOOD: dict[str, Any] = {"unreached": [], "taken": []}


@pytest.fixture
def configure_loader_modules() -> dict[ModuleType, dict[str, Any]]:
    return {metis_reach: {"__opts__": {"id": "h1"}}}


def _together(asked: dict[str, dict[str, Any]], patience: float) -> dict[str, dict[str, Any]]:
    """All hosts at once, each as its own minion would."""

    async def run() -> list[dict[str, Any]]:
        probes = [metis_reach._probe(name, own, patience) for name, own in asked.items()]
        return await asyncio.gather(*probes)

    return dict(zip(asked, asyncio.run(run()), strict=True))


def _host(address: str, expect: list[Any], connect: list[Any]) -> dict[str, Any]:
    return {"address": address, "expect": expect, "connect": connect}


def test_hosts_reach_each_other_s_listeners_over_tcp_and_udp() -> None:
    port, other = free_ports(2)
    asked = {
        "h1": _host(ONE, [["tcp", port, "h2"], ["udp", port, "h2"]], [["tcp", TWO, other, True]]),
        "h2": _host(
            TWO, [["tcp", other, "h1"]], [["tcp", ONE, port, True], ["udp", ONE, port, True]]
        ),
    }
    assert _together(asked, 10) == {"h1": GOOD, "h2": GOOD}


def test_the_ports_are_free_for_the_programs_afterwards() -> None:
    (port,) = free_ports(1)
    asked = {
        "h1": _host(ONE, [["tcp", port, "h2"]], []),
        "h2": _host(TWO, [], [["tcp", ONE, port, True]]),
    }
    _together(asked, 10)
    # Without SO_REUSEADDR: not even a connection that waits for its end holds it.
    with socket.socket() as program:
        program.bind((ONE, port))


def test_a_host_that_comes_late_is_waited_for() -> None:
    (port,) = free_ports(1)

    async def run() -> tuple[dict[str, Any], dict[str, Any]]:
        early = asyncio.create_task(
            metis_reach._probe("h2", _host(TWO, [], [["tcp", ONE, port, True]]), 10)
        )
        await asyncio.sleep(0.5)
        late = await metis_reach._probe("h1", _host(ONE, [["tcp", port, "h2"]], []), 10)
        return await early, late

    assert asyncio.run(run()) == (GOOD, GOOD)


def test_what_runs_already_only_has_to_take_a_connection(closed: dict[str, Any]) -> None:
    with socket.create_server((ONE, 0)) as program:
        port = program.getsockname()[1]
        connect = [["tcp", ONE, port, False], ["tcp", ONE, closed["port"], False]]
        found = metis_reach.probe({"h1": _host(TWO, [], connect)})
    refused = ["tcp", ONE, closed["port"], os.strerror(errno.ECONNREFUSED)]
    assert found == {"unreached": [refused], "taken": []}


@pytest.fixture
def stranger() -> Iterator[int]:
    """A program that answers something else than it was sent."""
    with socket.create_server((ONE, 0)) as listening:

        def answer() -> None:
            try:
                while True:
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(100)
                        connection.sendall(b"SSH-2.0\n")
            except OSError:
                return

        thread = threading.Thread(target=answer)
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_another_program_in_between_is_no_listener_of_ours(stranger: int) -> None:
    found = metis_reach.probe({"h1": _host(TWO, [], [["tcp", ONE, stranger, True]])}, patience=0.3)
    ((_, _, _, why),) = found["unreached"]
    assert why == "answers otherwise than this host's own listener"


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_who_cannot_be_reached_is_named_at_the_end_of_patience(
    closed: dict[str, Any], protocol: str
) -> None:
    connect = [[protocol, ONE, closed["port"], True]]
    found = metis_reach.probe({"h1": _host(TWO, [], connect)}, patience=0.3)
    ((*way, why),) = found["unreached"]
    assert way == [protocol, ONE, closed["port"]]
    assert why == "Connection refused"


def test_a_name_that_nobody_knows_is_told() -> None:
    found = metis_reach.probe({"h1": _host(TWO, [], [["tcp", "center.invalid", 9090, False]])})
    ((_, _, _, why),) = found["unreached"]
    assert "name" in why.lower()


def test_a_listener_whom_nobody_comes_to_ends_with_its_patience() -> None:
    (port,) = free_ports(1)
    found = metis_reach.probe({"h1": _host(ONE, [["tcp", port, "h2"]], [])}, patience=0.3)
    assert found == GOOD


def test_a_port_that_cannot_be_listened_on_is_told() -> None:
    with socket.create_server((ONE, 0)) as taken:
        port = taken.getsockname()[1]
        found = metis_reach.probe({"h1": _host(ONE, [["tcp", port, "h2"]], [])}, patience=0.3)
    ((protocol, number, why),) = found["taken"]
    assert (protocol, number) == ("tcp", port)
    assert "in use" in why
