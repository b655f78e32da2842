"""One HTTP request and its answer, in raw ASGI: headers, body, deadline, error body.

FastAPI would cost each prediction 0.3 ms more; the routes that need speed use this
directly, all others get it around FastAPI, so that every answer has the same headers
and every failure the same body.
"""

import asyncio
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import orjson
from starlette.types import Message, Receive, Scope, Send

from configs.schema.app import LimitsConfig
from deployments.asgi.schemas import ErrorBody
from deployments.errors import (
    BodyTooLarge,
    BodyTooSlow,
    DeadlineExceeded,
    InvalidInput,
    RequestError,
    UnsupportedMedia,
)
from deployments.predictions import AnswerFacts
from deployments.telemetry.spans import Trace

_CORRELATION_ID = re.compile(r"[\w.:\-]{1,128}", re.ASCII)
_JSON = "application/json"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# An answer is data for one caller: not to be sniffed, framed or kept by a proxy.
_SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)

Route = Callable[[Any], Awaitable[None]]  # of an Exchange, or of what is one
Headers = Iterable[tuple[bytes, bytes]]


class ClientGone(Exception):
    """The client closed the connection before its body was complete."""


class Exchange:
    """What a route needs to know of a request, and how it answers.

    Attributes:
        correlation_id: The client's ``X-Correlation-ID`` if it is well-formed, else a new UUID.
        status: Status sent; 0 before an answer, 499 if the client left.
        endpoint: Route pattern for metrics and log; never the raw path.
        caller: Id of the authenticated caller; None where access is open.
        address: The client's, as far as it is known; see ``access/client_address.py``.
        trace: Where its spans go; None if it is not sampled.
        served: What its texts were answered with, once they are.
        error_code: Of the error that it ended with.
        marks: Further headers of the answer.
        way: ``general`` through Ray Serve, ``fast`` before it (``ingress/fast_path.py``).
    """

    way = "general"

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self._send = send
        self._headers: dict[bytes, bytes] = dict(scope["headers"])
        self.started_s = time.monotonic()
        self.status = 0
        self.endpoint = "unmatched"
        self.caller: str | None = None
        self.address = ""
        self.trace: Trace | None = None
        self.served: AnswerFacts | None = None
        self.error_code = ""
        self.marks: tuple[tuple[bytes, bytes], ...] = ()
        given = self.header("x-correlation-id")
        well_formed = given is not None and _CORRELATION_ID.fullmatch(given)
        self.correlation_id = given if given and well_formed else str(uuid.uuid4())

    def traces(self, texts: int) -> Sequence[Trace]:
        """Its trace for each of its texts; empty if it is not sampled."""
        return () if self.trace is None else (self.trace,) * texts

    @property
    def share_key(self) -> str:
        """Whose share of queue, jobs and disk it takes: the caller's, else its address's."""
        return f"address:{self.address}" if self.caller is None else self.caller

    @property
    def method(self) -> str:
        """Upper-case HTTP method."""
        return str(self.scope["method"])

    @property
    def counted_method(self) -> str:
        """The method, or ``other``: a client may write there what it likes."""
        return self.method if self.method in _METHODS else "other"

    @property
    def path(self) -> str:
        """Path below the application's route prefix."""
        path: str = self.scope["path"]
        return path.removeprefix(self.scope.get("root_path", "").rstrip("/"))

    @property
    def has_form(self) -> bool:
        """Whether the body is a form, with a file mostly."""
        return (self.header("content-type") or "").startswith("multipart/form-data")

    def header(self, name: str) -> str | None:
        """A request header, or None; the last one if it is repeated."""
        value = self._headers.get(name.encode("ascii"))
        return None if value is None else value.decode("latin-1")

    def deadline_s(self, limits: LimitsConfig) -> float:
        """When the answer must be there, on ``time.monotonic``.

        Raises:
            InvalidInput: ``X-Deadline-Ms`` is not a positive whole number.
        """
        given = self.header("x-deadline-ms")
        if given is None:
            return self.started_s + limits.default_deadline_ms / 1_000
        if not (given.isascii() and given.isdigit() and int(given[:12]) > 0):
            raise InvalidInput(
                "header X-Deadline-Ms must be a whole number of milliseconds above 0",
                {"header": "X-Deadline-Ms"},
            )
        return self.started_s + min(int(given[:12]), limits.max_deadline_ms) / 1_000

    def bulk(self, default: bool) -> bool:
        """Whether interactive requests go first: ``X-Priority``, else the route's default.

        Raises:
            InvalidInput: ``X-Priority`` is neither ``interactive`` nor ``bulk``.
        """
        given = self.header("x-priority")
        if given is None:
            return default
        if given not in ("interactive", "bulk"):
            raise InvalidInput(
                "header X-Priority must be interactive or bulk", {"header": "X-Priority"}
            )
        return given == "bulk"

    async def gather(self, limits: LimitsConfig) -> None:
        """Takes the whole body, whatever it is, before an application asks for it.

        Raises:
            BodyTooLarge: More than ``max_body_bytes``, announced or received.
            BodyTooSlow: It was not complete within the default deadline.
            ClientGone: The client left.
        """
        try:
            body = await self._within(self.started_s + limits.default_deadline_ms / 1_000, limits)
        except DeadlineExceeded as error:
            raise BodyTooSlow("the body does not arrive fast enough") from error
        message: Message = {"type": "http.request", "body": body, "more_body": False}
        following, given = self.receive, False

        async def receive() -> Message:
            nonlocal given
            if given:
                return await following()
            given = True
            return message

        self.receive = receive

    async def json_body(self, limits: LimitsConfig, deadline_s: float) -> bytes:
        """The whole request body, which has to be JSON; raises as ``body``."""
        return await self.body(limits, deadline_s, (_JSON,))

    async def body(
        self, limits: LimitsConfig, deadline_s: float, content_types: Sequence[str]
    ) -> bytes:
        """The whole request body.

        Raises:
            DeadlineExceeded: It was not complete in time.
            UnsupportedMedia: Another content type than ``content_types``, or compressed.
            BodyTooLarge: More than ``max_body_bytes``, announced or received.
            ClientGone: The client left.
        """
        content_type = self.header("content-type")
        given = (content_type or "").split(";")[0].strip().lower()
        if content_type is not None and given not in content_types:
            raise UnsupportedMedia(
                f"content type {given[:100]!r} is not {' or '.join(content_types)}; "
                f"send the header Content-Type: {content_types[0]}"
            )
        if self.header("content-encoding") not in (None, "identity"):
            raise UnsupportedMedia("compressed bodies are not taken; send it as it is")
        return await self._within(deadline_s, limits)

    def _check_size(self, limits: LimitsConfig) -> None:
        announced = self.header("content-length") or ""
        if announced.isdigit() and int(announced) > limits.max_body_bytes:
            raise _too_large(limits)

    async def _within(self, deadline_s: float, limits: LimitsConfig) -> bytes:
        self._check_size(limits)
        try:
            async with asyncio.timeout(deadline_s - time.monotonic()):
                return await self._body(limits)
        except TimeoutError as error:
            raise DeadlineExceeded("the body did not arrive before the deadline") from error

    async def _body(self, limits: LimitsConfig) -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > limits.max_body_bytes:
                raise _too_large(limits)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    async def answer(
        self,
        status: int,
        body: bytes,
        headers: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> None:
        """Sends a whole answer."""
        fields = {
            "content-type": content_type,
            "content-length": str(len(body)),
            **(headers or {}),
        }
        encoded = [(k.encode("ascii"), v.encode("latin-1")) for k, v in fields.items()]
        await self.send({"type": "http.response.start", "status": status, "headers": encoded})
        await self.send({"type": "http.response.body", "body": body})

    async def send(self, message: Message) -> None:
        """ASGI ``send`` that notes the status and adds the headers of every answer."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            elapsed_ms = (time.monotonic() - self.started_s) * 1_000
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-correlation-id", self.correlation_id.encode("ascii")),
                (b"x-inference-time-ms", b"%.2f" % elapsed_ms),
                *_SECURITY_HEADERS,
                *self.marks,
            ]
            if self.trace is not None:
                own = self.trace.context.traceparent.encode("ascii")
                message["headers"].append((b"traceresponse", own))
        await self._send(message)

    async def fail(self, error: RequestError, more: Mapping[str, object] | None = None) -> None:
        """Sends the error body, with ``more`` in it; nothing if an answer has begun already."""
        self.error_code = error.code
        if self.status:
            return
        body = ErrorBody(
            error_code=error.code,
            error_message=error.message,
            status_code=error.status,
            correlation_id=self.correlation_id,
            context=error.context,
        )
        content = orjson.dumps({**body.model_dump(mode="json"), **(more or {})})
        await self.answer(error.status, content, error.headers())


def _too_large(limits: LimitsConfig) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body is larger than {limits.max_body_bytes} bytes",
        {"max_body_bytes": limits.max_body_bytes},
    )
