"""Requests of a caller at once: exact over replicas with Redis, per replica without it."""

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.servers import RedisServer
from configs.schema.app import AppConfig
from deployments.access.concurrency_limit import ReplicaSlots, SharedSlots
from deployments.access.credentials import Caller
from deployments.clients.redis import RedisCredentials
from deployments.telemetry.metrics import Metrics

CALLER = Caller("shop", frozenset(), 0, 4)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as running:
        yield running


def shared(port: int, **parts: Any) -> SharedSlots:
    access = {"required": True, "api_key": "chosen-key-1", "rate_store": "redis"}
    redis = {"host": "127.0.0.1", "port": port, "timeout_ms": 10_000}
    given: dict[str, Any] = {"cache": {"l2": "none"}, "redis": redis, **parts}
    given["access"] = {**access, "rate_timeout_ms": 5_000, **parts.get("access", {})}
    config = AppConfig.model_validate(given)
    return SharedSlots(config, Metrics(), RedisCredentials(config.redis))


def test_a_replica_counts_for_itself() -> None:
    async def body() -> None:
        slots = ReplicaSlots()
        held = [await slots.enter(CALLER) for _ in range(5)]
        assert held == ["", "", "", "", None]
        await slots.leave(CALLER, "")
        assert await slots.enter(CALLER) == ""

    asyncio.run(body())


def test_replicas_share_one_limit_exactly(server: RedisServer) -> None:
    most = 0

    async def body() -> None:
        running = 0

        async def ask(slots: SharedSlots) -> int:
            nonlocal running, most
            slot = await slots.enter(CALLER)
            if slot is None:
                return 0
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.002)
            running -= 1
            await slots.leave(CALLER, slot)
            return 1

        replicas = [shared(server.port) for _ in range(3)]
        passed = await asyncio.gather(*(ask(replicas[i % 3]) for i in range(300)))
        assert 4 <= sum(passed) < 300
        for slots in replicas:
            await slots.close()
        assert server.client().zcard("kubesentiment:running:shop") == 0

    asyncio.run(body())
    assert most == 4


def test_a_replica_that_dies_blocks_nobody_for_ever(server: RedisServer) -> None:
    async def body() -> None:
        short = {"limits": {"default_deadline_ms": 1, "max_deadline_ms": 1}}
        short["cache"] = {"l2": "none"}
        dead, alive = (shared(server.port, **short) for _ in range(2))
        dead._lease_ms = 300
        for _ in range(4):
            assert await dead.enter(CALLER)
        assert await alive.enter(CALLER) is None
        await asyncio.sleep(0.4)
        assert await alive.enter(CALLER)
        for slots in (dead, alive):
            await slots.close()

    asyncio.run(body())


def test_while_redis_is_away_each_replica_counts_alone_and_nothing_leaks(
    server: RedisServer,
) -> None:
    async def body() -> None:
        quick = {"access": {"rate_timeout_ms": 50}, "breaker": {"recovery_ms": 100}}
        slots = shared(server.port, **quick)
        before = [await slots.enter(CALLER) for _ in range(4)]
        assert all(before)
        server.signal(signal.SIGSTOP)
        started = time.monotonic()
        during = [await slots.enter(CALLER) for _ in range(30)]
        assert during.count("") == 4  # its own count, then no more
        assert time.monotonic() - started < 2
        for slot in before:
            assert slot is not None
            await slots.leave(CALLER, slot)
        await asyncio.sleep(0.2)
        server.signal(signal.SIGCONT)
        for _ in range(4):
            await slots.leave(CALLER, "")
        deadline = time.monotonic() + 5
        held = ""
        while not held:  # the breaker tries Redis again
            assert time.monotonic() < deadline
            held = await slots.enter(CALLER) or ""
            if not held:
                await slots.leave(CALLER, "")
                await asyncio.sleep(0.05)
        # What could not be given back meanwhile is paid: only this one runs.
        assert server.client().zcard("kubesentiment:running:shop") == 1
        await slots.leave(CALLER, held)
        await slots.close()

    asyncio.run(body())
