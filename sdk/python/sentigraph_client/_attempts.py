"""The sans-I/O core: what is tried, when it is tried again, and what comes of it.

``execute`` turns a flow into steps; a client carries out each step and sends back what came of
it. No clock runs and no byte moves here.
"""

import random
import time
import uuid
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from sentigraph_client._body import Body
from sentigraph_client._call import Call, Flow, Reply, Send, Sleep, Steps
from sentigraph_client.errors import (
    APIError,
    ConnectionFailed,
    ResponseInvalid,
    SentigraphError,
    api_error,
)

T = TypeVar("T")
# The server's own 504 says more than a broken connection: it gets so long to arrive.
_GRACE_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 8.0
_SWITCHED_OFF = "E4006"
_GATEWAY_FAILED, _UNAVAILABLE, _TOO_MANY = 502, 503, 429


class RetryBudget:
    """Retries of one client: a tenth of its requests, and ten at once; outages stay single."""

    def __init__(self, most: float = 10.0, per_request: float = 0.1) -> None:
        self._most, self._per_request = most, per_request
        self._left = most

    def deposit(self) -> None:
        """Counts a request."""
        self._left = min(self._most, self._left + self._per_request)

    def take(self) -> bool:
        """Whether a retry may be made; counts it."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


@dataclass(frozen=True, slots=True)
class Settings:
    """How a client calls.

    Attributes:
        headers: Of every request, made for each try: a credential may be renewed.
        timeout_s: Of a call, all tries and pauses together.
        max_retries: Tries after the first.
        budget: Shared by all calls of a client.
        clock: Seconds, monotonic.
        jitter: A number from 0 to 1.
    """

    headers: Callable[[], Mapping[str, str]]
    timeout_s: float
    max_retries: int
    budget: RetryBudget
    clock: Callable[[], float] = field(default=time.monotonic)
    jitter: Callable[[], float] = field(default=random.random)


def execute(flow: Flow[T], settings: Settings) -> Steps[T]:
    """The steps of a flow; a call's error is raised inside of the flow."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Sleep):
                yield step
                step = flow.send(None)
                continue
            try:
                value = yield from _attempts(step, settings)
            except SentigraphError as error:
                step = flow.throw(error)
            else:
                step = flow.send(value)
    except StopIteration as done:
        value = done.value
    return value  # type: ignore[no-any-return]


def _attempts(call: Call[Any], settings: Settings) -> Steps[Any]:
    ends_s = settings.clock() + (call.timeout_s or settings.timeout_s)
    own = {name: value for name, value in call.headers.items() if value is not None}
    if call.keyed:
        own.setdefault("Idempotency-Key", str(uuid.uuid4()))
    settings.budget.deposit()
    tries = 0
    while True:
        left_s = ends_s - settings.clock()
        headers = {**settings.headers(), **own}
        if call.deadline:
            headers["X-Deadline-Ms"] = str(max(1, int(left_s * 1_000)))
            left_s += _GRACE_S
        outcome = yield Send(call, headers, max(left_s, 0.001))
        if isinstance(outcome, Reply) and outcome.status < 400:
            return _decoded(call, outcome)
        error = _error(outcome)
        wait_s = _pause_s(error, tries, settings.jitter())
        if (
            tries >= settings.max_retries
            or not _worth_another(call, error)
            or settings.clock() + wait_s >= ends_s
            or not settings.budget.take()
        ):
            raise error
        yield Sleep(wait_s)
        tries += 1


def _error(outcome: Reply | ConnectionFailed) -> APIError | ConnectionFailed:
    if isinstance(outcome, ConnectionFailed):
        return outcome
    retry_after_s = _seconds(outcome.headers.get("retry-after"))
    return api_error(outcome.status, outcome.body, retry_after_s)


def _worth_another(call: Call[Any], error: APIError | ConnectionFailed) -> bool:
    repeatable = call.repeatable or call.keyed or call.method == "GET"
    if isinstance(error, ConnectionFailed):
        return repeatable or not error.sent
    if error.status == _TOO_MANY:
        return True  # refused before anything was done
    busy = error.status in (_GATEWAY_FAILED, _UNAVAILABLE) and error.error_code != _SWITCHED_OFF
    return repeatable and busy


def _pause_s(error: APIError | ConnectionFailed, tries: int, jitter: float) -> float:
    backoff_s: float = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0**tries) * (0.5 + jitter / 2)
    asked_s = error.retry_after_s if isinstance(error, APIError) else None
    return max(backoff_s, asked_s or 0.0)


def _seconds(retry_after: str | None) -> float | None:
    """The header's seconds, whether it gives a number or a date."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        at = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - datetime.now(UTC)).total_seconds())


@cache
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast("type[Any]", kind))


def _decoded(call: Call[Any], reply: Reply) -> Any:
    if call.answer is type(None) or call.into is not None:
        return call.into
    if call.answer is bytes:
        return reply.body
    if call.answer is str:
        return reply.body.decode("utf-8", "replace")
    try:
        value = _adapter(cast("Hashable", call.answer)).validate_json(reply.body)
    except ValidationError as error:
        raise ResponseInvalid(f"the answer of {call.method} {call.path}: {error}") from error
    if isinstance(value, Body):
        value._headers = reply.headers
    return value
