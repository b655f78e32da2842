"""A micro-batch that hangs in one replica is answered by another one."""

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from deployments.inference import second_try
from deployments.inference.second_try import SecondTry
from deployments.payloads import ModelAnswer, TextBatch


class Replicas:
    """Each call goes to the next of some replicas: one hangs, one fails, one answers."""

    def __init__(self, *kinds: str) -> None:
        self.kinds = list(kinds)
        self.batches: list[TextBatch] = []
        self.cancelled = 0
        self.free = asyncio.Event()

    async def run(self, batch: TextBatch) -> ModelAnswer:
        self.batches.append(batch)
        kind = self.kinds.pop(0) if self.kinds else "answers"
        if kind == "fails":
            raise ConnectionError("lost")
        if kind == "hangs":
            try:
                await self.free.wait()
            except asyncio.CancelledError:
                self.cancelled += 1
                raise
            raise ConnectionError("lost after all")
        return kind  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(second_try, "_LEAST_PATIENCE_S", 0.01)


def batch(remaining_s: float = 0.05) -> TextBatch:
    return TextBatch("d", ["text"], np.array([remaining_s], dtype=np.float32), np.array([False]))


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 10))


def test_the_second_replica_answers_with_what_is_left_of_the_time():
    async def body() -> None:
        replicas, seconds = Replicas("hangs", "answers"), []
        tried = SecondTry(replicas.run, lambda: seconds.append(1))
        assert await tried.run(batch(0.2)) == "answers"
        first, second = replicas.batches
        assert second.texts == first.texts
        assert 0 < second.remaining_s[0] <= first.remaining_s[0] * 0.81
        await asyncio.sleep(0)
        assert replicas.cancelled == 1
        assert seconds == [1]

    in_loop(body)


def test_an_answer_in_time_and_an_error_are_passed_on_without_a_second_try():
    async def body() -> None:
        replicas = Replicas("answers", "fails")
        tried = SecondTry(replicas.run, lambda: pytest.fail("sent again"))
        assert await tried.run(batch()) == "answers"
        with pytest.raises(ConnectionError, match="lost"):
            await tried.run(batch())
        assert len(replicas.batches) == 2

    in_loop(body)


def test_the_error_of_one_try_does_not_end_the_other():
    async def body() -> None:
        replicas = Replicas("hangs", "fails")
        running = asyncio.create_task(SecondTry(replicas.run, lambda: None).run(batch()))
        await asyncio.sleep(0.1)
        assert len(replicas.batches) == 2
        assert not running.done()
        replicas.free.set()
        with pytest.raises(ConnectionError, match="lost after all"):
            await running

    in_loop(body)


def test_second_tries_are_bounded_and_answers_allow_more():
    async def body() -> None:
        replicas = Replicas(*["hangs"] * 1_000)
        seconds: list[int] = []
        tried = SecondTry(replicas.run, lambda: seconds.append(1))
        hung = [asyncio.create_task(tried.run(batch())) for _ in range(20)]
        await asyncio.sleep(0.2)
        assert len(seconds) == second_try._MOST
        replicas.kinds.clear()
        for _ in range(11):
            assert await tried.run(batch()) == "answers"
        replicas.kinds.append("hangs")
        assert await tried.run(batch()) == "answers"
        assert len(seconds) == second_try._MOST + 1
        for one in hung:
            one.cancel()
        await asyncio.gather(*hung, return_exceptions=True)
        assert replicas.cancelled == 20 + len(seconds)

    in_loop(body)
