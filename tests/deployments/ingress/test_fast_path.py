"""The fast path answers as Ray Serve's way does, and ends as it does."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from front import Stages
from http_corpus import ONE, corpus, request
from http_server import read_answer, served, without_ids_and_times
from uvicorn import config as uvicorn_config

from configs.schema.api_keys import digest_of
from configs.schema.app import AppConfig

LIMITS = {"max_text_chars": 100, "max_batch_texts": 8, "max_body_bytes": 66_000}
OPEN: dict[str, Any] = {"cache": {"l2": "none"}, "limits": LIMITS}
WRITER, READER = "writer-key-0123456789", "reader-key-0123456789"
KEYS = [
    {"id": "writer", "sha256": digest_of(WRITER), "roles": ["predict"], "max_concurrent": 4},
    {"id": "reader", "sha256": digest_of(READER), "roles": ["registry-read"]},
]
CONFIGS: dict[str, dict[str, Any]] = {
    "open": OPEN,
    "keys": {
        **OPEN,
        "access": {
            "required": True,
            "api_keys": json.dumps(KEYS),
            "requests_per_s": 1_000,
            "max_failed_logins": 2,
            "public": ["metrics"],
        },
    },
    "for all browsers": {**OPEN, "server": {"cors_origins": ["*"]}},
    "traced, for browsers": {
        **OPEN,
        "tracing": {"enabled": True, "sample_ratio": 0, "endpoint": "http://127.0.0.1:9"},
        "server": {"cors_origins": ["https://shop.example"]},
    },
}
# What depends on how long something takes, and what tells the ways apart.
_TIMED = re.compile(
    r"_seconds|_created|predict_requests|cost_error|python_|process_|predicted_wait"
)


def run(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))


def text(value: str, *headers: str) -> bytes:
    return request({"text": value}, *headers)


def counted(page: bytes) -> list[str]:
    lines = page.decode().partition("\r\n\r\n")[2].splitlines()
    return [line for line in lines if not line.startswith("#") and not _TIMED.search(line)]


def noted(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The access lines so far, without what changes from call to call."""
    texts = [record.getMessage() for record in caplog.records if record.name == "sentigraph.access"]
    caplog.clear()
    lines = [json.loads(line) for text in texts for line in text.splitlines()]
    changing = ("timestamp", "duration_ms", "span_id", "prediction_id")
    for line in lines:
        for name in changing:
            line.pop(name, None)
        if re.fullmatch("[0-9a-f-]{36}", line["correlation_id"]):
            line["correlation_id"] = "ID"
    return lines


@pytest.mark.parametrize("name", CONFIGS)
def test_both_ways_answer_the_whole_corpus_with_the_same_bytes(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sentigraph.access")
    config = AppConfig.model_validate(CONFIGS[name])
    answers: dict[bool, dict[str, bytes]] = {}
    pages: dict[bool, list[str]] = {}
    lines: dict[bool, list[dict[str, Any]]] = {}
    ways: dict[bool, dict[str, float]] = {}

    def keyed(sent: bytes) -> bytes:
        # A key of the request's own comes later and wins.
        key = b"Host: sentigraph\r\nX-API-Key: " + WRITER.encode()
        return sent.replace(b"Host: sentigraph", key, 1) if name == "keys" else sent

    async def body() -> None:
        for fast in (False, True):
            async with served(config, fast=fast) as front:
                answers[fast] = {each: await front.ask(keyed(sent)) for each, sent in corpus()}
                page = request(b"", path="/metrics", method="GET")
                pages[fast] = counted(await front.ask(keyed(page)))
                ways[fast] = front.ways
                front.ingress._access.flush()
                lines[fast] = noted(caplog)

    run(body)
    for each, answer in answers[True].items():
        assert without_ids_and_times(answer) == without_ids_and_times(answers[False][each]), each
    assert pages[True] == pages[False]
    assert lines[True] == lines[False]
    assert ways[False]["fast"] == 0
    assert sum(ways[True].values()) == ways[False]["general"]
    assert ways[True]["fast"] > 60


def test_what_never_waits_needs_no_task() -> None:
    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN)) as front:
            await front.ask(text("known"))
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(text("known") + text(" "))
            before = await read_answer(reader)
            made: list[object] = []
            asyncio.get_running_loop().set_task_factory(
                lambda loop, coro, **more: (
                    made.append(coro) or asyncio.Task(coro, loop=loop, **more)  # type: ignore[func-returns-value]
                )
            )
            writer.write(text("known") + text(" "))
            after = await read_answer(reader)
            asyncio.get_running_loop().set_task_factory(None)
            writer.close()
            assert b"200 OK" in before
            assert b"200 OK" in after
            assert not made

    run(body)


def test_a_head_and_a_late_body_are_one_request() -> None:
    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN)) as front:
            head, _, rest = text("late").partition(b"\r\n\r\n")
            for pause_s, way in ((0.0, "fast"), (0.1, "general")):
                before = front.ways[way]
                reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
                writer.write(head + b"\r\n\r\n" + rest[:3])
                await asyncio.sleep(pause_s)
                writer.write(rest[3:])
                assert b"200 OK" in await read_answer(reader)
                writer.close()
                if way == "general":
                    assert front.ways[way] == before + 1

    run(body)


