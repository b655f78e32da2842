"""Every sample reaches its gauge, with its labels, and nothing else does."""

import asyncio

import pytest
from gauges import Gauges
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from deployments.telemetry.metrics import Metrics
from deployments.telemetry.ray_export import RayMetricsExporter


def test_counters_and_buckets_are_copied_with_their_labels() -> None:
    registry, gauges = CollectorRegistry(), Gauges()
    counter = Counter("answers", "Answers.", ["code"], registry=registry)
    histogram = Histogram("wait_seconds", "Wait.", buckets=(0.1, 1.0), registry=registry)
    mirror = RayMetricsExporter(registry, gauges.make)
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


def test_a_series_that_is_gone_becomes_zero_and_can_come_back() -> None:
    registry, gauges = CollectorRegistry(), Gauges()
    lag = Gauge("lag", "Lag.", ["partition"], registry=registry)
    mirror = RayMetricsExporter(registry, gauges.make)
    series = ("lag", frozenset({("partition", "3")}))
    lag.labels("3").set(70)
    mirror.copy()
    lag.remove("3")
    mirror.copy()
    assert gauges.series[series] == 0
    lag.labels("3").set(5)
    mirror.copy()
    assert gauges.series[series] == 5
