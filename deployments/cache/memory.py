"""Predictions kept in memory: the ingress's own cache and the shared one without Redis."""

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence


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


def cache_key(digest: str, text: str) -> bytes:
    """24 bytes: 8 of the bundle's digest, 16 (BLAKE2b) over the digest and the stripped text."""
    model = bytes.fromhex(digest)
    return model[:8] + hashlib.blake2b(text.encode("utf-8"), digest_size=16, key=model).digest()


def _cost(key: bytes, value: bytes) -> int:
    return len(key) + len(value) + _ENTRY_OVERHEAD_BYTES


# An entry costs more than its bytes: key, dictionary slot, tuple and float objects.
_ENTRY_OVERHEAD_BYTES = 250


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