def test_a_body_that_never_comes_is_bounded_by_the_deadline() -> None:
    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN)) as front:
            answer = await front.ask(request(b"", "X-Deadline-Ms: 50", length=10))
            assert answer.startswith(b"HTTP/1.1 504")
            assert b"E2003" in answer

    run(body)


def test_requests_in_one_piece_are_answered_in_order() -> None:
    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN), Stages(delay_s=0.02)) as front:
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            names = [f"n{i}" for i in range(6)]
            writer.write(b"".join(text("p", f"X-Correlation-ID: {name}") for name in names))
            received = b""
            while received.count(b"HTTP/1.1 200") < 6 or not received.endswith(b"}"):
                received += await reader.read(65_536)
            writer.close()
            assert re.findall(rb"x-correlation-id: (\w+)", received) == [n.encode() for n in names]

    run(body)


def test_a_client_that_leaves_is_counted_and_its_text_withdrawn() -> None:
    async def body() -> None:
        stages = Stages(delay_s=0.2)
        async with served(AppConfig.model_validate(OPEN), stages, hops=1) as front:
            # The hop is busy, so the text that is given up still waits.
            busy = [asyncio.create_task(front.ask(text(f"busy {i}"))) for i in range(3)]
            await asyncio.sleep(0.05)
            _, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(text("given up"))
            await asyncio.sleep(0.05)
            writer.transport.abort()
            await asyncio.gather(*busy)
            metrics = front.ingress._metrics
            assert metrics.requests.labels(ONE, "POST", "499")._value.get() == 1
            assert metrics.dropped_texts.labels("cancelled")._value.get() == 1
            assert front.ingress._fast.running == 0
            assert metrics.active_requests._value.get() == 0

    run(body)


def test_a_client_that_leaves_with_half_a_body_is_counted() -> None:
    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN)) as front:
            _, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(request(b'{"te', length=100))
            await asyncio.sleep(0.005)
            writer.transport.abort()
            until_s = time.monotonic() + 5
            while front.ingress._metrics.requests.labels(ONE, "POST", "499")._value.get() < 1:
                assert time.monotonic() < until_s
                await asyncio.sleep(0.005)

    run(body)


def test_a_server_that_stops_answers_what_it_has_begun() -> None:
    async def body() -> None:
        stages = Stages(delay_s=0.3)
        async with served(AppConfig.model_validate(OPEN), stages) as front:
            idle_reader, idle = await asyncio.open_connection("127.0.0.1", front.port)
            half_reader, half = await asyncio.open_connection("127.0.0.1", front.port)
            asked = [asyncio.create_task(front.ask(text(f"begun {i}"))) for i in range(8)]
            await asyncio.sleep(0.1)
            half_request = text("half")
            half.write(half_request[:-5])
            await asyncio.sleep(0.01)
            front.server.should_exit = True
            await asyncio.sleep(0.12)  # uvicorn looks ten times a second
            half.write(half_request[-5:])
            for answer in [*await asyncio.gather(*asked), await read_answer(half_reader)]:
                assert answer.startswith(b"HTTP/1.1 200"), answer
                assert b"connection: close" in answer
            assert await idle_reader.read() == b""
            for writer in (idle, half):
                writer.close()

    run(body)


def test_more_than_may_run_at_once_go_through_ray_serve() -> None:
    config = AppConfig.model_validate(
        {**OPEN, "replicas": {"ingress": {"max_ongoing_requests": 2}}}
    )

    async def body() -> None:
        async with served(config, Stages(delay_s=0.1)) as front:
            asked = [asyncio.create_task(front.ask(text(f"one of {i}"))) for i in range(5)]
            await asyncio.sleep(0.05)
            assert front.ingress.record_autoscaling_stats()["fast_requests"] == 2
            answers = await asyncio.gather(*asked)
            assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)
            assert front.ways == {"fast": 2, "general": 3}
            assert front.ingress.record_autoscaling_stats()["fast_requests"] == 0

    run(body)


def test_the_first_request_shows_whether_there_is_a_prefix() -> None:
    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN), opened=False) as front:
            for _ in range(3):
                assert b"200 OK" in await front.ask(text("hello"))
            assert front.ways == {"fast": 2, "general": 1}
            front.ingress._fast.learn({"root_path": "/prefix"})
            await front.ask(text("hello"))
            assert front.ways == {"fast": 2, "general": 2}

    run(body)


def test_another_uvicorn_is_told_and_served_as_before(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changed = "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol"
    monkeypatch.setitem(uvicorn_config.HTTP_PROTOCOLS, "auto", changed)
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)

    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN), fast=True, opened=False) as front:
            assert b"200 OK" in await front.ask(text("hello"))
            assert front.ways == {"fast": 0, "general": 1}

    run(body)
    assert "no fast path" in caplog.text


def test_a_server_elsewhere_is_told_once_and_not_at_the_first_requests(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)

    async def body() -> None:
        async with served(AppConfig.model_validate(OPEN), opened=False) as front:
            front.ingress._fast.connections = 0
            # Through the fallback proxy, while HAProxy does not know the replica.
            for _ in range(99):
                front.ingress._fast.learn({"root_path": ""})
            assert "no fast path" not in caplog.text
            for _ in range(99):
                front.ingress._fast.learn({"root_path": ""})

    run(body)
    said = {id(record) for record in caplog.records if "no fast path" in record.getMessage()}
    assert len(said) == 1
