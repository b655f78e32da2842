"""Every error that a request can end with, and where it arises.

    headers  ─▶ caller    Unauthorized, Forbidden, RateLimited
    caller   ─▶ route     NotFound, MethodNotAllowed, FeatureOff
    bytes    ─▶ JSON      BodyTooLarge, BodyTooSlow, UnsupportedMedia, MalformedBody
    JSON     ─▶ texts     InvalidInput, EmptyBatch, BatchTooLarge, TextEmpty, TextTooLong
    texts    ─▶ admitted  Overloaded
    admitted ─▶ scored    NotReady, InferenceFailed, TextFailed, DeadlineExceeded
    anywhere              InternalError

One handler turns them into one body (``asgi/error_handlers.py``). Message and context reach the
caller: they hold no text, no secret and nothing of the inside. The codes are those of the
specification's table (``monitoring/error_codes.py``); where it has none for a refusal by HTTP
alone, that
of the nearest input error is used. Batch jobs add four errors: ``jobs/errors.py``.

RequestError
├── ClientError
│   ├── MalformedBody 400 E1001
│   ├── InvalidInput 422 E1001
│   ├── TextTooLong 422 E1002
│   ├── TextEmpty 422 E1003
│   ├── BatchTooLarge 422 E1005
│   ├── EmptyBatch 422 E1006
│   ├── Unauthorized 401 E3002
│   ├── Forbidden 403 E3002
│   ├── NotFound 404 E1001
│   │   └── UnknownPrediction 404 E1001
│   ├── MethodNotAllowed 405 E1001
│   ├── BodyTooSlow 408 E1001
│   ├── BodyTooLarge 413 E1001
│   └── UnsupportedMedia 415 E1001
├── RetryLater
│   ├── RateLimited 429 E4003
│   ├── Overloaded 429 E4005
│   └── NotReady 503 E2001
│       └── MonitoringAway 503 E8002
└── ServerError
    ├── InferenceFailed 500 E2002
    │   └── TextFailed 500 E2002
    ├── InternalError 500 E4001
    ├── FeatureOff 503 E4006
    │   └── MonitoringOff 503 E8001
    └── DeadlineExceeded 504 E2003
"""

from collections.abc import Mapping
from typing import Self


def cause(error: BaseException) -> BaseException:
    """The error that a remote replica raised, without Ray's wrapping and its traceback."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error


class RequestError(Exception):
    """Base of all request errors.

    A subclass gives its facts once: ``class TextEmpty(ClientError, status=422, code="E1003")``;
    what it leaves out is its base's.

    Attributes:
        status: HTTP status.
        code: E-number.
        message: One sentence for the caller.
        context: Facts a program may use: field, limit, index.
    """

    status = 500
    code = "E4001"

    def __init_subclass__(cls, *, status: int | None = None, code: str | None = None) -> None:
        super().__init_subclass__()
        cls.status = status or cls.status
        cls.code = code or cls.code

    def __init__(self, message: str, context: Mapping[str, object] | None = None) -> None:
        super().__init__(message, context)
        self.message = message
        self.context = dict(context or {})

    def headers(self) -> dict[str, str]:
        """Response headers that belong to this error."""
        return {}


# What the caller can correct.


class ClientError(RequestError):
    """The request cannot be answered as it is."""


class MalformedBody(ClientError, status=400, code="E1001"):
    """The body is not UTF-8 JSON."""


class InvalidInput(ClientError, status=422, code="E1001"):
    """The body is JSON but not what the route takes."""


class TextTooLong(ClientError, status=422, code="E1002"):
    """A text has more characters than ``limits.max_text_chars``."""


class TextEmpty(ClientError, status=422, code="E1003"):
    """A text is empty or only white space."""


class BatchTooLarge(ClientError, status=422, code="E1005"):
    """More texts than ``limits.max_batch_texts``."""


class EmptyBatch(ClientError, status=422, code="E1006"):
    """A batch request without texts."""


class Unauthorized(ClientError, status=401, code="E3002"):
    """No API key or bearer token, or one that is not valid."""

    def headers(self) -> dict[str, str]:
        """``WWW-Authenticate``, as RFC 9110 wants."""
        return {"www-authenticate": 'ApiKey header="X-API-Key", Bearer'}


class Forbidden(ClientError, status=403, code="E3002"):
    """The caller is known and lacks the role in ``context["role"]``."""


class NotFound(ClientError, status=404, code="E1001"):
    """No such route."""


class UnknownPrediction(NotFound):
    """No answer of that id is remembered."""


class MethodNotAllowed(ClientError, status=405, code="E1001"):
    """The route exists, the method does not. ``context["allow"]`` lists what does."""

    @classmethod
    def of(cls, method: str, allow: str) -> Self:
        """The refusal of ``method`` where ``allow`` lists what the route takes."""
        said = f"{method} is not allowed here" + (f"; use {allow}" if allow else "")
        return cls(said, {"allow": allow})

    def headers(self) -> dict[str, str]:
        """``Allow``, as RFC 9110 wants."""
        allow = self.context.get("allow")
        return {"allow": str(allow)} if allow else {}


class BodyTooSlow(ClientError, status=408, code="E1001"):
    """The body of an upload does not arrive at the least pace; the connection is closed."""

    def headers(self) -> dict[str, str]:
        """What is still to come would be taken for the next request."""
        return {"connection": "close"}


class BodyTooLarge(ClientError, status=413, code="E1001"):
    """More bytes than ``limits.max_body_bytes``."""


class UnsupportedMedia(ClientError, status=415, code="E1001"):
    """The content type is not ``application/json``."""


# What the same request may achieve later.


class RetryLater(RequestError):
    """The server does not take it now; ``context["retry_after_s"]`` says when to ask again."""

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds; 2 where it is not known: replicas load in seconds."""
        return {"retry-after": str(self.context.get("retry_after_s", 2))}


class RateLimited(RetryLater, status=429, code="E4003"):
    """One caller's limit. ``context["retry_after_s"]`` says when it may ask again."""


class Overloaded(RetryLater, status=429, code="E4005"):
    """The queue is full. ``context["retry_after_s"]`` says when it should have drained."""


class NotReady(RetryLater, status=503, code="E2001"):
    """No model is loaded yet, or a stage of the graph does not answer."""


class MonitoringAway(NotReady, code="E8002"):
    """What watches traffic does not answer; predictions go on."""


# What only the server's operator can correct.


class ServerError(RequestError):
    """The request was right and has no answer."""


class InferenceFailed(ServerError, status=500, code="E2002"):
    """The tokenizer or the model could not answer."""


class TextFailed(InferenceFailed):
    """The model answers other texts and has no answer for this one; it would fail again."""


class InternalError(ServerError, status=500, code="E4001"):
    """Anything unforeseen; details are in the log, not in the answer."""


class FeatureOff(ServerError, status=503, code="E4006"):
    """A part of the server is not switched on, as batch jobs without ``jobs.enabled``."""


class MonitoringOff(FeatureOff, code="E8001"):
    """A part that watches traffic is not switched on, as drift detection."""


class DeadlineExceeded(ServerError, status=504, code="E2003"):
    """The deadline passed before the answer was there."""
