"""Bodies that come slowly, in pieces, or not at all."""

import asyncio
import time
from collections.abc import AsyncIterator

import httpx
import pytest
from front import Stages, with_front

from configs.schema.app import AppConfig, CacheConfig, LimitsConfig
from deployments.asgi.exchange import ClientGone, Exchange
from deployments.errors import BodyTooLarge

CONFIG = AppConfig(cache=CacheConfig(l2="none"))


def exchange(*messages: dict[str, object]) -> Exchange:
    queue = list(messages)

    async def receive() -> dict[str, object]:
        return queue.pop(0)

    async def send(message: object) -> None:
        raise AssertionError(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": []}
    return Exchange(scope, receive, send)


def body_of(given: Exchange, limits: LimitsConfig = LimitsConfig()) -> bytes:  # noqa: B008
    return asyncio.run(given.json_body(limits, time.monotonic() + 5))


def test_pieces_are_joined() -> None:
    first = {"type": "http.request", "body": b"ab", "more_body": True}
    assert body_of(exchange(first, {"type": "http.request", "body": b"c"})) == b"abc"


def test_an_unannounced_body_is_cut_at_the_limit() -> None:
    piece = {"type": "http.request", "body": b"x" * 600, "more_body": True}
    with pytest.raises(BodyTooLarge):
        body_of(exchange(piece, piece), LimitsConfig(max_body_bytes=1_024, max_text_chars=10))


def test_a_client_that_leaves_in_between_is_noticed() -> None:
    first = {"type": "http.request", "body": b"ab", "more_body": True}
    with pytest.raises(ClientGone):
        body_of(exchange(first, {"type": "http.disconnect"}))


def test_a_body_that_does_not_arrive_is_a_504() -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"text":'
        await asyncio.sleep(5)
        yield b'"hi"}'

    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post(
            "/api/v1/predict",
            content=slowly(),
            headers={"content-type": "application/json", "X-Deadline-Ms": "100"},
        )
        assert (answer.status_code, answer.json()["error_code"]) == (504, "E2003")

    with_front(CONFIG, body, stages=Stages())
