"""What the connections of one ingress replica share to answer predictions before Ray Serve.

``fast_protocol.py`` says how.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.types import Message

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange, Headers

_log = logging.getLogger("ray.serve.sentigraph")
# Requests by Ray Serve without one connection of ours. The first come through its fallback proxy,
# while HAProxy does not know this replica yet.
_MANY = 100


class FastPath:
    """What all connections of one ingress replica share.

    Attributes:
        run: Answers a request; the ingress's.
        loop: The only event loop in which ``run`` may be called.
        paths: The routes, as in the request line.
        running: Requests that are being answered this way.
        is_open: Whether requests may go this way. Closed until one has come through Ray Serve and
            shown that the application has no route prefix.
        headers: Added to every answer.
        connections: How many were made since the start.
    """

    def __init__(
        self,
        run: Callable[[Exchange], Awaitable[None]],
        paths: Sequence[str],
        *,
        most: int,
        for_browsers: bool = False,
    ) -> None:
        """Makes the state.

        Args:
            run: Answers a request.
            paths: Of the routes.
            most: Requests go this way at once; further ones wait in Ray Serve.
            for_browsers: Whether answers differ by the header ``Origin``; requests that have it go
                through the middleware that knows how.
        """
        self.run = run
        self.loop = asyncio.get_running_loop()
        self.paths = {path.encode("ascii"): path for path in paths}
        self.running = 0
        self.is_open = False
        self.headers: Headers = ((b"vary", b"Origin"),) if for_browsers else ()
        self.connections = 0
        self._most = most
        self._without = 0

    @property
    def has_room(self) -> bool:
        """Whether one more request may go this way now."""
        return self.is_open and self.running < self._most

    def learn(self, scope: Mapping[str, Any]) -> None:
        """Opens the way, or closes it, by what a request that came through Ray Serve shows."""
        self.is_open = not scope.get("root_path")
        if self.connections:
            return
        self._without += 1
        if self._without == _MANY:
            _log.warning("no fast path: the HTTP server is in another process, or not uvicorn's")


class FastExchange(Exchange):
    """A request whose body is there, and whose answer is written at once."""

    way = "fast"

    def __init__(self, scope: Any, body: bytes, send: Callable[[Message], Awaitable[None]]) -> None:
        super().__init__(scope, _nothing_more, send)
        self._whole = body

    async def _within(self, deadline_s: float, limits: LimitsConfig) -> bytes:
        self._check_size(limits)
        return self._whole


async def _nothing_more() -> Message:
    return {"type": "http.disconnect"}
