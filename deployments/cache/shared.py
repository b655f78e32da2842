"""Remembered predictions: level one inside each ingress, level two shared.

A key is 128 bits over the model's digest and the text behind the first 64 bits of that digest,
so an entry never answers for another version, not even one of the same number, and a version's
entries can be found. A value is a few bytes of numbers; nothing read back can execute code.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

from configs.schema.dependencies import BreakerConfig
from deployments.clients.circuit_breaker import Breaker, BreakerOpen
from deployments.predictions import Prediction
from deployments.telemetry.metrics import Metrics

_MAX_PENDING = 4_096
_GATHER_S = 0.05


class SharedCache(Protocol):
    """Level two as its callers see it. One call carries a whole micro-batch."""

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values in the order of ``keys``."""
        ...

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Keeps all entries."""
        ...

    async def flush(self, model: bytes) -> int:
        """Removes the entries of one model, by 8 bytes of its digest; returns how many."""
        ...


class LevelTwo:
    """The shared level for one replica: bounded in time; its failures are misses.

    Lookups and writes have a breaker each, because a full Redis refuses only writes.
    """

    def __init__(
        self, shared: SharedCache, timeout_s: float, breaker: BreakerConfig, metrics: Metrics
    ) -> None:
        self._shared = shared
        self._timeout_s = timeout_s
        self._metrics = metrics
        self._lookup = Breaker(breaker, metrics.breaker("cache_lookup"))
        self._store = Breaker(breaker, metrics.breaker("cache_write"))
        self._pending: list[tuple[bytes, bytes]] = []
        self._writing: asyncio.Task[None] | None = None

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, Prediction] | None:
        """The values known of ``keys``; None when the level fails, is slow, or is cut off."""
        try:
            with self._lookup.guard():
                values = await asyncio.wait_for(self._shared.get_many(keys), self._timeout_s)
        except BreakerOpen:
            self._metrics.cache_lookups.labels("l2", "breaker").inc(len(keys))
            return None
        except Exception:  # noqa: BLE001  (any failure of the cache is a miss, never an error)
            self._metrics.cache_lookups.labels("l2", "error").inc(len(keys))
            return None
        found: dict[bytes, Prediction] = {}
        foreign = 0
        for key, value in zip(keys, values, strict=True):
            try:
                if value is not None:
                    found[key] = Prediction.unpack(value)
            except ValueError:
                foreign += 1  # not our bytes: the model answers instead
        lookups = self._metrics.cache_lookups
        lookups.labels("l2", "hit").inc(len(found))
        lookups.labels("l2", "error").inc(foreign)
        lookups.labels("l2", "miss").inc(len(keys) - len(found) - foreign)
        return found

    def remember(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Queues entries for one joint write, so that no answer waits; drops them when it lags."""
        if len(self._pending) >= _MAX_PENDING:
            self._metrics.cache_writes.labels("dropped").inc(len(entries))
            return
        self._pending.extend(entries)
        if self._pending and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    def forget(self, model: bytes) -> None:
        """Drops the pending writes of one model."""
        self._pending = [entry for entry in self._pending if not entry[0].startswith(model)]

    async def _write_all(self) -> None:
        # One call for many entries costs the shared level a tenth of a call for each.
        while self._pending:
            await asyncio.sleep(_GATHER_S)
            entries, self._pending = self._pending, []
            await self._write(entries)

    async def _write(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        result = "stored"
        try:
            with self._store.guard():
                # No answer waits for it, so it may take longer than a lookup.
                await asyncio.wait_for(self._shared.put_many(entries), 20 * self._timeout_s)
        except BreakerOpen:
            result = "breaker"
        except Exception:  # noqa: BLE001  (a lost write costs one inference later)
            result = "error"
        self._metrics.cache_writes.labels(result).inc(len(entries))
