"""Threads that take work themselves, and calls that come between two batches."""

import asyncio
import threading
import time

import pytest

from deployments.model.engine_threads import EngineThreads


def test_a_call_comes_between_two_batches_of_a_thread_that_never_rests() -> None:
    batches: list[int] = []
    ended = threading.Event()

    def work(after: bool | None) -> bool | None:
        if ended.is_set():
            return None
        batches.append(len(batches))
        time.sleep(0.001)
        return False

    async def body() -> None:
        threads = EngineThreads(1, work)
        threads.wake()
        assert await threads.call(lambda: threading.current_thread().name.startswith("engine"))
        before = len(batches)
        with pytest.raises(ZeroDivisionError):
            await threads.call(lambda: 1 // 0)
        assert len(batches) >= before
        ended.set()

    asyncio.run(asyncio.wait_for(body(), 10))


def test_a_call_needs_no_batch() -> None:
    async def body() -> None:
        assert await EngineThreads(2, lambda after: None).call(lambda: 7) == 7

    asyncio.run(asyncio.wait_for(body(), 10))
