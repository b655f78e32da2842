"""Keep-alive HTTP/1.1 connections that cost the machine as little as possible.

Every CPU cycle of the generator is one that the server on the same machine lacks, so this
speaks just enough HTTP: one request at a time on a connection, answers with a length or
in chunks. ``client`` sends load over a pool of them.
"""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, cast

MAX_CONNECTIONS = 4_000
_HEAD_END = b"\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


class Response(NamedTuple):
    """What came back: the status, 0 when the connection broke instead, and the body."""

    status: int
    body: bytes


class Connection(asyncio.Protocol):
    """One connection. ``send`` again only once the last answer is there."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answered: Callable[[Response], object] | None = None
        self._received = b""

    @property
    def is_open(self) -> bool:
        """Whether a request may be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, answered: Callable[[Response], object]) -> None:
        """Sends a whole request on an open connection; ``answered`` is called once."""
        assert self._transport is not None
        self._answered, self._received = answered, b""
        self._transport.write(request)

    def ask(self, request: bytes) -> asyncio.Future[Response]:
        """Sends a whole request; the future always gets a result, never an exception."""
        future: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def answered(response: Response) -> None:
            if not future.done():
                future.set_result(response)

        if self.is_open:
            self.send(request, answered)
        else:
            future.set_result(Response(0, b""))
        return future

    def close(self) -> None:
        """Closes it; a request in flight is not answered any more."""
        self._answered = None
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        # uvloop's transports are asyncio's by what they do, not by their class.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        # Nearly always the whole answer at once.
        received = self._received = self._received + data if self._received else data
        end = received.find(_HEAD_END)
        if end < 0:
            return
        head = received[:end].lower()
        start = end + len(_HEAD_END)
        length = _header(head, b"content-length")
        if length is not None:
            if len(received) - start >= int(length):
                self._finish(Response(_status(head), received[start:]), head)
        elif received.endswith(_LAST_CHUNK):
            self._finish(Response(_status(head), _unchunked(received[start:])), head)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = None
        self._finish(Response(0, b""))

    def _finish(self, response: Response, head: bytes = b"") -> None:
        answered, self._answered = self._answered, None
        if _header(head, b"connection") == b"close":
            self.close()
        if answered is not None:
            answered(response)


class Pool:
    """Connections to one server that are used again, at most ``MAX_CONNECTIONS`` at a time."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._free: list[Connection] = []
        self._opened: list[Connection] = []
        self._places = asyncio.Semaphore(MAX_CONNECTIONS)

    async def take(self) -> Connection:
        """A connection that has no other user until it is given back.

        Raises:
            OSError: The server does not take a new one.
        """
        await self._places.acquire()
        while self._free:
            if (connection := self._free.pop()).is_open:
                return connection
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(Connection, self._host, self._port)
        except BaseException:
            self._places.release()
            raise
        self._opened.append(connection)
        return connection

    def give_back(self, connection: Connection) -> None:
        """Ends its use; a broken one is not used again."""
        self._free.append(connection)
        self._places.release()

    async def close(self) -> None:
        """Closes all, whatever is in flight."""
        for connection in self._opened:
            connection.close()
        await asyncio.sleep(0)  # the loop closes them in its next round


def request_bytes(host: str, path: str, headers: dict[str, str], body: str) -> bytes:
    """A POST request as it goes over the wire."""
    content = body.encode()
    lines = {
        "Host": host,
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **headers,
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + content


def _status(head: bytes) -> int:
    return int(head.split(b" ", 2)[1])


def _header(head: bytes, name: bytes) -> bytes | None:
    start = head.find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


def _unchunked(body: bytes) -> bytes:
    pieces = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.partition(b";")[0], 16)
        pieces.append(body[:length])
        body = body[length + 2 :]
    return b"".join(pieces)
