"""Token buckets: in one replica against a clock of our own, over all of them in a real Redis."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from front import with_front
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.harness.servers import RedisServer
from configs.schema.api_keys import new_key, write_keys
from configs.schema.app import AppConfig
from deployments.access.credentials import Caller
from deployments.access.rate_limit import ReplicaRates, SharedRates
from deployments.clients.redis import RedisCredentials
from deployments.telemetry.metrics import Metrics


def caller(rate: float, name: str = "shop") -> Caller:
    return Caller(name, frozenset(), rate, 0)


@given(
    rate=st.floats(0.5, 1_000),
    burst_s=st.floats(0.01, 5),
    steps=st.lists(st.floats(0, 2), min_size=1, max_size=200),
)
def test_no_more_than_rate_and_burst_ever_pass(
    rate: float, burst_s: float, steps: list[float]
) -> None:
    async def body() -> None:
        nonlocal now
        passed = 0
        for step in steps:
            now += step
            wait_s = await rates.take(caller(rate))
            passed += not wait_s
            assert wait_s <= 1 / rate + 1e-6
        assert passed <= max(1, rate * burst_s) + rate * now + 1e-6

    now = 0.0
    rates = ReplicaRates(burst_s, lambda: now)
    asyncio.run(body())


def test_who_waits_as_long_as_told_may_go_on_and_callers_are_apart() -> None:
    async def body() -> None:
        nonlocal now
        assert [await rates.take(caller(10)) for _ in range(10)] == [0] * 10
        wait_s = await rates.take(caller(10))
        assert wait_s == pytest.approx(0.1)
        assert await rates.take(caller(10, "other")) == 0
        now += wait_s + 1e-9
        assert await rates.take(caller(10)) == 0

    now = 0.0
    rates = ReplicaRates(1, lambda: now)
    asyncio.run(body())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


def config(port: int, **access: Any) -> AppConfig:
    redis = {"host": "127.0.0.1", "port": port}
    # Longer than a busy machine makes anybody wait.
    keys: dict[str, Any] = {"required": True, "api_key": "chosen-key-1", "rate_store": "redis"}
    keys["rate_timeout_ms"] = 5_000
    return AppConfig.model_validate(
        {"redis": redis, "access": {**keys, **access}, "cache": {"l2": "none"}}
    )


def shared(settings: AppConfig) -> SharedRates:
    return SharedRates(settings, Metrics(), RedisCredentials(settings.redis))


def test_replicas_share_one_rate_exactly(server: RedisServer) -> None:
    """Three times the rate, on two replicas: what passes is the rate, and never more.

    On a busy machine a bundle may stay unused; ``make outages`` shows both sides in 2 %.
    """

    async def offer(rates: SharedRates, until_s: float) -> int:
        passed = 0
        while time.monotonic() < until_s:
            passed += not await rates.take(caller(100))
            await asyncio.sleep(1 / 150)
        return passed

    async def body() -> None:
        replicas = [shared(config(server.port, burst_s=0.5)) for _ in range(2)]
        started = time.monotonic()
        counts = await asyncio.gather(*(offer(rates, started + 3) for rates in replicas))
        elapsed_s = time.monotonic() - started
        assert 0.6 < sum(counts) / (100 * elapsed_s + 50) < 1.02
        assert min(counts) > 0.2 * sum(counts)  # neither starves the other
        for rates in replicas:
            await rates.close()

    asyncio.run(body())


def test_an_unused_bundle_is_worth_little(server: RedisServer) -> None:
    async def body() -> None:
        first, second = (shared(config(server.port, burst_s=1)) for _ in range(2))
        assert await first.take(caller(100)) == 0  # takes two tokens, spends one
        started = time.monotonic()
        passed = sum([not await second.take(caller(100)) for _ in range(150)])
        assert 98 <= passed <= 99 + 100 * (time.monotonic() - started)
        for rates in (first, second):
            await rates.close()

    asyncio.run(body())


def test_each_replica_counts_alone_while_redis_is_away(server: RedisServer) -> None:
    async def body() -> None:
        rates = shared(config(server.port, burst_s=0.5))
        server.stop()
        started = time.monotonic()
        passed = sum([not await rates.take(caller(40)) for _ in range(100)])
        assert 20 <= passed <= 20 + 40 * (time.monotonic() - started) + 1
        assert time.monotonic() - started < 2
        await rates.close()

    asyncio.run(body())


def test_a_stopped_redis_costs_no_more_than_its_time(server: RedisServer) -> None:
    async def body() -> None:
        rates = shared(config(server.port, rate_timeout_ms=300))
        await rates.take(caller(10, "first"))
        server.signal(signal.SIGSTOP)
        started = time.monotonic()
        for _ in range(50):
            await rates.take(caller(10))
        assert 1.4 < time.monotonic() - started < 4  # five waits, and the breaker is open
        server.signal(signal.SIGCONT)
        await rates.close()

    asyncio.run(body())


def test_a_rate_through_the_ingress(server: RedisServer) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        headers = {"X-API-Key": key}
        text = {"text": "a"}
        send = [client.post("/api/v1/predict", json=text, headers=headers) for _ in range(30)]
        started = time.monotonic()
        statuses = [answer.status_code for answer in await asyncio.gather(*send)]
        assert 10 <= statuses.count(200) <= 10 + time.monotonic() - started
        assert statuses.count(200) + statuses.count(429) == 30

    key, kept = new_key("shop", ["predict"])
    limited = write_keys([kept.model_copy(update={"requests_per_s": 1.0})])
    with_front(config(server.port, api_keys=limited, burst_s=10), body)
