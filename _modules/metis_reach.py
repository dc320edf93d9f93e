"""
Whether hosts reach each other's ports: tried, and not guessed from the rules of a firewall.

Where a program listens already, a connection to it is enough. Where none does, its host listens
itself for as long as the others need to try, and gives back what they send.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

__virtualname__ = "metis_reach"

# Seconds of one try, and between two of them: a closed port cannot be waited on.
_TRY = 2.0
_PAUSE = 0.2
# Seconds that a listener stays when all have come: an answer over udp may have been lost.
_LINGER = 0.5

Heard = Callable[[bytes, str, int], None]


class _Echo(asyncio.DatagramProtocol):
    """Gives a datagram back to who sent it."""

    def __init__(self, port: int, heard: Heard) -> None:
        self._port = port
        self._heard = heard

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._transport.sendto(data, addr)
        self._heard(data, "udp", self._port)


class _Answer(asyncio.DatagramProtocol):
    """Waits for one datagram."""

    def __init__(self) -> None:
        self.came: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if not self.came.done():
            self.came.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self.came.done():
            self.came.set_exception(exc)


async def _listen_tcp(address: str, port: int, heard: Heard) -> Callable[[], None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            data = await reader.readline()
            writer.write(data)
            await writer.drain()
            # The other side closes first: so no port here is left waiting when a program wants it.
            await reader.read()
            heard(data, "tcp", port)
        writer.close()

    return (await asyncio.start_server(answer, address, port)).close


async def _listen_udp(address: str, port: int, heard: Heard) -> Callable[[], None]:
    loop = asyncio.get_running_loop()
    made = await loop.create_datagram_endpoint(lambda: _Echo(port, heard), (address, port))
    return made[0].close


async def _try_tcp(address: str, port: int, said: bytes | None) -> None:
    reader, writer = await asyncio.open_connection(address, port)
    try:
        if said and not await _echoed(reader, writer, said):
            raise OSError(0, "answers otherwise than this host's own listener")
    finally:
        writer.close()


async def _echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, said: bytes) -> bool:
    writer.write(said)
    await writer.drain()
    return await reader.readline() == said


async def _try_udp(address: str, port: int, said: bytes | None) -> None:
    loop = asyncio.get_running_loop()
    transport, answer = await loop.create_datagram_endpoint(_Answer, remote_addr=(address, port))
    try:
        transport.sendto(said or b"")
        await answer.came
    finally:
        transport.close()


_TRIES: dict[str, Callable[[str, int, bytes | None], Awaitable[None]]] = {
    "tcp": _try_tcp,
    "udp": _try_udp,
}
_LISTENERS = {"tcp": _listen_tcp, "udp": _listen_udp}


def _why(err: OSError) -> str:
    # asyncio puts words of its own in place of the system's; a resolver has numbers of its own.
    if err.errno is not None and err.errno > 0:
        return os.strerror(err.errno)
    return err.strerror or str(err)


async def _connect(protocol: str, address: str, port: int, said: bytes | None, end: float) -> str:
    """What keeps a port from being reached until the end, or ``""``."""
    while True:
        try:
            async with asyncio.timeout(_TRY):
                await _TRIES[protocol](address, port, said)
            return ""
        except TimeoutError:
            wrong = "no answer"
        except OSError as err:
            wrong = _why(err)
        # A program that listens is there at once; a listener of another host comes when its job
        # does.
        if time.monotonic() + _PAUSE >= end:
            return wrong
        await asyncio.sleep(_PAUSE)


async def _probe(name: str, own: dict[str, Any], patience: float) -> dict[str, Any]:
    awaited = {(peer, protocol, port) for protocol, port, peer in own["expect"]}
    all_came = asyncio.Event()

    def heard(data: bytes, protocol: str, port: int) -> None:
        awaited.discard((data.decode("utf-8", "replace").strip(), protocol, port))
        if not awaited:
            all_came.set()

    end = time.monotonic() + patience
    closers, taken = [], []
    try:
        for protocol, port in sorted({(protocol, port) for protocol, port, _ in own["expect"]}):
            try:
                listener = _LISTENERS[protocol](own["address"], port, heard)
                closers.append(await listener)
            except OSError as err:
                taken.append([protocol, port, _why(err)])
        said = f"{name}\n".encode()
        tries = [
            _connect(
                protocol,
                address,
                port,
                said if echo else None,
                end if echo else time.monotonic() + _TRY,
            )
            for protocol, address, port, echo in own["connect"]
        ]
        done = await asyncio.gather(*tries)
        if awaited and closers:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(all_came.wait(), max(0.0, end - time.monotonic()))
        if closers:
            await asyncio.sleep(_LINGER)
    finally:
        for close in closers:
            close()
    unreached = [
        [protocol, address, port, wrong]
        for (protocol, address, port, _), wrong in zip(own["connect"], done, strict=True)
        if wrong
    ]
    return {"unreached": unreached, "taken": taken}


def probe(asked: dict[str, dict[str, Any]], patience: float = 8) -> dict[str, Any]:
    """
    Try to reach ports of other hosts, and let these reach this one's, all at the same time.

    asked
        Host to ``address`` (its own), ``expect`` (``[protocol, port, host]``: where to listen, and
        who will come) and ``connect`` (``[protocol, address, port, echo]``: where to go, and
        whether it is such a listener that answers there). One job serves all hosts.
    patience
        Seconds to go on trying, and to wait for the others.

    Returns ``{"unreached": [[protocol, address, port, why]], "taken": [[protocol, port, why]]}``;
    ``taken`` is where this host could not listen.

    CLI Example:

    .. code-block:: bash

        salt demo1 metis_reach.probe '{demo1: {address: 10.77.0.11, expect: [], connect: []}}'
    """
    name = __opts__["id"]
    # In a thread of its own: the minion may run a loop of its own in this one.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, _probe(name, asked[name], patience)).result()
