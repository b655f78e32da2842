"""Every error that a call can end with.

SentigraphError
├── ConnectionFailed          no answer: refused, broken, or later than the deadline
├── ResponseInvalid           an answer that is not what the API promises
├── WebhookInvalid            a message whose signature does not hold
├── JobTimeout                a job did not end in the time that was given
└── APIError                  status, error_code, correlation_id, context
    ├── BadRequest 400
    ├── Unauthorized 401
    ├── Forbidden 403
    ├── NotFound 404
    ├── Conflict 409
    ├── PreconditionFailed 412
    ├── TooLarge 413
    ├── UnsupportedMedia 415
    ├── InvalidRequest 422
    ├── RateLimited 429       retry_after_s
    └── ServerError 5xx
        ├── Unavailable 503   retry_after_s
        └── DeadlineExceeded 504
"""

import json
from collections.abc import Mapping


class SentigraphError(Exception):
    """Base of all errors."""


class ConnectionFailed(SentigraphError):
    """The server did not answer.

    Attributes:
        sent: Whether the server may have got the request.
    """

    def __init__(self, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.sent = sent


class ResponseInvalid(SentigraphError):
    """The answer is not what the API promises."""


class WebhookInvalid(SentigraphError):
    """The message is not from the server that has the secret, or it is too old."""


class JobTimeout(SentigraphError):
    """The job did not end in the time that was given; it goes on."""


class APIError(SentigraphError):
    """The server refused the request or could not answer it.

    Attributes:
        status: HTTP status.
        error_code: E-number of the error table; empty when a proxy answered.
        message: One sentence.
        correlation_id: Names the request in the server's log; empty when a proxy answered.
        context: Facts a program may use.
        retry_after_s: Seconds after which the same request may be answered; None if not said.
    """

    def __init__(
        self,
        status: int,
        error_code: str,
        message: str,
        correlation_id: str,
        *,
        context: Mapping[str, object] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{status} {error_code}: {message} (correlation id {correlation_id})")
        self.status = status
        self.error_code = error_code
        self.message = message
        self.correlation_id = correlation_id
        self.context = dict(context or {})
        self.retry_after_s = retry_after_s


class BadRequest(APIError):
    """400: the body is no JSON."""


class Unauthorized(APIError):
    """401: no credential, or one that is not valid."""


class Forbidden(APIError):
    """403: the caller lacks the role."""


class NotFound(APIError):
    """404: there is no such thing."""


class Conflict(APIError):
    """409: the present state does not allow it."""


class PreconditionFailed(APIError):
    """412: the state has changed since the ``ETag`` was read."""


class TooLarge(APIError):
    """413: more bytes than the server takes."""


class UnsupportedMedia(APIError):
    """415: a type that the server does not take."""


class InvalidRequest(APIError):
    """422: not what the operation takes."""


class RateLimited(APIError):
    """429: a limit of the caller or of the server."""


class ServerError(APIError):
    """5xx: the request was right and has no answer."""


class Unavailable(ServerError):
    """503: not ready, or switched off (``error_code`` E4006)."""


class DeadlineExceeded(ServerError):
    """504: the deadline passed before the answer was there."""


_BY_STATUS: Mapping[int, type[APIError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedMedia,
    422: InvalidRequest,
    429: RateLimited,
    503: Unavailable,
    504: DeadlineExceeded,
}


def api_error(status: int, body: bytes, retry_after_s: float | None) -> APIError:
    """The error of an answer of 400 and above, whether the server or a proxy sent it."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else APIError)
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        found = {"error_message": body[:200].decode("utf-8", "replace")}
    context = found.get("context")
    return kind(
        status,
        str(found.get("error_code", "")),
        str(found.get("error_message", "")),
        str(found.get("correlation_id", "")),
        context=context if isinstance(context, dict) else None,
        retry_after_s=retry_after_s,
    )
