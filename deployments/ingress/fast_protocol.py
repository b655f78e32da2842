"""Predictions answered in the HTTP server's own callbacks, before Ray Serve's wrapper.

    bytes ─▶ httptools ─▶ FastProtocol ─┬─ plain POST of a predict route ─▶ Ingress ─▶ one write
                                        └─ all else ─▶ uvicorn ─▶ Ray Serve ─▶ Ingress

Both ways run the same coroutine of the ingress, so answers, refusals, access, metrics, access lines
and traces are the same. What Ray Serve does around a request is done here: a limit of running
requests, the request id, cancellation when the client leaves, draining.

Ray Serve starts uvicorn in the process of an ingress replica once the replica is made, with
uvicorn's protocol of the name ``auto``; ``open_fast_path`` puts ours in its place in this process.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from functools import partial
from random import getrandbits
from typing import Any
from uuid import UUID

from starlette.types import Message
from uvicorn import config as uvicorn_config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from configs.schema.app import AppConfig
from deployments.asgi.exchange import Exchange, Headers
from deployments.ingress.eager import start
from deployments.ingress.fast_path import FastExchange, FastPath

_log = logging.getLogger("ray.serve.sentigraph")

_PROTOCOL = "uvicorn.protocols.http.auto:AutoHTTPProtocol"
# Larger ones would be held up by uvicorn's flow control.
_MAX_BODY_BYTES = 64 << 10
# Clients that send head and body in two pieces send the second at once.
_BODY_WAIT_S = 0.02
# What only uvicorn, Ray Serve or the middleware around the application knows how to answer.
_UNUSUAL = frozenset(
    {
        b"expect",
        b"origin",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-disconnect-disabled",
        b"x-request-timeout-seconds",
    }
)
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,256}")


class _Unheard:
    """Stands for the event by which uvicorn wakes a waiting application; none waits."""

    def set(self) -> None:
        """See ``asyncio.Event.set``."""


_UNHEARD = _Unheard()


class _Cycle:
    """One request on its way; uvicorn reads and writes these attributes of its own cycles."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete", "task")

    def __init__(self, keep_alive: bool) -> None:
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.message_event = _UNHEARD
        self.task: asyncio.Task[None] | None = None


class _Reply:
    """Collects an answer's ASGI messages into one write."""

    __slots__ = ("_cycle", "_protocol", "_start", "_tail")

    def __init__(self, protocol: "FastProtocol", cycle: _Cycle, tail: Headers) -> None:
        """Adds ``tail`` to the headers."""
        self._protocol = protocol
        self._cycle = cycle
        self._tail = tail
        self._start: Message = {}

    async def send(self, message: Message) -> None:
        """See ASGI's ``send``; a body is whole."""
        if message["type"] == "http.response.start":
            self._start = message
            return
        headers = (*self._start["headers"], *self._tail)
        self._protocol.write(self._cycle, self._start["status"], headers, message["body"])


class FastProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a way of its own for plain requests to the predict routes."""

    def __init__(self, fast: FastPath, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._fast = fast
        self._allowed = fast.loop is self.loop and not self.root_path
        # Of a request whose head is complete and whose body is not.
        self._body: bytearray | None = None
        self._keep_alive = True
        self._late: asyncio.TimerHandle | None = None
        self._running: _Cycle | None = None
        fast.connections += 1

    # What the parser calls.

    def on_headers_complete(self) -> None:
        """Chooses the way."""
        if self._is_plain():
            self._body = bytearray()
            self._keep_alive = self.parser.should_keep_alive()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Takes a piece."""
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        """Answers."""
        if self._body is None:
            super().on_message_complete()
        else:
            self._answer(self._taken())

    # What the event loop and uvicorn's server call.

    def data_received(self, data: bytes) -> None:
        """Reads; a body that is late goes the other way, which bounds the wait for it."""
        super().data_received(data)
        if self._body is not None and self._late is None:
            self._late = self.loop.call_later(_BODY_WAIT_S, self._fall_through)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends the request for which there is no client any more."""
        self._fall_through()
        cycle = self._running
        if cycle is not None and cycle.task is not None:
            # After the task's first step: only from there the request can notice.
            self.loop.call_soon(cycle.task.cancel)
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Closes the connection, after the answer to a request that has begun."""
        self._fall_through()
        super().shutdown()

    def _is_plain(self) -> bool:
        cycle = self.cycle
        if (
            not self._allowed
            or self.url not in self._fast.paths
            or not self._fast.has_room
            or self.parser.get_method() != b"POST"
            or self.parser.get_http_version() != "1.1"
            or (cycle is not None and not cycle.response_complete)
            or self.flow.write_paused
            or self.transport.is_closing()
        ):
            return False
        fields = dict(self.headers)
        length = fields.get(b"content-length", b"")
        return (
            _UNUSUAL.isdisjoint(fields)
            and length.isdigit()
            and int(length) <= _MAX_BODY_BYTES
            and _REQUEST_ID.fullmatch(fields.get(b"x-request-id", b"-")) is not None
        )

    def _taken(self) -> bytes:
        body, self._body = bytes(self._body or b""), None
        if self._late is not None:
            self._late.cancel()
            self._late = None
        return body

    def _fall_through(self) -> None:
        if self._body is None:
            return
        body = self._taken()
        super().on_headers_complete()
        if body:
            super().on_body(body)

    def _answer(self, body: bytes) -> None:
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope["method"] = "POST"
        scope["path"] = self._fast.paths[self.url]
        cycle = _Cycle(self._keep_alive)
        self.cycle = self._running = cycle  # type: ignore[assignment]
        reply = _Reply(self, cycle, (*self._fast.headers, (b"x-request-id", self._request_id())))
        exchange = FastExchange(scope, body, reply.send)
        self._fast.running += 1
        task = start(self._run(exchange, cycle), self.loop, copy_context())
        if task is not None:
            cycle.task = task
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    def _request_id(self) -> bytes:
        """The client's, or a new one as Ray Serve makes them."""
        for name, value in self.headers:
            if name == b"x-request-id":
                return value
        return str(UUID(int=getrandbits(128), version=4)).encode("ascii")

    async def _run(self, exchange: Exchange, cycle: _Cycle) -> None:
        try:
            await self._fast.run(exchange)
        except Exception:  # noqa: BLE001  (the last resort: the connection is closed)
            _log.exception("a request was left without an answer")
        finally:
            self._fast.running -= 1
            if self._running is cycle:
                self._running = None
            if not cycle.response_complete:
                self.transport.close()

    def write(self, cycle: _Cycle, status: int, headers: Headers, body: bytes) -> None:
        """Sends a whole answer and goes on to the connection's next request."""
        content = [STATUS_LINE[status]]
        for name, value in (*self.server_state.default_headers, *headers):
            content += (name, b": ", value, b"\r\n")
        content.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        content.append(body)
        cycle.response_complete = True
        if self.transport.is_closing():
            return
        self.transport.write(b"".join(content))
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()


def open_fast_path(
    run: Callable[[Exchange], Awaitable[None]], paths: Sequence[str], config: AppConfig
) -> FastPath | None:
    """Has the uvicorn servers that start in this process from now on use it.

    Returns None where uvicorn is another than known; then all requests go through Ray Serve.

    Args:
        run: Answers a request.
        paths: Of the routes.
        config: Settings.
    """
    table: dict[str, Any] = uvicorn_config.HTTP_PROTOCOLS
    if table.get("auto") != _PROTOCOL and not isinstance(table.get("auto"), partial):
        _log.warning("no fast path: uvicorn has no protocol %s", _PROTOCOL)
        return None
    most, origins = config.replicas.ingress.max_ongoing_requests, config.server.cors_origins
    fast = FastPath(run, paths, most=most, for_browsers=bool(origins))
    table["auto"] = partial(FastProtocol, fast)
    return fast
