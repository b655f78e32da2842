"""Every sample reaches its gauge, with its labels, and nothing else does."""

import asyncio
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from deployments.metrics import Metrics
from deployments.mirror import Mirror


class Gauges:
    """Stands for Ray's metrics: keeps what is set."""

    def __init__(self) -> None:
        self.labels: dict[str, tuple[str, ...]] = {}
        self.series: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}

    def make(self, name: str, text: str, labels: Sequence[str]) -> "Named":
        assert name not in self.labels, "made twice"
        assert text
        self.labels[name] = tuple(labels)
        return Named(self, name)


class Named:
    def __init__(self, gauges: Gauges, name: str) -> None:
        self._gauges, self._name = gauges, name

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        tags = tags or {}
        assert set(tags) <= set(self._gauges.labels[self._name])
        assert all(value.isascii() for value in tags.values()), "Ray refuses it"
        self._gauges.series[self._name, frozenset(tags.items())] = value


def test_counters_and_buckets_are_copied_with_their_labels() -> None:
    registry, gauges = CollectorRegistry(), Gauges()
    counter = Counter("answers", "Answers.", ["code"], registry=registry)
    histogram = Histogram("wait_seconds", "Wait.", buckets=(0.1, 1.0), registry=registry)
    mirror = Mirror(registry, gauges.make)
    counter.labels("200").inc(3)
    histogram.observe(0.5)
    mirror.copy()
    counter.labels("200").inc()
    counter.labels("429").inc()
    assert mirror.copy() == 2 + 3 + 2
    assert gauges.series == {
        ("answers_total", frozenset({("code", "200")})): 4,
        ("answers_total", frozenset({("code", "429")})): 1,
        ("wait_seconds_bucket", frozenset({("le", "0.1")})): 0,
        ("wait_seconds_bucket", frozenset({("le", "1.0")})): 1,
        ("wait_seconds_bucket", frozenset({("le", "+Inf")})): 1,
        ("wait_seconds_sum", frozenset()): 0.5,
        ("wait_seconds_count", frozenset()): 1,
    }


def test_labels_that_ray_would_refuse_are_written_out() -> None:
    metrics, gauges = Metrics(), Gauges()
    metrics.predictions.labels("bestürzt", "false").inc()
    metrics.mirror(gauges.make).copy()
    tags = frozenset({("label", "best\\xfcrzt"), ("cached", "false")})
    assert gauges.series["sentiment_predictions_total", tags] == 1


def test_it_copies_again_and_again_until_cancelled() -> None:
    gauges, metrics = Gauges(), Metrics()

    async def live() -> None:
        task = asyncio.create_task(metrics.mirror(gauges.make).run(interval_s=0.001))
        await asyncio.sleep(0.02)
        metrics.queued_texts.set(7)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(live())
    assert gauges.series["sentiment_queued_texts", frozenset()] == 7
