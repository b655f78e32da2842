"""What is tried again, when, and how often; the same for both clients."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

from sentigraph_client import errors

Make = Callable[..., Any]
Failed = Callable[..., httpx2.Response]


def predict(client: Any) -> Any:
    return client.predict("hello")


def test_retry_after_is_honoured(make: Make, failed: Failed, prediction: dict[str, Any]) -> None:
    busy = failed(429, "E4005", retry_after="3")
    asked = make(busy, failed(503, "E2001"), httpx2.Response(200, json=prediction))
    assert asked.do(predict).label == "POSITIVE"
    assert asked.pauses == [3.0, 0.5]


def test_retry_after_may_be_a_date(make: Make, failed: Failed, prediction: dict[str, Any]) -> None:
    at = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    asked = make(failed(503, retry_after=at), httpx2.Response(200, json=prediction))
    asked.do(predict)
    assert 5 < asked.pauses[0] <= 10


def test_the_deadline_shrinks_by_what_was_spent(
    make: Make, failed: Failed, prediction: dict[str, Any]
) -> None:
    asked = make(
        failed(429, "E4005", retry_after="2"), httpx2.Response(200, json=prediction), timeout_s=10
    )
    asked.seconds_per_try = 1.0
    asked.do(predict)
    sent = [int(request.headers["x-deadline-ms"]) for request in asked.requests]
    assert sent == [10_000, 7_000]
    # The server's own 504 has to arrive.
    waits = [request.extensions["timeout"]["read"] for request in asked.requests]
    assert waits == [10.5, 7.5]


def test_a_call_has_a_deadline_of_its_own(make: Make, prediction: dict[str, Any]) -> None:
    asked = make(httpx2.Response(200, json=prediction))
    asked.do(lambda client: client.predict("hello", deadline_s=0.25))
    assert asked.requests[0].headers["x-deadline-ms"] == "250"


def test_no_retry_where_the_wait_would_pass_the_deadline(make: Make, failed: Failed) -> None:
    asked = make(failed(429, "E4005", retry_after="30"), timeout_s=10)
    with pytest.raises(errors.RateLimited) as raised:
        asked.do(predict)
    assert raised.value.retry_after_s == 30
    assert (len(asked.requests), asked.pauses) == (1, [])


@pytest.mark.parametrize(
    ("status", "code", "tries"),
    [
        (400, "E1001", 1),
        (401, "E3002", 1),
        (404, "E1001", 1),
        (422, "E1003", 1),
        (500, "E2002", 1),
        (504, "E2003", 1),
        (503, "E4006", 1),  # switched off: it stays so
        (502, "", 3),
        (503, "E2001", 3),
        (429, "E4003", 3),
    ],
)
def test_only_what_may_succeed_is_tried_again(
    make: Make, failed: Failed, status: int, code: str, tries: int
) -> None:
    asked = make(failed(status, code))
    with pytest.raises(errors.APIError):
        asked.do(predict)
    assert len(asked.requests) == tries


def test_connection_errors_repeat_what_is_harmless(make: Make) -> None:
    broken = make(httpx2.ReadError("reset"))
    with pytest.raises(errors.ConnectionFailed) as raised:
        broken.do(predict)
    assert (raised.value.sent, len(broken.requests)) == (True, 3)


@pytest.mark.parametrize(
    ("error", "tries"), [(httpx2.ReadTimeout("late"), 1), (httpx2.ConnectError("refused"), 3)]
)
def test_a_promotion_is_sent_twice_only_if_it_never_left(
    make: Make, error: Exception, tries: int
) -> None:
    asked = make(error)
    with pytest.raises(errors.ConnectionFailed):
        asked.do(lambda client: client.versions.promote("m", "2"))
    assert len(asked.requests) == tries


def test_a_promotion_is_not_repeated_after_503_but_after_429(make: Make, failed: Failed) -> None:
    for status, tries in ((503, 1), (429, 3)):
        asked = make(failed(status))
        with pytest.raises(errors.APIError):
            asked.do(lambda client: client.versions.promote("m", "2"))
        assert len(asked.requests) == tries


def test_all_tries_of_a_submission_carry_one_key(make: Make, failed: Failed) -> None:
    accepted = {
        "job_id": "j",
        "status": "pending",
        "total_texts": 1,
        "estimated_completion_seconds": None,
        "created_at": "2026-11-30T12:00:00Z",
        "priority": "medium",
        "progress_percentage": 0,
    }
    taken = httpx2.Response(202, json=accepted)
    asked = make(httpx2.ReadError("reset"), failed(503), taken)
    asked.do(lambda client: client.jobs.submit(["a"]))
    keys = [request.headers["idempotency-key"] for request in asked.requests]
    assert (len(keys), len(set(keys))) == (3, 1)
    asked.do(lambda client: client.jobs.submit(["a"]))
    assert asked.requests[-1].headers["idempotency-key"] != keys[0]
    asked.do(lambda client: client.jobs.submit(["a"], idempotency_key="mine"))
    assert asked.requests[-1].headers["idempotency-key"] == "mine"


def test_an_outage_is_not_multiplied(make: Make, failed: Failed) -> None:
    asked = make(failed(503, "E2001"))
    for _ in range(100):
        with pytest.raises(errors.Unavailable):
            asked.do(predict)
    # 100 requests, ten retries at once and a tenth of the requests.
    assert 110 <= len(asked.requests) <= 121


def test_options_change_one_copy_and_share_the_budget(make: Make, failed: Failed) -> None:
    asked = make(failed(503, "E2001"))
    with pytest.raises(errors.Unavailable):
        asked.do(lambda client: client.with_options(max_retries=0).server.ready())
    assert len(asked.requests) == 1
    with pytest.raises(errors.Unavailable):
        asked.do(lambda client: client.with_options(max_retries=5, timeout_s=60).predict("a"))
    assert len(asked.requests) == 7
    assert asked.requests[1].headers["x-deadline-ms"] == "60000"
    with pytest.raises(errors.Unavailable):
        asked.do(predict)
    assert len(asked.requests) == 10
