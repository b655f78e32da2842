"""Forwards HTTP requests from an ingress replica to the ASGI application of another deployment.

The ingress must not import MLflow or the jobs' database, so it does not answer those routes
itself: their applications run in the Registry and Jobs deployments, and both halves of this file
pass ASGI messages between the two. Bodies go in parts of at most ``PART_BYTES``, with a
few parts under way, so a model of any size takes a few megabytes of memory on each side.
"""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.types import ASGIApp, Message

from configs.sources.front_key import FRONT_HEADER
from deployments.asgi.exchange import ClientGone, Exchange
from deployments.asgi.upload import PART_BYTES, Upload, Uploads, too_large
from deployments.telemetry.log_context import REQUEST

_log = logging.getLogger("ray.serve")
_PARTS_UNDER_WAY = 2
_IDLE_S = 120.0


@dataclass(frozen=True, slots=True)
class Call:
    """A request's head.

    Attributes:
        id: Names it among those under way.
        method: HTTP method.
        path: Path below the application's route prefix.
        query: Query string.
        headers: Names and values, as ASGI has them.
        correlation_id: For the error body and the log.
        body: All of it when it is small; None when it follows in parts.
    """

    id: str
    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    correlation_id: str
    body: bytes | None


@dataclass(frozen=True, slots=True)
class Head:
    """A response's head."""

    status: int
    headers: list[tuple[bytes, bytes]]


Part = Head | bytes | None
"""First None (parts of the body may come), then the head, then the body."""


class Upstream(Protocol):
    """The other deployment, seen from an ingress replica."""

    def call(self, call: Call) -> AsyncIterator[Part]:
        """Starts a request; yields its answer."""
        ...

    def push(self, call_id: str, part: bytes, more: bool) -> Awaitable[bool]:
        """Sends the next part of the body; False when the request is not under way any more."""
        ...


class ProxyClient:
    """The half in the ingress."""

    def __init__(self, far: Upstream, uploads: Uploads) -> None:
        self._far = far
        self._uploads = uploads

    async def forward(self, exchange: Exchange, *, max_bytes: int) -> None:
        """Answers a request as the other deployment's application does.

        Raises:
            BodyTooLarge: More than ``max_bytes``, announced or received.
            BodyTooSlow: The client does not keep up.
            ClientGone: The client left.
            Overloaded: Too many bodies are under way.
        """
        announced = exchange.header("content-length") or ""
        if announced.isdigit() and int(announced) > max_bytes:
            raise too_large(max_bytes)
        first = await exchange.receive()
        if first["type"] == "http.disconnect":
            raise ClientGone
        if not first.get("more_body", False):
            await self._forward(exchange, first.get("body", b""), None)
            return
        async with self._uploads.gather(exchange, first, max_bytes) as upload:
            await self._forward(exchange, None, upload)

    async def _forward(self, exchange: Exchange, body: bytes | None, upload: Upload | None) -> None:
        call = Call(
            id=uuid.uuid4().hex,
            method=exchange.method,
            path=exchange.path,
            query=exchange.scope.get("query_string", b""),
            headers=_headers(exchange),
            correlation_id=exchange.correlation_id,
            body=body,
        )
        answer = self._far.call(call)
        await anext(answer)
        sending = None
        if upload is not None:
            sending = asyncio.create_task(self._send_body(call.id, upload))
        try:
            await self._answer(answer, exchange, sending)
        finally:
            if sending is not None:
                sending.cancel()

    async def _answer(
        self, answer: AsyncIterator[Part], exchange: Exchange, sending: asyncio.Task[None] | None
    ) -> None:
        # An upload that fails on its way ends the wait for an answer to it.
        head = asyncio.ensure_future(anext(answer))
        waiting: set[asyncio.Future[Any]] = {head} if sending is None else {head, sending}
        while not head.done():
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if sending in done and sending is not None and (error := sending.exception()):
                head.cancel()
                raise error
        first = head.result()
        assert isinstance(first, Head)
        await exchange.send(
            {"type": "http.response.start", "status": first.status, "headers": first.headers}
        )
        async for part in answer:
            await exchange.send({"type": "http.response.body", "body": part, "more_body": True})
        await exchange.send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_body(self, call_id: str, upload: Upload) -> None:
        for part in upload.parts():
            if not await self._far.push(call_id, part, True):
                return
        await self._far.push(call_id, b"", False)


class ProxyServer:
    """The half in the other deployment: runs the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._bodies: dict[str, asyncio.Queue[Message]] = {}

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """See ``Upstream.push``."""
        body = self._bodies.get(call_id)
        if body is None:
            return False
        message = {"type": "http.request", "body": part, "more_body": more}
        async with asyncio.timeout(_IDLE_S):
            await body.put(message)
        return True

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """See ``Upstream.call``."""
        REQUEST.set(_ForwardedRequest(call.correlation_id))
        body = self._bodies[call.id] = asyncio.Queue[Message](_PARTS_UNDER_WAY)
        parts: asyncio.Queue[Head | bytes | None] = asyncio.Queue(_PARTS_UNDER_WAY)
        if call.body is not None:
            body.put_nowait({"type": "http.request", "body": call.body, "more_body": False})

        async def receive() -> Message:
            async with asyncio.timeout(_IDLE_S):
                return await body.get()

        send, complete = _sender(parts.put), False

        async def sending(message: Message) -> None:
            nonlocal complete
            await send(message)
            is_body = message["type"] == "http.response.body"
            complete = complete or (is_body and not message.get("more_body", False))

        async def run() -> None:
            try:
                await self._app(_scope(call), receive, sending)
            except Exception:
                # The caller has the whole answer: to break it now would break the next one on the
                # same connection.
                if not complete:
                    raise
                _log.exception("a request failed past its answer")
            finally:
                await parts.put(None)

        running = asyncio.create_task(run())
        try:
            yield None
            while (part := await parts.get()) is not None:
                yield part
            await running
        finally:
            del self._bodies[call.id]
            running.cancel()


@dataclass(frozen=True, slots=True)
class _ForwardedRequest:
    """What log lines and error bodies say of a request that an ingress forwarded."""

    correlation_id: str
    trace: None = None


def _headers(exchange: Exchange) -> list[tuple[bytes, bytes]]:
    """Returns the headers to forward: no credentials, and the caller's id where one is known."""
    headers: list[tuple[bytes, bytes]] = list(exchange.scope["headers"])
    caller = exchange.caller
    hidden = {b"authorization", b"x-api-key", b"cookie", FRONT_HEADER.encode("ascii")}
    if caller is not None:
        hidden.add(b"x-actor")
    kept = [(name, value) for name, value in headers if name.lower() not in hidden]
    return kept if caller is None else [*kept, (b"x-actor", caller.encode("utf-8"))]


def _scope(call: Call) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": call.method,
        "scheme": "http",
        "path": call.path,
        "raw_path": call.path.encode("utf-8"),
        "root_path": "",
        "query_string": call.query,
        "headers": call.headers,
    }


def _sender(put: Callable[[Head | bytes | None], Awaitable[None]]) -> Any:
    """An ASGI ``send`` that gathers small parts of a body into larger ones."""
    gathered = bytearray()

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            await put(Head(message["status"], list(message.get("headers", ()))))
            return
        gathered.extend(message.get("body", b""))
        while len(gathered) >= PART_BYTES:
            part = bytes(gathered[:PART_BYTES])
            del gathered[:PART_BYTES]
            await put(part)
        if gathered and not message.get("more_body", False):
            await put(bytes(gathered))
            gathered.clear()

    return send
