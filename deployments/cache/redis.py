"""Level two in Redis: the Cache deployment when ``cache.l2`` is ``redis``. Any number of replicas.

    namespace:prediction:<model, 16 hex>:<text, 32 hex>           a packed prediction, with a TTL
    namespace:prediction:<model, 16 hex>:<text, 32 hex>:flight    a replica is classifying it now

Single flight across ingresses: the first that misses a key marks it for a short time, and the
others wait up to ``cache.flight_wait_ms`` for its value. A mark needs no owner and no fencing
token: a value is named by its content, so a late writer repeats the same value, and a mark
expires by itself.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from redis.exceptions import RedisError

from configs.schema.app import AppConfig
from deployments.clients.backoff import Backoff
from deployments.clients.redis import RedisCredentials, connect

_FIRST_LOOK_MS = 4
_SCAN_COUNT = 1_000


class CacheUnavailable(Exception):
    """Redis failed. The message is the kind of failure, never a key."""


class RedisCacheReplica:
    """``SharedCache`` in Redis."""

    def __init__(self, config: AppConfig, login: RedisCredentials | None = None) -> None:
        """Opens nothing yet.

        Args:
            config: Redis, and the life of entries.
            login: The present credentials; None takes the configured ones.
        """
        self._redis = connect(config.redis, login)
        self._prefix = f"{config.redis.namespace}:prediction:"
        self._ttl_ms = config.cache.ttl_s * 1_000
        self._flight_wait_s = config.cache.flight_wait_ms / 1_000
        # A mark outlives the wait, but not by much, because its replica may have died.
        self._looks = Backoff(_FIRST_LOOK_MS, config.cache.flight_wait_ms)
        self._flight_ms = 4 * config.cache.flight_wait_ms

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """See ``SharedCache.get_many``.

        Raises:
            CacheUnavailable: Redis failed or was too slow.
        """
        names = [self._name(key) for key in keys]
        async with _converted():
            values = await self._read(names)
            missing = [i for i, value in enumerate(values) if value is None]
            if missing and self._flight_wait_s:
                await self._join_flights(names, values, missing)
        return values

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        """See ``SharedCache.put_many``.

        Raises:
            CacheUnavailable: Redis failed, was too slow, or is full and evicts nothing.
        """
        async with _converted(), self._redis.pipeline(transaction=False) as pipe:
            for key, value in entries:
                pipe.set(self._name(key), value, px=self._ttl_ms)
            await pipe.execute()

    async def flush(self, model: bytes) -> int:
        """Removes every entry of one model; returns how many there were.

        Args:
            model: The first 8 bytes of the bundle's digest.

        Raises:
            CacheUnavailable: Redis failed; some entries may be gone.
        """
        removed = 0
        pattern = f"{self._prefix}{model.hex()}:*"
        async with _converted():
            cursor = None
            while cursor != 0:
                cursor, names = await self._redis.scan(cursor or 0, pattern, _SCAN_COUNT)
                if names:
                    await self._redis.unlink(*names)
                found = cast("list[bytes]", names)
                removed += sum(not name.endswith(b":flight") for name in found)
        return removed

    async def close(self) -> None:
        """Closes the connections; for use outside a deployment."""
        await self._redis.aclose()

    async def _join_flights(
        self, names: Sequence[str], values: list[bytes | None], missing: Sequence[int]
    ) -> None:
        """Marks keys without a mark; waits for the other keys and fills in their values."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for i in missing:
                pipe.set(names[i] + ":flight", b"", nx=True, px=self._flight_ms)
            marked = await pipe.execute()
        flying = [i for i, mine in zip(missing, marked, strict=True) if not mine]
        looks, waited_s = 0, 0.0
        while flying and waited_s < self._flight_wait_s:
            looks += 1
            pause_s = min(self._looks.pause_s(looks), self._flight_wait_s - waited_s)
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            found = await self._read([names[i] for i in flying])
            for i, value in zip(flying, found, strict=True):
                values[i] = value
            flying = [i for i in flying if values[i] is None]

    async def _read(self, names: Sequence[str]) -> list[bytes | None]:
        return cast("list[bytes | None]", await self._redis.mget(names))

    def _name(self, key: bytes) -> str:
        return f"{self._prefix}{key[:8].hex()}:{key[8:].hex()}"


@asynccontextmanager
async def _converted() -> AsyncIterator[None]:
    try:
        yield
    except (RedisError, OSError) as error:
        # The kind only, because the message of a Redis error may repeat keys and values.
        raise CacheUnavailable(type(error).__name__) from None
