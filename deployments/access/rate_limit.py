"""Token buckets: how often a caller may ask. Per replica, or exact over all replicas in Redis.

With Redis, a replica takes tokens in small bundles and spends them without asking again, so
most requests cost no call. When a bucket is empty, Redis says when the next token comes, and
until then the replica refuses by itself. While Redis is away, each replica counts alone.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from configs.schema.app import AppConfig
from deployments.access.credentials import Caller
from deployments.clients.circuit_breaker import Breaker
from deployments.clients.redis import RedisCredentials, connect
from deployments.telemetry.metrics import Metrics

_MAX_BUCKETS = 10_000
_BUNDLE_S = 0.02  # of a caller's rate in one bundle
_BUNDLE_LIFE_S = 1.0

# Tokens flow by the server's clock. Returns how many were taken, and the wait for the next.
_TAKE = """
local rate, burst, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * rate)
local taken = math.min(wanted, math.floor(tokens))
tokens = tokens - taken
local micro = '%.6f'
redis.call('HSET', KEYS[1], 'tokens', micro:format(tokens), 'at', micro:format(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(burst / rate * 1000) + 1000)
return {taken, taken > 0 and 0 or math.ceil((1 - tokens) / rate * 1000)}
"""


class Rates(Protocol):
    """Counts requests of callers that have a rate."""

    async def take(self, caller: Caller) -> float:
        """Returns 0 when the request may go on, else the seconds until one may."""
        ...

    async def close(self) -> None:
        """Ends connections."""
        ...


class TokenBuckets:
    """Token buckets of one process by name; beyond 10,000 the oldest is forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str, rate: float, burst: float) -> float:
        """Takes a token of a bucket that fills by ``rate`` per second up to ``burst``.

        Returns:
            0 when there was one, else the seconds until there will be.
        """
        now = self._clock()
        tokens, at_s = self._buckets.get(name, (burst, now))
        tokens = min(burst, tokens + (now - at_s) * rate)
        self._buckets[name] = (tokens - (tokens >= 1), now)
        if len(self._buckets) > _MAX_BUCKETS:
            self._buckets.popitem(last=False)
        return 0.0 if tokens >= 1 else (1 - tokens) / rate


class ReplicaRates:
    """``Rates`` of one replica for itself."""

    def __init__(self, burst_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst_s = burst_s
        self._buckets = TokenBuckets(clock)

    async def take(self, caller: Caller) -> float:
        """See ``Rates.take``."""
        rate = caller.requests_per_s
        return self._buckets.take(caller.id, rate, max(1.0, rate * self._burst_s))

    async def close(self) -> None:
        """See ``Rates.close``; there are none."""


@dataclass(slots=True)
class _Bundle:
    tokens: int = 0
    ends_s: float = 0.0
    denied_until_s: float = 0.0
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    def spend(self) -> float | None:
        """Returns 0 for a token spent, the seconds while there is none, None to ask Redis."""
        now = time.monotonic()
        if self.tokens > 0 and now < self.ends_s:
            self.tokens -= 1
            return 0.0
        return self.denied_until_s - now if now < self.denied_until_s else None


class SharedRates:
    """``Rates`` of all replicas together."""

    def __init__(self, config: AppConfig, metrics: Metrics, login: RedisCredentials) -> None:
        self._redis = connect(config.redis, login)
        self._take = self._redis.register_script(_TAKE)
        self._prefix = f"{config.redis.namespace}:rate:"
        self._burst_s = config.access.burst_s
        self._timeout_s = config.access.rate_timeout_ms / 1_000
        self._breaker = Breaker(config.breaker, metrics.breaker("rate_limit"))
        self._alone = ReplicaRates(config.access.burst_s)
        self._bundles: OrderedDict[str, _Bundle] = OrderedDict()

    async def take(self, caller: Caller) -> float:
        """See ``Rates.take``."""
        bundle = self._bundles.setdefault(caller.id, _Bundle())
        if len(self._bundles) > _MAX_BUCKETS:
            self._bundles.popitem(last=False)
        if (decided := bundle.spend()) is not None:
            return decided
        async with bundle.asking:
            # A request that asked before this one may have taken enough.
            if (decided := bundle.spend()) is not None:
                return decided
            try:
                with self._breaker.guard():
                    return await asyncio.wait_for(self._ask(caller, bundle), self._timeout_s)
            except Exception:  # noqa: BLE001  (whatever is wrong with Redis, requests go on)
                return await self._alone.take(caller)

    async def _ask(self, caller: Caller, bundle: _Bundle) -> float:
        """Takes a bundle and spends one of it, or learns when there will be one."""
        rate = caller.requests_per_s
        wanted = max(1, round(rate * _BUNDLE_S))
        burst = max(float(wanted), rate * self._burst_s)
        taken, wait_ms = await self._take(
            keys=[self._prefix + caller.id], args=[rate, burst, wanted]
        )
        now = time.monotonic()
        if not taken:
            wait_s = max(1, int(wait_ms)) / 1_000
            bundle.denied_until_s = now + wait_s
            return wait_s
        bundle.tokens = int(taken) - 1
        bundle.ends_s = now + _BUNDLE_LIFE_S
        return 0.0

    async def close(self) -> None:
        """See ``Rates.close``."""
        await self._redis.aclose()
