"""Every error that a request can end with. One handler turns them into one body.

RequestError            status, code
├── MalformedBody       400 E1001   not JSON, not UTF-8
├── InvalidInput        422 E1001   JSON of the wrong shape
├── TextTooLong         422 E1002
├── TextEmpty           422 E1003
├── BatchTooLarge       422 E1005
├── EmptyBatch          422 E1006
├── Unauthorized        401 E3002   no key or token, or not a valid one
├── Forbidden           403 E3002   valid, but without the role
├── NotFound            404 E1001
│   └── UnknownPrediction   the id of no answer that is remembered
├── JobNotFound         404 E7001
├── ResultsNotReady     404 E7004
├── JobNotCancellable   409 E7002
├── JobRefused          422 E7003
├── MethodNotAllowed    405 E1001
├── BodyTooLarge        413 E1001
├── UnsupportedMedia    415 E1001
├── RateLimited         429 E4003   one caller asks too often; with Retry-After
├── Overloaded          429 E4005   with Retry-After
├── InferenceFailed     500 E2002   the model stage failed
├── InternalError       500 E4001   anything unforeseen
├── NotReady            503 E2001   no model is loaded yet
├── FeatureOff          503 E4006   a part of the server is not switched on
└── DeadlineExceeded    504 E2003

The codes are those of the specification's table; where it has none for a purely
HTTP-level refusal, the nearest input error stands in.
"""

from collections.abc import Mapping


def cause(error: BaseException) -> BaseException:
    """The error that a remote replica raised, without Ray's wrapping and its traceback."""
    inner = getattr(error, "cause", None)
    return inner if isinstance(inner, BaseException) else error


class RequestError(Exception):
    """Base of all request errors.

    Attributes:
        status: HTTP status.
        code: E-number.
        message: One sentence for the caller.
        context: Facts a program may use: field, limit, index.
    """

    status = 500
    code = "E4001"

    def __init__(self, message: str, context: Mapping[str, object] | None = None) -> None:
        super().__init__(message, context)
        self.message = message
        self.context = dict(context or {})

    def headers(self) -> dict[str, str]:
        """Response headers that belong to this error."""
        return {}


class MalformedBody(RequestError):
    """The body is not UTF-8 JSON."""

    status = 400
    code = "E1001"


class InvalidInput(RequestError):
    """The body is JSON but not what the route takes."""

    status = 422
    code = "E1001"


class TextTooLong(RequestError):
    """A text has more characters than ``limits.max_text_chars``."""

    status = 422
    code = "E1002"


class TextEmpty(RequestError):
    """A text is empty or only white space."""

    status = 422
    code = "E1003"


class BatchTooLarge(RequestError):
    """More texts than ``limits.max_batch_texts``."""

    status = 422
    code = "E1005"


class EmptyBatch(RequestError):
    """A batch request without texts."""

    status = 422
    code = "E1006"


class Unauthorized(RequestError):
    """No API key or bearer token, or one that is not valid."""

    status = 401
    code = "E3002"

    def headers(self) -> dict[str, str]:
        """``WWW-Authenticate``, as RFC 9110 wants."""
        return {"www-authenticate": 'ApiKey header="X-API-Key", Bearer'}


class Forbidden(RequestError):
    """The caller is known and lacks the role in ``context["role"]``."""

    status = 403
    code = "E3002"


class NotFound(RequestError):
    """No such route."""

    status = 404
    code = "E1001"


class UnknownPrediction(NotFound):
    """No answer of that id is remembered."""


class MethodNotAllowed(RequestError):
    """The route exists, the method does not. ``context["allow"]`` lists what does."""

    status = 405
    code = "E1001"

    def headers(self) -> dict[str, str]:
        """``Allow``, as RFC 9110 wants."""
        allow = self.context.get("allow")
        return {"allow": str(allow)} if allow else {}


class BodyTooLarge(RequestError):
    """More bytes than ``limits.max_body_bytes``."""

    status = 413
    code = "E1001"


class UnsupportedMedia(RequestError):
    """The content type is not ``application/json``."""

    status = 415
    code = "E1001"


class RateLimited(RequestError):
    """One caller's limit. ``context["retry_after_s"]`` says when it may ask again."""

    status = 429
    code = "E4003"

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds."""
        return {"retry-after": str(self.context["retry_after_s"])}


class Overloaded(RequestError):
    """The queue is full. ``context["retry_after_s"]`` says when it should have drained."""

    status = 429
    code = "E4005"

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in whole seconds."""
        return {"retry-after": str(self.context["retry_after_s"])}


class InferenceFailed(RequestError):
    """The tokenizer or the model could not answer."""

    status = 500
    code = "E2002"


class InternalError(RequestError):
    """Anything unforeseen; details are in the log, not in the answer."""

    status = 500
    code = "E4001"


class NotReady(RequestError):
    """No model is loaded yet, or a stage of the graph does not answer."""

    status = 503
    code = "E2001"

    def headers(self) -> dict[str, str]:
        """A fixed short ``Retry-After``: replicas load in seconds."""
        return {"retry-after": "2"}


class JobNotFound(RequestError):
    """No such batch job, or another caller's, or deleted when its time was over."""

    status = 404
    code = "E7001"


class ResultsNotReady(RequestError):
    """The batch job has no results yet; for a download it has not ended."""

    status = 404
    code = "E7004"


class JobNotCancellable(RequestError):
    """The batch job has ended already."""

    status = 409
    code = "E7002"


class JobRefused(RequestError):
    """A batch job that cannot be taken as it is: its file, its webhook, its idempotency key."""

    status = 422
    code = "E7003"


class FeatureOff(RequestError):
    """A part of the server is not switched on, as batch jobs without ``jobs.enabled``."""

    status = 503
    code = "E4006"


class DeadlineExceeded(RequestError):
    """The deadline passed before the answer was there."""

    status = 504
    code = "E2003"
