"""Background work that fails is said and started again; cancelling ends it."""

import asyncio
import logging

import pytest

from deployments.telemetry import background
from deployments.telemetry.background import keep_running


def test_a_failure_is_said_and_the_work_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "_PAUSE_S", 0.001)
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)
    starts: list[int] = []
    again = asyncio.Event()

    async def work() -> None:
        starts.append(1)
        if len(starts) < 4:
            raise AssertionError("not foreseen")
        again.set()
        await asyncio.Event().wait()

    async def body() -> None:
        task = keep_running(work, "counting")
        await asyncio.wait_for(again.wait(), 30)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    asyncio.run(body())
    # A test before may have set Ray's loggers up: then a record comes to this handler twice.
    said = [record.getMessage() for record in dict.fromkeys(caplog.records)]
    assert said == [f"counting failed, and starts again in {ms / 1_000:g} s" for ms in (1, 2, 4)]
    assert all(record.exc_info for record in caplog.records)


def test_work_that_returns_is_done() -> None:
    async def work() -> None:
        return None

    async def body() -> None:
        await asyncio.wait_for(keep_running(work, "counting"), 30)

    asyncio.run(body())
