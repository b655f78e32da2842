"""A wall clock that is set back is told from one that is slow, stands still or jumps ahead."""

import asyncio
import logging
from collections.abc import Sequence

import pytest
from ray.serve._private.controller import ServeController
from ray.serve.context import _get_global_client
from ray.serve.schema import ControllerHealthMetrics

from deployments.rollout import serve_clock
from deployments.rollout.serve_clock import SteppedBack, watch_serve_clock

HOUR = 3_600.0


@pytest.mark.parametrize(
    ("wall", "expected"),
    [
        pytest.param([0, 5, 10, 15], [], id="right"),
        pytest.param([0, 5 - HOUR, 10 - HOUR, 15 - HOUR], [2], id="set back"),
        pytest.param([0, 5 + HOUR, 10 + HOUR, 15 + HOUR], [], id="set ahead"),
        pytest.param([0, 5 + HOUR, 10, 15], [3], id="ahead and right again"),
        pytest.param([0, 5, -60, 15], [], id="one late answer"),
        pytest.param([0, 5 - 30, 10 - 30, 15 - 30], [], id="less than matters"),
        pytest.param(
            [0, 5 - HOUR, 10 - HOUR, 15 - 2 * HOUR, 20 - 2 * HOUR], [2, 4], id="twice set back"
        ),
    ],
)
def test_only_a_clock_set_back_is_told(wall: Sequence[float], expected: list[int]) -> None:
    clock = SteppedBack()
    assert [i for i, wall_s in enumerate(wall) if clock.read(1e9 + wall_s, 5.0 * i)] == expected


def test_the_controller_is_restarted_once_and_a_failing_one_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve_clock, "_LOOK_S", 0.001)
    restarts = []

    async def run() -> None:
        readings = iter([HOUR, RuntimeError("the controller starts"), 0.0, 0.0, *[0.0] * 20])
        over = asyncio.Event()

        async def wall_clock_s() -> float:
            reading = next(readings, None)
            if reading is None:
                over.set()
                return 0.0
            if isinstance(reading, Exception):
                raise reading
            return reading

        task = asyncio.create_task(watch_serve_clock(wall_clock_s, lambda: restarts.append(1)))
        await asyncio.wait_for(over.wait(), 60)
        task.cancel()

    asyncio.run(run())
    assert restarts == [1]


def test_a_clock_that_cannot_be_read_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve_clock, "_LOOK_S", 0.001)
    monkeypatch.setattr(logging.getLogger("ray.serve"), "propagate", True)
    asked = []

    async def run() -> None:
        over = asyncio.Event()

        async def wall_clock_s() -> float:
            asked.append(1)
            if len(asked) == 30:
                over.set()
            raise KeyError("timestamp")

        task = asyncio.create_task(watch_serve_clock(wall_clock_s, lambda: None))
        await asyncio.wait_for(over.wait(), 60)
        task.cancel()

    asyncio.run(run())
    # Ray's logger, where it is set up, hands a record to pytest twice.
    assert len({id(one) for one in caplog.records if "cannot be read" in one.getMessage()}) == 1


def test_the_pinned_ray_tells_its_controllers_clock() -> None:
    assert "timestamp" in ControllerHealthMetrics.model_fields
    assert callable(ServeController.get_health_metrics)
    assert callable(_get_global_client)
