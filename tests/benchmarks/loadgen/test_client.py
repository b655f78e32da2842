"""Both loops against a small real server."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from benchmarks.loadgen.client import Job, Load, send_load, send_texts

Reply = Callable[[int], Awaitable[bytes]]
Sent = TypeVar("Sent")


def with_length(body: bytes, status: int = 200) -> bytes:
    return b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def against(reply: Reply, **options: object) -> Load:
    """Sends a job to a server of ``reply``."""
    return served(reply, lambda port: send_load(Job("127.0.0.1", port, "/", **options)))  # type: ignore[arg-type]


def served(reply: Reply, send: Callable[[int], Awaitable[Sent]]) -> Sent:
    """What ``send`` returns of a server whose n-th answer is ``await reply(n)``; empty closes."""

    async def run() -> Sent:
        count = 0
        handlers: list[asyncio.Task[None]] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal count
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                await reader.readexactly(length)
                number, count = count, count + 1
                answer = await reply(number)
                writer.write(answer)
                if not answer or b"Connection: close" in answer:
                    await writer.drain()
                    break

        async def quiet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            handlers.append(task)
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                try:
                    await serve(reader, writer)
                finally:
                    writer.close()

        server = await asyncio.start_server(quiet, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            try:
                return await send(port)
            finally:
                for task in handlers:
                    task.cancel()
                await asyncio.gather(*handlers, return_exceptions=True)

    return asyncio.run(run())


async def at_once(number: int) -> bytes:
    return with_length(b'{"n":%d}' % number)


def test_a_closed_loop_sends_each_body_once_and_keeps_the_order() -> None:
    bodies = [f"text {number}" for number in range(20)]
    load = against(at_once, bodies=bodies, concurrency=1, seconds=30.0, keep_bodies=True)
    assert [outcome.body for outcome in load.outcomes] == [f'{{"n":{n}}}' for n in range(20)]
    assert all(outcome.status == 200 for outcome in load.outcomes)
    assert load.cpu_s >= 0.0


def test_a_closed_loop_ends_with_its_time() -> None:
    async def slow(number: int) -> bytes:
        await asyncio.sleep(0.05)
        return with_length(b"")

    load = against(slow, bodies=["x"] * 1_000, concurrency=4, seconds=0.2)
    assert 4 <= len(load.outcomes) < 100
    assert all(outcome.done_s is not None for outcome in load.outcomes)


def test_an_open_loop_does_not_wait_for_answers() -> None:
    async def first_is_slow(number: int) -> bytes:
        await asyncio.sleep(0.3 if number == 0 else 0.0)
        return with_length(b"")

    due_s = [0.0, 0.05, 0.10]
    load = against(first_is_slow, bodies=["x"] * 3, due_s=due_s)
    first, second, third = load.outcomes
    assert [outcome.due_s for outcome in load.outcomes] == due_s
    assert first.done_s is not None and second.done_s is not None and third.done_s is not None
    assert second.done_s < first.done_s
    assert third.done_s < first.done_s


@pytest.mark.parametrize("loop", [{"due_s": [0.0]}, {"concurrency": 1, "seconds": 0.1}])
def test_both_loops_give_up_on_a_server_that_hangs(loop: dict[str, object]) -> None:
    async def never(number: int) -> bytes:
        await asyncio.sleep(60)
        return b""

    load = against(never, bodies=["x"], drain_s=0.1, **loop)
    assert [outcome.done_s for outcome in load.outcomes] == [None]
    assert load.seconds < 5


def test_chunked_answers_and_broken_connections_are_understood() -> None:
    async def reply(number: int) -> bytes:
        if number == 1:
            return b""
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        return head + b'5\r\n{"cac\r\n9\r\nhed":true\r\n1\r\n}\r\n0\r\n\r\n'

    load = against(
        reply,
        bodies=["x"] * 3,
        concurrency=1,
        seconds=30.0,
        keep_bodies=True,
        cached_mark='"cached":true',
    )
    assert [outcome.status for outcome in load.outcomes] == [200, 0, 200]
    assert load.outcomes[0].body == '{"cached":true}'
    assert [outcome.cached for outcome in load.outcomes] == [True, False, True]


def test_nobody_there_is_an_error_of_every_request() -> None:
    load = asyncio.run(send_load(Job("127.0.0.1", 9, "/", ["x", "y"], due_s=[0.0, 0.0])))
    assert [outcome.status for outcome in load.outcomes] == [0, 0]
    assert all(outcome.sent_s is None for outcome in load.outcomes)


@pytest.mark.parametrize("status", [429, 503])
def test_refusals_keep_their_status(status: int) -> None:
    async def refuse(number: int) -> bytes:
        return with_length(b"busy", status)

    load = against(refuse, bodies=["x"], concurrency=1, seconds=30.0)
    assert load.outcomes[0].status == status


def test_a_server_that_ends_connections_with_an_answer_gets_new_ones() -> None:
    async def reply(number: int) -> bytes:
        answer = await at_once(number)
        return answer.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n") if number % 3 else answer

    load = against(reply, bodies=["{}"] * 50, concurrency=4, seconds=30.0)
    assert load.statuses == {200: 50}
    assert len(load.latencies_s) == 50


def test_texts_are_sent_as_predictions_and_a_broken_connection_is_an_error() -> None:
    async def reply(number: int) -> bytes:
        return await at_once(number) if number < 5 else b""

    async def send(port: int, count: int) -> Load:
        return await asyncio.to_thread(send_texts, f"http://127.0.0.1:{port}", ["a"] * count, 1)

    assert served(reply, lambda port: send(port, 5)).statuses == {200: 5}
    with pytest.raises(ConnectionError):
        served(reply, lambda port: send(port, 9))
