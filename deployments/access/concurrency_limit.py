"""How many requests of a caller run at once. Per replica, or exact over all replicas in Redis.

In Redis each running request is a lease: it is deleted at the end, and expires if the replica
dies before. While Redis is away, each replica counts alone.
"""

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from configs.schema.app import AppConfig
from deployments.access.credentials import Caller
from deployments.clients.circuit_breaker import Breaker, BreakerOpen
from deployments.clients.redis import RedisCredentials, connect
from deployments.telemetry.metrics import Metrics

# Leases end by the server's clock. Returns 1 when there was room for one more. The last arguments
# are leases that Redis was not there to take back.
_ENTER = """
for i = 4, #ARGV do redis.call('ZREM', KEYS[1], ARGV[i]) end
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[3])
redis.call('PEXPIRE', KEYS[1], tonumber(ARGV[2]))
return 1
"""
_GRACE_MS = 5_000


class Slots(Protocol):
    """Counts the running requests of callers that have a limit."""

    async def enter(self, caller: Caller) -> str | None:
        """Returns what ``leave`` takes; None when as many run as may."""
        ...

    async def leave(self, caller: Caller, slot: str) -> None:
        """Counts a request that has ended."""
        ...

    async def close(self) -> None:
        """Ends connections."""
        ...


class ReplicaSlots:
    """``Slots`` of one replica for itself."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    async def enter(self, caller: Caller) -> str | None:
        """See ``Slots.enter``."""
        if self._running[caller.id] >= caller.max_concurrent:
            return None
        self._running[caller.id] += 1
        return ""

    async def leave(self, caller: Caller, slot: str) -> None:
        """See ``Slots.leave``."""
        self._running[caller.id] -= 1
        if not self._running[caller.id]:
            del self._running[caller.id]

    async def close(self) -> None:
        """See ``Slots.close``; there are none."""


class SharedSlots:
    """``Slots`` of all replicas together."""

    def __init__(self, config: AppConfig, metrics: Metrics, login: RedisCredentials) -> None:
        self._redis = connect(config.redis, login)
        self._enter = self._redis.register_script(_ENTER)
        self._prefix = f"{config.redis.namespace}:running:"
        # No request outlives its deadline by much.
        self._lease_ms = config.limits.max_deadline_ms + _GRACE_MS
        self._timeout_s = config.access.rate_timeout_ms / 1_000
        self._breaker = Breaker(config.breaker, metrics.breaker("concurrency_limit"))
        self._alone = ReplicaSlots()
        # Ended leases that Redis may still hold: the caller's next request deletes them.
        self._ended: dict[str, set[str]] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    async def enter(self, caller: Caller) -> str | None:
        """See ``Slots.enter``."""
        slot = uuid.uuid4().hex
        ended = list(self._ended.get(caller.id, ()))
        try:
            with self._breaker.guard():
                entered = await asyncio.wait_for(
                    self._enter(
                        keys=[self._prefix + caller.id],
                        args=[caller.max_concurrent, self._lease_ms, slot, *ended],
                    ),
                    self._timeout_s,
                )
        except BreakerOpen:
            return await self._alone.enter(caller)
        except Exception:  # noqa: BLE001  (whatever is wrong with Redis, requests go on)
            # Redis may have made the lease and answered too late.
            self._ended.setdefault(caller.id, set()).add(slot)
            return await self._alone.enter(caller)
        self._deleted(caller.id, ended)
        return slot if entered else None

    async def leave(self, caller: Caller, slot: str) -> None:
        """See ``Slots.leave``; does not wait for Redis."""
        if not slot:
            await self._alone.leave(caller, slot)
            return
        self._ended.setdefault(caller.id, set()).add(slot)
        task = asyncio.create_task(self._delete(caller.id, slot))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def close(self) -> None:
        """See ``Slots.close``."""
        await asyncio.gather(*self._leaving)
        await self._redis.aclose()

    async def _delete(self, caller_id: str, slot: str) -> None:
        try:
            with self._breaker.guard():
                asked = self._redis.zrem(self._prefix + caller_id, slot)
                await asyncio.wait_for(asked, self._timeout_s)
        except Exception:  # noqa: BLE001  (the caller's next request deletes it)
            return
        self._deleted(caller_id, (slot,))

    def _deleted(self, caller_id: str, slots: Iterable[str]) -> None:
        left = self._ended.get(caller_id, set())
        left.difference_update(slots)
        if not left:
            self._ended.pop(caller_id, None)
