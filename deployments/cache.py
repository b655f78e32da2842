"""Remembered predictions: level one inside each ingress, level two shared.

A key is 128 bits over the model's digest and the text behind the first 64 bits of that digest,
so another version, or the same version number made anew, never answers for it, and a version's
entries can be found. A value is a few bytes of numbers; nothing that is read back can execute.
"""

import asyncio
import hashlib
import struct
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from configs.dependencies import BreakerConfig
from deployments.breaker import Breaker, BreakerOpen
from deployments.metrics import Metrics
from deployments.payloads import FloatArray

# An entry costs more than its bytes: key, dictionary slot, tuple and float objects.
_ENTRY_OVERHEAD_BYTES = 250
_HEADER = struct.Struct("<I?")
_MAX_PENDING = 4_096
_GATHER_S = 0.05


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model said about one text.

    Attributes:
        scores: ``[labels] float32``, probabilities in label order.
        n_tokens: Tokens that the model saw.
        truncated: The text had more tokens than the model takes.
    """

    scores: FloatArray
    n_tokens: int
    truncated: bool

    def pack(self) -> bytes:
        """Little-endian: tokens (uint32), truncated (bool), scores (float32 each)."""
        return _HEADER.pack(self.n_tokens, self.truncated) + self.scores.astype("<f4").tobytes()

    @classmethod
    def unpack(cls, value: bytes) -> "Prediction":
        """The inverse of ``pack``.

        Raises:
            ValueError: Not something that ``pack`` wrote.
        """
        if len(value) <= _HEADER.size or (len(value) - _HEADER.size) % 4:
            raise ValueError(f"{len(value)} bytes are not a packed prediction")
        n_tokens, truncated = _HEADER.unpack_from(value)
        scores = np.frombuffer(value, dtype="<f4", offset=_HEADER.size).astype(np.float32)
        return cls(scores, n_tokens, truncated)


def cache_key(digest: str, text: str) -> bytes:
    """24 bytes: 8 of the bundle's digest, 16 (BLAKE2b) over the digest and the stripped text."""
    model = bytes.fromhex(digest)
    return model[:8] + hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=model).digest()


class LruBytes:
    """Bytes by key, bounded in memory and in age. Not thread-safe."""

    def __init__(
        self, max_bytes: int, ttl_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._ttl_s = ttl_s
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> bytes | None:
        """The value, now the most recently used; None when unknown or too old."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        born, value = entry
        if self._clock() - born >= self._ttl_s:
            self._remove(key)
            return None
        self._entries.move_to_end(key)
        return value

    def put(self, key: bytes, value: bytes) -> None:
        """Keeps the value; the least recently used entries leave when memory is full."""
        if key in self._entries:
            self._remove(key)
        if _cost(key, value) > self._max_bytes:
            return
        self._entries[key] = (self._clock(), value)
        self.size_bytes += _cost(key, value)
        while self.size_bytes > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def forget(self, model: bytes) -> int:
        """Removes every entry of one model; returns how many there were.

        Args:
            model: The first 8 bytes of the bundle's digest.
        """
        keys = [key for key in self._entries if key.startswith(model)]
        for key in keys:
            self._remove(key)
        return len(keys)

    def _remove(self, key: bytes) -> None:
        _, value = self._entries.pop(key)
        self.size_bytes -= _cost(key, value)


def _cost(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + _ENTRY_OVERHEAD_BYTES


class SharedCache(Protocol):
    """Level two, seen from an ingress. One call carries a whole micro-batch."""

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Values in the order of ``keys``."""
        ...

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Keeps all entries."""
        ...

    async def flush(self, model: bytes) -> int:
        """Removes every entry of one model, by the first 8 bytes of its digest; how many."""
        ...


class LevelTwo:
    """The shared level as an ingress uses it: bounded in time, and never a reason to fail.

    Lookups and writes have a breaker each: a full Redis refuses writes and still answers.
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
        """What is known of ``keys``; None when the level fails, is slow, or is left alone."""
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
                foreign += 1  # somebody else's bytes: the model answers instead
        lookups = self._metrics.cache_lookups
        lookups.labels("l2", "hit").inc(len(found))
        lookups.labels("l2", "error").inc(foreign)
        lookups.labels("l2", "miss").inc(len(keys) - len(found) - foreign)
        return found

    def remember(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """Writes beside the answers, never before them, and many at a time.

        Drops entries when writing lags.
        """
        if len(self._pending) >= _MAX_PENDING:
            self._metrics.cache_writes.labels("dropped").inc(len(entries))
            return
        self._pending.extend(entries)
        if self._pending and (self._writing is None or self._writing.done()):
            self._writing = asyncio.get_running_loop().create_task(self._write_all())

    def forget(self, model: bytes) -> None:
        """Drops what waits to be written of one model."""
        self._pending = [entry for entry in self._pending if not entry[0].startswith(model)]

    async def _write_all(self) -> None:
        # One call for what a moment brings costs the shared level a tenth of a call each.
        while self._pending:
            await asyncio.sleep(_GATHER_S)
            entries, self._pending = self._pending, []
            await self._write(entries)

    async def _write(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        result = "stored"
        try:
            with self._store.guard():
                # Nobody waits for it, so it may take longer than a lookup.
                await asyncio.wait_for(self._shared.put_many(entries), 20 * self._timeout_s)
        except BreakerOpen:
            result = "breaker"
        except Exception:  # noqa: BLE001  (a lost write costs one inference later)
            result = "error"
        self._metrics.cache_writes.labels(result).inc(len(entries))


class CacheReplica:
    """Level two in memory: the Cache deployment, always one replica."""

    def __init__(self, max_bytes: int, ttl_s: float) -> None:
        self._entries = LruBytes(max_bytes, ttl_s)

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``SharedCache.get_many``."""
        return [self._entries.get(key) for key in keys]

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """See ``SharedCache.put_many``."""
        for key, value in entries:
            self._entries.put(key, value)

    async def flush(self, model: bytes) -> int:
        """See ``SharedCache.flush``."""
        return self._entries.forget(model)

    async def stats(self) -> dict[str, int]:
        """``entries`` and ``bytes`` held now."""
        return {"entries": len(self._entries), "bytes": self._entries.size_bytes}
