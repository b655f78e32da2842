"""A connection to one replica's endpoint."""

import asyncio
import itertools
import ssl
from collections.abc import Callable, Sequence

from deployments.transport.endpoint import Address
from deployments.transport.wire import Array, Header, Messages, message

_CONNECT_S = 2.0


class ConnectionLost(Exception):
    """The replica is gone, and the answer with it."""


class NotSent(ConnectionLost):
    """The connection has ended before the message: no replica has seen it."""


class StageFailed(Exception):
    """The replica answered with an error."""


class Connection(Messages):
    """Messages on their way to one replica. For one event loop."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        super().__init__()
        self._on_lost = on_lost
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[tuple[Header, bytes]]] = {}
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether it has ended; its transport knows that before it says so."""
        return self._lost or self.transport.is_closing()

    @classmethod
    async def open(cls, address: Address, node: str, on_lost: Callable[[], None]) -> "Connection":
        """Connects: by the Unix socket on the same node, else by TCP and TLS.

        Args:
            address: Of the replica.
            node: Of the caller.
            on_lost: Called once when the connection ends.

        Raises:
            OSError: It cannot be reached in time.
        """
        loop = asyncio.get_running_loop()
        connection = cls(on_lost)
        async with asyncio.timeout(_CONNECT_S):
            if node == address.node:
                await loop.create_unix_connection(lambda: connection, address.path)
            else:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.minimum_version = ssl.TLSVersion.TLSv1_3
                # The certificate itself is the proof; a replica has no name.
                context.check_hostname = False
                context.load_verify_locations(cadata=address.certificate)
                await loop.create_connection(
                    lambda: connection, address.host, address.port, ssl=context
                )
        connection.transport.write(message({"key": address.key}))
        return connection

    def ask(
        self, do: str, header: Header, arrays: Sequence[Array] = ()
    ) -> "asyncio.Future[tuple[Header, bytes]]":
        """Sends a message; its answer's header and arrays, or ``ConnectionLost``.

        ``NotSent`` where it has ended already.
        """
        number = next(self._numbers)
        answer: asyncio.Future[tuple[Header, bytes]] = asyncio.get_running_loop().create_future()
        if self.lost:
            answer.set_exception(NotSent("the connection to a replica has ended"))
            return answer
        self._asked[number] = answer
        self.transport.write(message({"id": number, "do": do, **header}, arrays))
        return answer

    def received(self, header: Header, body: bytes) -> None:
        """See ``Messages.received``."""
        answer = self._asked.pop(header.get("id", -1), None)
        if answer is None or answer.done():
            return
        if "error" in header:
            answer.set_exception(StageFailed(header["error"]))
        else:
            answer.set_result((header, body))

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._lost = True
        asked, self._asked = self._asked, {}
        for answer in asked.values():
            if not answer.done():
                answer.set_exception(ConnectionLost("a replica died with a batch"))
        self._on_lost()

    def close(self) -> None:
        """Ends the connection."""
        self.transport.abort()
