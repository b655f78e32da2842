"""A TCP proxy before a dependency, whose connections can be slowed, lost, reset and held."""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

_CHUNK = 65_536
_SEED = 1
# SO_LINGER with no time: closing sends a reset.
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What the proxy does to each connection.

    Attributes:
        delay_s: Before each piece of data, each way.
        cut_share: Of pieces after which the connection is reset.
        reset: Every connection, old and new.
        holds: Nothing goes through, nothing is closed.
        drip_s: After each byte of an answer; 0 passes it on as it comes.
    """

    delay_s: float = 0.0
    cut_share: float = 0.0
    reset: bool = False
    holds: bool = False
    drip_s: float = 0.0


class TcpProxy:
    """Listens on a free loopback port, in a thread of its own: ``with TcpProxy(port) as proxy``.

    Attributes:
        port: Where it listens.
        upstream: The port that it connects to.
    """

    def __init__(self, upstream: int = 0) -> None:
        self.upstream = upstream
        self._fault = Fault()
        self._chance = random.Random(_SEED)
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.port = 0

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        """Within, connections suffer it."""
        self._loop.call_soon_threadsafe(self._begin, fault)
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(self._begin, Fault())

    def _begin(self, fault: Fault) -> None:
        # What was held or slowed would come long after its time.
        was, self._fault = self._fault, fault
        if fault.reset or was.holds:
            for writer in list(self._open):
                _reset(writer)

    async def _close(self) -> None:
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault.reset:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            _reset(writer)
            return
        both = {writer, far_writer}
        self._open |= both
        try:
            asked = self._copy(reader, far_writer, drips=False)
            await asyncio.gather(asked, self._copy(far_reader, writer, drips=True))
        except OSError:
            _reset(writer)
        finally:
            self._open -= both
            for one in both:
                one.transport.abort()

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, drips: bool
    ) -> None:
        while data := await reader.read(_CHUNK):
            if self._fault.delay_s:
                await asyncio.sleep(self._fault.delay_s)
            if self._fault.cut_share and self._chance.random() < self._fault.cut_share:
                raise ConnectionResetError
            while self._fault.holds:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            if drips and self._fault.drip_s:
                data = await self._drip(data, writer)
            writer.write(data)
            await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()

    async def _drip(self, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        """Sends a byte at a time as long as the fault lasts; the rest."""
        while data and self._fault.drip_s:
            writer.write(data[:1])
            await writer.drain()
            await asyncio.sleep(self._fault.drip_s)
            data = data[1:]
        return data


def _reset(writer: asyncio.StreamWriter) -> None:
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
