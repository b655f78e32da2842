"""Keys, packed values, and the bounds of the least-recently-used store."""

import asyncio

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.cache.memory import CacheReplica, LruBytes, cache_key
from deployments.predictions import Prediction

DIGEST = "ab" * 32
OTHER = "cd" * 32


def test_the_key_depends_on_model_and_text() -> None:
    keys = {cache_key(d, t) for d in (DIGEST, OTHER) for t in ("good", "bad", "good ")}
    assert len(keys) == 6
    assert all(len(key) == 24 for key in keys)
    assert {key[:8] for key in keys} == {bytes.fromhex(d)[:8] for d in (DIGEST, OTHER)}
    assert cache_key(DIGEST, "good") == cache_key(DIGEST, "good")


@given(
    scores=st.lists(st.floats(0, 1, width=32), min_size=1, max_size=30),
    n_tokens=st.integers(0, 100_000),
    truncated=st.booleans(),
)
def test_a_packed_prediction_comes_back(
    scores: list[float], n_tokens: int, truncated: bool
) -> None:
    prediction = Prediction(np.array(scores, dtype=np.float32), n_tokens, truncated)
    again = Prediction.unpack(prediction.pack())
    assert np.array_equal(again.scores, prediction.scores)
    assert (again.n_tokens, again.truncated) == (n_tokens, truncated)


@pytest.mark.parametrize("value", [b"", b"\x00" * 5, b"\x00" * 8, b"cos\nsystem\n"])
def test_foreign_bytes_are_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed prediction"):
        Prediction.unpack(value)


def test_memory_is_bounded_and_the_least_recently_used_leaves() -> None:
    store = LruBytes(max_bytes=3 * 300, ttl_s=60)
    for key in (b"a", b"b", b"c"):
        store.put(key, b"x" * 40)
    assert store.get(b"a") is not None
    store.put(b"d", b"x" * 40)
    assert store.get(b"b") is None
    assert [key for key in (b"a", b"c", b"d") if store.get(key)] == [b"a", b"c", b"d"]
    assert store.size_bytes <= 3 * 300
    store.put(b"huge", b"x" * 1_000)
    assert store.get(b"huge") is None
    assert len(store) == 3


def test_entries_age() -> None:
    now = 0.0
    store = LruBytes(max_bytes=10_000, ttl_s=10, clock=lambda: now)
    store.put(b"a", b"1")
    now = 9.9
    assert store.get(b"a") == b"1"
    now = 10.0
    assert store.get(b"a") is None
    assert store.size_bytes == 0


def test_zero_bytes_turn_it_off() -> None:
    store = LruBytes(max_bytes=0, ttl_s=10)
    store.put(b"a", b"1")
    assert store.get(b"a") is None


def test_level_two_answers_in_the_order_of_the_keys() -> None:
    async def body() -> None:
        cache = CacheReplica(max_bytes=10_000, ttl_s=60)
        await cache.put_many([(b"a", b"1"), (b"b", b"2")])
        assert await cache.get_many([b"b", b"x", b"a"]) == [b"2", None, b"1"]

    asyncio.run(body())
