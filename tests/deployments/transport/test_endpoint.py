"""Real sockets between a caller and a replica: who gets in, what is answered, what ends them."""

import asyncio
import dataclasses
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from deployments.payloads import EncodingBatch, Encodings, ScoreBatch
from deployments.telemetry.spans import done, new_trace
from deployments.transport import links as links_module
from deployments.transport.connection import Connection, ConnectionLost, StageFailed
from deployments.transport.endpoint import Address, Answer, Endpoint
from deployments.transport.links import Links
from deployments.transport.wire import (
    BadMessage,
    Header,
    message,
    pack_encodings,
    pack_encodings_asked,
    pack_scores,
    read_encodings,
    read_encodings_asked,
    read_scores,
)


async def echo(header: Header, body: bytes) -> Answer:
    if header.get("slow"):
        await asyncio.sleep(60)
    if header.get("broken"):
        raise RuntimeError("engine is gone")
    return {"said": header["say"]}, [np.frombuffer(body, np.uint8)]


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    """On asyncio's loop, and on uvloop's, which replicas have: its transports are other classes."""

    async def bounded() -> None:
        await asyncio.wait_for(body(), 10)

    for loop_factory in (None, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(bounded())


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Endpoint, Address]]:
    endpoint = Endpoint({"echo": echo})
    address = await endpoint.open("one", "here", "127.0.0.1")
    try:
        yield endpoint, address
    finally:
        endpoint.close()
        await asyncio.sleep(0.01)


async def until(there: Callable[[], object]) -> None:
    while not there():  # noqa: ASYNC110  (what it waits for tells nobody)
        await asyncio.sleep(0.01)


def ignore() -> None:
    pass


@pytest.mark.parametrize("node", ["here", "elsewhere"])
def test_messages_and_answers_on_both_sockets(node: str) -> None:
    async def body() -> None:
        async with listening() as (_, address):
            connection = await Connection.open(address, node, ignore)
            encrypted = connection.transport.get_extra_info("ssl_object") is not None
            assert encrypted == (node == "elsewhere")
            sizes = (0, 1, 70_000)
            asked = [
                connection.ask("echo", {"say": size}, [np.full(size, 7, np.uint8)])
                for size in sizes
            ]
            for size, answer in zip(sizes, await asyncio.gather(*asked), strict=True):
                assert answer[0]["said"] == size
                assert answer[1] == b"\7" * size
            with pytest.raises(StageFailed, match="RuntimeError: engine is gone"):
                await connection.ask("echo", {"broken": True})
            connection.close()

    in_loop(body)


def test_whoever_has_no_key_or_another_certificate_is_not_served() -> None:
    async def body() -> None:
        async with listening() as (_, address), listening() as (_, other):
            stranger = dataclasses.replace(address, key="guessed")
            lost = asyncio.Event()
            connection = await Connection.open(stranger, "here", lost.set)
            with pytest.raises(ConnectionLost):
                await connection.ask("echo", {"say": 1})
            await lost.wait()
            # Before the key not even a long message is read.
            _, writer = await asyncio.open_unix_connection(address.path)
            reader = _
            writer.write(message({"key": "x" * 1_000}))
            assert await reader.read() == b""
            writer.close()
            impostor = dataclasses.replace(address, certificate=other.certificate)
            with pytest.raises(ssl.SSLError):
                await Connection.open(impostor, "elsewhere", ignore)

    in_loop(body)


def test_what_is_no_message_or_no_operation_ends_the_connection() -> None:
    async def body() -> None:
        async with listening() as (_, address):
            for wrong in (b"\xff" * 16, message({"do": "nothing"}), b"\x08\0\0\0\x04\0\0\0null"):
                connection = await Connection.open(address, "here", ignore)
                connection.transport.write(wrong)
                with pytest.raises(ConnectionLost):
                    await connection.ask("echo", {"slow": True})

    in_loop(body)


def test_a_replica_that_stops_fails_what_it_has_at_once() -> None:
    async def body() -> None:
        async with listening() as (endpoint, address):
            lost = asyncio.Event()
            connection = await Connection.open(address, "here", lost.set)
            asked = connection.ask("echo", {"slow": True})
            await asyncio.sleep(0.01)
            endpoint.close()
            with pytest.raises(ConnectionLost):
                await asked
            await lost.wait()
            with pytest.raises(ConnectionLost):
                await connection.ask("echo", {"say": 1})
            with pytest.raises(OSError):
                await Connection.open(address, "here", ignore)

    in_loop(body)


