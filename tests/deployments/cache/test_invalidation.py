"""A flush leaves nothing behind: not in level one, not in level two, not on the way between."""

import asyncio

import pytest
from front import LIVE, Stages, made_ingress

from configs.schema.app import AppConfig
from deployments.cache.invalidation import Flushed, flush
from deployments.cache.memory import CacheReplica, LruBytes, cache_key
from deployments.errors import NotReady

OTHER = "cd" * 32
MODEL = bytes.fromhex(LIVE.digest)[:8]


def test_one_models_entries_leave_the_others_stay() -> None:
    entries = LruBytes(1 << 20, 60)
    for digest in (LIVE.digest, OTHER):
        for text in ("a", "b"):
            entries.put(cache_key(digest, text), b"value")
    before = entries.size_bytes
    assert entries.forget(MODEL) == 2
    assert entries.size_bytes == before / 2
    assert entries.get(cache_key(LIVE.digest, "a")) is None
    assert entries.get(cache_key(OTHER, "a")) == b"value"
    assert entries.forget(MODEL) == 0


def test_what_waits_to_be_written_does_not_come_back() -> None:
    async def body() -> None:
        config = AppConfig.model_validate({"cache": {"l2": "memory"}})
        cache = CacheReplica(1 << 20, 60)
        async with made_ingress(config, Stages(), cache) as ingress:
            classifier = ingress._classifier
            await classifier.classify(LIVE, ["a"], asyncio.get_running_loop().time() + 10)
            # The write to level two gathers for a moment; the flush comes before it.
            assert len(cache._entries) == 0
            assert await flush(LIVE.digest, ingress.forget, ingress._shared) == Flushed(1, 0)
            await asyncio.sleep(0.2)
            assert len(cache._entries) == 0
            await classifier.classify(LIVE, ["a"], asyncio.get_running_loop().time() + 10)
            await asyncio.sleep(0.2)
            assert await flush(LIVE.digest, ingress.forget, ingress._shared) == Flushed(1, 1)
            assert len(cache._entries) == 0

    asyncio.run(asyncio.wait_for(body(), 20))


def test_a_shared_cache_that_fails_is_told_and_level_one_is_empty() -> None:
    class Broken(CacheReplica):
        async def flush(self, model: bytes) -> int:
            raise OSError

    forgotten: list[bytes] = []

    async def forget(model: bytes) -> int:
        forgotten.append(model)
        return 0

    with pytest.raises(NotReady):
        asyncio.run(flush(LIVE.digest, forget, Broken(1_024, 1)))
    assert forgotten == [MODEL]
