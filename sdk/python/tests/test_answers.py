"""Answers, errors and credentials; the same for both clients."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from sentigraph_client import Client, errors

Make = Callable[..., Any]
Failed = Callable[..., httpx2.Response]


def predict(client: Any) -> Any:
    return client.predict("hello")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadRequest),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (412, errors.PreconditionFailed),
        (413, errors.TooLarge),
        (415, errors.UnsupportedMedia),
        (422, errors.InvalidRequest),
        (418, errors.APIError),
        (429, errors.RateLimited),
        (500, errors.ServerError),
        (503, errors.Unavailable),
        (504, errors.DeadlineExceeded),
    ],
)
def test_errors_have_a_class_a_code_and_a_correlation_id(
    make: Make, failed: Failed, status: int, kind: type[errors.APIError]
) -> None:
    with pytest.raises(errors.APIError) as raised:
        make(failed(status, "E9"), max_retries=0).do(predict)
    error = raised.value
    assert type(error) is kind
    assert (error.status, error.error_code, error.correlation_id) == (status, "E9", "c-1")
    assert error.context == {"field": "text"}
    assert "c-1" in str(error)


def test_a_proxys_page_is_an_error_too(make: Make) -> None:
    page = httpx2.Response(502, text="<html>bad gateway</html>")
    with pytest.raises(errors.ServerError, match="bad gateway") as raised:
        make(page, max_retries=0).do(predict)
    assert raised.value.error_code == ""


def test_a_newer_servers_fields_and_labels_are_kept(make: Make, prediction: dict[str, Any]) -> None:
    newer = {**prediction, "label": "MIXED", "backend": "tpu", "explanation": ["x"]}
    answer = make(httpx2.Response(200, json=newer, headers={"Server-Timing": "model;dur=1"})).do(
        predict
    )
    assert (answer.label, answer.explanation) == ("MIXED", ["x"])
    assert answer.response_headers["server-timing"] == "model;dur=1"


@pytest.mark.parametrize("content", [b"", b"[]", b'{"label": 3}'])
def test_an_answer_of_another_kind_is_refused(make: Make, content: bytes) -> None:
    with pytest.raises(errors.ResponseInvalid):
        make(httpx2.Response(200, content=content)).do(predict)


def test_credentials_are_asked_for_each_try(
    make: Make, failed: Failed, prediction: dict[str, Any]
) -> None:
    keys: Iterator[str] = iter(["old", "new"])
    asked = make(
        failed(429), httpx2.Response(200, json=prediction), api_key=lambda: next(keys), actor="me"
    )
    asked.do(predict)
    assert [request.headers["x-api-key"] for request in asked.requests] == ["old", "new"]
    assert asked.requests[0].headers["x-actor"] == "me"
    assert asked.requests[0].headers["user-agent"].startswith("sentigraph-client/")
    asked = make(httpx2.Response(200, json=prediction), bearer_token="t")
    asked.do(predict)
    assert asked.requests[0].headers["authorization"] == "Bearer t"
    assert "x-api-key" not in asked.requests[0].headers


def test_address_and_key_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, prediction: dict[str, Any]
) -> None:
    monkeypatch.setenv("SENTIGRAPH_URL", "http://elsewhere:1/")
    monkeypatch.setenv("SENTIGRAPH_API_KEY", "k")
    seen: list[httpx2.Request] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        return httpx2.Response(200, json=prediction)

    with Client(http_client=httpx2.Client(transport=httpx2.MockTransport(answer))) as client:
        client.predict("a")
    assert str(seen[0].url) == "http://elsewhere:1/api/v1/predict"
    assert seen[0].headers["x-api-key"] == "k"


def test_names_in_paths_are_quoted(make: Make, failed: Failed) -> None:
    asked = make(failed(404))
    for ask in (
        lambda client: client.versions.get("a/b", "?"),
        lambda client: client.versions.download_file("m", "1", "a b/c.json", "/tmp/x"),
    ):
        with pytest.raises(errors.NotFound):
            asked.do(ask)
    paths = [request.url.raw_path for request in asked.requests]
    assert paths == [
        b"/api/v1/models/a%2Fb/versions/%3F",
        b"/api/v1/models/m/versions/1/artifact/a%20b/c.json",
    ]