def sent(packed: tuple[Header, list[Any]]) -> tuple[Header, bytes]:
    """As ``Messages`` takes it apart."""
    header, arrays = packed
    raw = message(header, arrays)
    size = int.from_bytes(raw[4:8], "little")
    import orjson  # noqa: PLC0415

    return orjson.loads(raw[8 : 8 + size]), raw[8 + size :]


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.booleans())
def test_payloads_arrive_as_they_were_sent(lengths: list[int], traced: bool) -> None:
    count = len(lengths)
    random = np.random.default_rng(count)
    ids = random.integers(0, 1 << 20, sum(lengths)).astype(np.int32)
    sizes = np.array(lengths, dtype=np.int32)
    flags = random.random(count) < 0.5
    context = dataclasses.replace(new_trace(), state="vendor=1")
    contexts = (context, *(None,) * (count - 1)) if traced else ()
    seconds = random.random(count).astype(np.float32)
    asked = EncodingBatch("ab" * 32, ids, sizes, seconds, flags, contexts)
    same(asked, read_encodings_asked(*sent(pack_encodings_asked(asked))))
    facts = {"sentigraph.texts": 3, "sentigraph.cache.hit": True}
    span = done("infer", "Model", context, 1.0, 2.0, attributes=facts, links=(context,))
    spans = (span,) if traced else ()
    encoded = Encodings(ids, sizes, flags, spans)
    same(encoded, read_encodings(*sent(pack_encodings(encoded))))
    scores = random.random((count, 3)).astype(np.float32)
    scores[0] = np.nan
    batches = random.random((2, 5)).astype(np.float32)
    answer = ScoreBatch("cd" * 32, scores, flags, ~flags, *(seconds,) * 3, batches, spans)
    same(answer, read_scores(*sent(pack_scores(answer))))


def same(one: Any, other: Any) -> None:
    for field in dataclasses.fields(one):
        expected, found = getattr(one, field.name), getattr(other, field.name)
        if isinstance(expected, np.ndarray):
            assert expected.dtype == found.dtype
            np.testing.assert_array_equal(expected, found)
        else:
            assert expected == found


def test_a_payload_that_is_cut_is_refused() -> None:
    asked = EncodingBatch(
        "ab",
        np.arange(3, dtype=np.int32),
        np.array([1, 2], dtype=np.int32),
        np.ones(2, np.float32),
        np.zeros(2, np.bool_),
    )
    header, body = sent(pack_encodings_asked(asked))
    for wrong in (body[:-1], b""):
        with pytest.raises(BadMessage):
            read_encodings_asked(header, wrong)
    with pytest.raises(BadMessage):
        read_encodings_asked({**header, "tokens": 2}, body)


def test_an_unforeseen_failure_to_connect_is_said_once_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)
    real, failures = Connection.open, []

    async def body() -> None:
        async with listening() as (_, address):
            failures[:] = [AssertionError(), AssertionError()]

            async def open_(*given: Any) -> Connection:
                if failures:
                    raise failures.pop()
                return await real(*given)

            async def discover() -> list[Address]:
                return [address]

            monkeypatch.setattr(Connection, "open", open_)
            connected = asyncio.Event()
            links = Links(discover, "here", credits_=1, on_link=lambda _: connected.set())
            try:
                await links.start()
                await asyncio.wait_for(connected.wait(), 30)
            finally:
                links.close()
        # Ray's logger, where it is set up, hands a record to pytest twice.
        said = {id(one) for one in caplog.records if "no connection" in one.getMessage()}
        assert len(said) == 1
        caplog.clear()

    in_loop(body)


def test_a_replica_that_does_not_answer_is_named_until_it_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(links_module, "_LOOK_S", 0.01)
    monkeypatch.setattr(links_module, "_SILENT_S", 0.05)

    async def body() -> None:
        awake = asyncio.Event()

        async def ping(header: Header, body: bytes) -> Answer:
            await awake.wait()
            return {}, ()

        frozen = Endpoint({"ping": ping})
        sleeper = await frozen.open("sleeper", "here", "127.0.0.1")
        async with listening() as (_, address):

            async def discover() -> list[Address]:
                return [address, sleeper]

            links = Links(discover, "here", credits_=1)
            try:
                await links.start()
                await until(links.silent)
                assert set(links.silent()) == {"sleeper"}
                assert links.silent()["sleeper"] >= 0.05
                awake.set()
                await until(lambda: not links.silent())
                awake.clear()
                await until(links.silent)
                frozen.close()
                await until(lambda: not links.silent())
            finally:
                links.close()
                frozen.close()

    in_loop(body)
