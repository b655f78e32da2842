"""One gRPC call as an ``Exchange``, so that gate, limits, metrics and access log are HTTP's.

Method and path are those of the protocol's HTTP route, so one table says which role is
needed; metadata are the headers; a failure becomes a status code, with the E-number and what
else a program may use in the trailing metadata.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import grpc
from google.protobuf.message import Message
from starlette.types import Message as AsgiMessage

from configs.schema.app import LimitsConfig
from deployments.asgi.exchange import Exchange
from deployments.errors import BodyTooLarge, MalformedBody, RequestError
from deployments.oip.grpc_messages import SERVICE, Undecodable, response_of

_CODES = {
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


class CallContext(Protocol):
    """What we ask of the context that Ray Serve gives with a call."""

    def invocation_metadata(self) -> Sequence[tuple[str, str | bytes]]:
        """Returns what the client sent beside the message."""
        ...

    def peer(self) -> str:
        """The client's address."""
        ...

    def set_code(self, code: grpc.StatusCode) -> None:
        """Ends the call with this status."""
        ...

    def set_details(self, details: str) -> None:
        """Sets the message of a failure."""
        ...

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        """Sets what is sent beside the answer."""
        ...


class GrpcCall(Exchange):
    """One call: its request, its metadata, and how it is answered.

    Attributes:
        name: Of the method.
        request: What was sent.
        response: What is sent back; empty until ``finish``.
    """

    def __init__(
        self,
        name: str,
        route: tuple[str, str],
        request: Message | Undecodable,
        context: CallContext,
    ) -> None:
        """Reads the metadata; keys are lower-case in gRPC, as header names are in ASGI."""
        method, path = route
        headers = [
            (key.encode("ascii"), value if isinstance(value, bytes) else value.encode("latin-1"))
            for key, value in context.invocation_metadata()
        ]
        scope = {
            "type": "grpc",
            "method": method,
            "path": path,
            "headers": headers,
            "client": _address(context.peer()),
        }
        super().__init__(scope, _no_body, _discard)
        self.endpoint = f"/{SERVICE}/{name}"
        self.name = name
        self.request = request
        self.response = response_of(name)
        self._context = context

    def check(self, limits: LimitsConfig) -> None:
        """Checks the message as a whole.

        Raises:
            MalformedBody: The bytes are no message.
            BodyTooLarge: The message has more than ``max_body_bytes``.
        """
        if isinstance(self.request, Undecodable):
            raise MalformedBody(f"the bytes are no message of {self.name}")
        if self.request.ByteSize() > limits.max_body_bytes:
            raise BodyTooLarge(
                f"the message is larger than {limits.max_body_bytes} bytes",
                {"max_body_bytes": limits.max_body_bytes},
            )

    def finish(self, response: Message) -> None:
        """Answers with a message."""
        self.status = 200
        self.response = response
        elapsed_ms = (time.monotonic() - self.started_s) * 1_000
        self._end({"x-inference-time-ms": f"{elapsed_ms:.2f}"})

    async def fail(self, error: RequestError, more: Mapping[str, object] | None = None) -> None:
        """Answers with the error's status code; nothing if there is an answer already."""
        self.error_code = error.code
        if self.status:
            return
        self.status = error.status
        self._context.set_code(_CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT))
        self._context.set_details(error.message)
        self._end({"x-error-code": error.code, **error.headers()})

    def _end(self, trailers: Mapping[str, str]) -> None:
        fields = {"x-correlation-id": self.correlation_id, **trailers}
        if self.trace is not None:
            fields["traceresponse"] = self.trace.context.traceparent
        self._context.set_trailing_metadata([(k.lower(), v) for k, v in fields.items()])


def _address(peer: str) -> tuple[str, int]:
    """``ipv4:10.0.0.1:5000`` or ``ipv6:%5B::1%5D:5000`` → host and port."""
    host, _, port = peer.partition(":")[2].rpartition(":")
    bare = host.replace("%5B", "").replace("%5D", "").strip("[]")
    return bare, int(port) if port.isdigit() else 0


async def _no_body() -> AsgiMessage:
    return {"type": "http.disconnect"}


async def _discard(message: AsgiMessage) -> None:
    """A gRPC call is answered by its message."""
