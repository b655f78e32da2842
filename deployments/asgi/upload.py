"""Bodies of requests that another deployment answers, gathered here before that one is asked.

So a client that sends slowly holds a connection and a file of this replica, never one of the other
deployment's requests. It is given up when it does not keep up, and the files of all clients, and of
one, have a bound.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from tempfile import SpooledTemporaryFile

from starlette.types import Message

from deployments.asgi.exchange import ClientGone, Exchange
from deployments.errors import BodyTooLarge, BodyTooSlow, Overloaded

PART_BYTES = 1 << 20
# A sender has this long, and a second more for each so many bytes that have come.
_GRACE_S = 10.0
_LEAST_BYTES_PER_S = 16 << 10
_RETRY_AFTER_S = 10


class Upload:
    """A whole body; small ones are in memory."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile[bytes](PART_BYTES)
        self.size = 0

    def write(self, part: bytes) -> None:
        """Adds what has come."""
        self._file.write(part)
        self.size += len(part)

    def parts(self) -> Iterator[bytes]:
        """The body in parts of at most ``PART_BYTES``."""
        self._file.seek(0)
        while part := self._file.read(PART_BYTES):
            yield part

    def close(self) -> None:
        """Deletes it."""
        self._file.close()


class Uploads:
    """All bodies that one replica holds."""

    def __init__(
        self,
        *,
        max_at_once: int = 256,
        max_bytes: int = 4 << 30,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """No body is held.

        Args:
            max_at_once: Bodies that are received or sent on; a quarter may be one caller's.
            max_bytes: Of all of them; half may be one caller's.
            clock: Seconds, monotonic.
        """
        self._max_at_once = max_at_once
        self._max_bytes = max_bytes
        self._clock = clock
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @asynccontextmanager
    async def gather(
        self, exchange: Exchange, first: Message, max_bytes: int
    ) -> AsyncIterator[Upload]:
        """Yields the body once it is whole.

        Args:
            exchange: The request.
            first: Its first message, which has been received.
            max_bytes: The body's, at most.

        Raises:
            BodyTooLarge: It has more.
            BodyTooSlow: The client does not keep up.
            ClientGone: The client left.
            Overloaded: Too much is held, of all clients or of this one.
        """
        who = exchange.share_key
        if self._count.total() >= self._max_at_once or self._count[who] >= self._max_at_once // 4:
            raise _full()
        self._count[who] += 1
        upload = Upload()
        try:
            await self._receive(exchange, first, max_bytes, upload)
            yield upload
        finally:
            upload.close()
            self._count[who] -= 1
            self._bytes[who] -= upload.size
            if not self._count[who]:
                del self._count[who], self._bytes[who]

    async def _receive(
        self, exchange: Exchange, first: Message, max_bytes: int, upload: Upload
    ) -> None:
        message, who, begin_s = first, exchange.share_key, self._clock()
        while True:
            part = message.get("body", b"")
            if upload.size + len(part) > max_bytes:
                raise too_large(max_bytes)
            held = self._bytes[who] + len(part)
            if self._bytes.total() + len(part) > self._max_bytes or held > self._max_bytes // 2:
                raise _full()
            upload.write(part)
            self._bytes[who] = held
            if not message.get("more_body", False):
                return
            left_s = begin_s + _GRACE_S + upload.size / _LEAST_BYTES_PER_S - self._clock()
            try:
                async with asyncio.timeout(left_s):
                    message = await exchange.receive()
            except TimeoutError as error:
                raise _too_slow() from error
            if left_s <= 0:
                raise _too_slow()
            if message["type"] == "http.disconnect":
                raise ClientGone


def too_large(max_bytes: int) -> BodyTooLarge:
    """The refusal of a body of more bytes."""
    return BodyTooLarge(f"the body is larger than {max_bytes} bytes", {"max_body_bytes": max_bytes})


def _too_slow() -> BodyTooSlow:
    return BodyTooSlow("the body does not arrive fast enough")


def _full() -> Overloaded:
    return Overloaded(
        f"too many uploads are under way; try again in {_RETRY_AFTER_S} s",
        {"retry_after_s": _RETRY_AFTER_S},
    )
