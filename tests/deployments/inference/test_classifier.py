"""The flow of a text through caches, single flight and window, with a plain function as model."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from configs.schema.app import AppConfig, BatchingConfig, CacheConfig, LimitsConfig
from deployments.errors import DeadlineExceeded, InferenceFailed, Overloaded, TextFailed
from deployments.inference.classifier import Classifier
from deployments.payloads import ModelAnswer, ScoreBatch, TextBatch
from deployments.predictions import Outcome
from deployments.telemetry.metrics import Metrics
from deployments.versions import ServedVersion

MODEL = ServedVersion("m", 1, "ab" * 32, ("NEG", "POS"), "onnx", "int8", 128, "registry")
NEXT = ServedVersion("m", 2, "cd" * 32, ("NEG", "POS"), "onnx", "int8", 128, "registry")


class LostError(Exception):
    """Stands for a replica that died under a call."""


class Stages:
    """The tokenizer and model stages as one function: the score tells the text's length."""

    def __init__(self) -> None:
        self.batches: list[TextBatch] = []
        self.delay_s = 0.0
        self.failures: list[Exception] = []
        self.expired = False
        self.poison: set[str] = set()

    async def run(self, batch: TextBatch) -> ModelAnswer:
        self.batches.append(batch)
        if self.failures:
            raise self.failures.pop(0)
        await asyncio.sleep(self.delay_s)
        n = len(batch.texts)
        positive = np.array([len(text) / 100 for text in batch.texts], dtype=np.float32)
        zeros = np.zeros(n, dtype=np.float32)
        scores = np.stack([1 - positive, positive], axis=1)
        expired = np.full(n, self.expired)
        return ModelAnswer(
            ScoreBatch(
                batch.digest,
                scores,
                expired,
                np.array([text in self.poison for text in batch.texts]),
                *(zeros, zeros, zeros + 1e-3, np.zeros((0, 5))),
            ),
            np.array([len(text) for text in batch.texts], dtype=np.int32),
            np.zeros(n, dtype=np.bool_),
            0.0,
        )

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in batch.texts]


class Shared:
    """Level two as a dictionary that can be broken or slow."""

    def __init__(self) -> None:
        self.entries: dict[bytes, bytes] = {}
        self.broken = False
        self.delay_s = 0.0

    async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        await asyncio.sleep(self.delay_s)
        if self.broken:
            raise ConnectionError("down")
        return [self.entries.get(key) for key in keys]

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        if self.broken:
            raise ConnectionError("down")
        self.entries.update(entries)


def make(
    stages: Stages, shared: Shared | None = None, *, queued: int = 100, l1_bytes: int = 100_000
) -> tuple[Classifier, Metrics]:
    config = AppConfig(
        limits=LimitsConfig(max_queued_texts=queued, max_batch_texts=queued),
        batching=BatchingConfig(max_hop_texts=min(8, queued)),
        cache=CacheConfig(l1_max_bytes=l1_bytes, l2_timeout_ms=50),
    )
    metrics = Metrics()
    classifier = Classifier(
        config,
        stages.run,
        shared,
        metrics,
        hops_in_flight=1,
        engines=1,
        is_lost=lambda error: isinstance(error, LostError),
    )
    return classifier, metrics


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 10))


def positive(outcome: object) -> float:
    assert isinstance(outcome, Outcome), outcome
    return round(float(outcome.prediction.scores[1]), 2)


def test_order_is_kept_and_repeats_are_computed_once() -> None:
    async def body() -> None:
        stages = Stages()
        classifier, _ = make(stages)
        outcomes = await classifier.classify(MODEL, ["aaa", "b", "aaa", "cc"], soon())
        assert [positive(outcome) for outcome in outcomes] == [0.03, 0.01, 0.03, 0.02]
        assert stages.texts == ["aaa", "b", "cc"]

    in_loop(body)


def test_level_one_answers_the_second_time_but_not_for_another_version() -> None:
    async def body() -> None:
        stages = Stages()
        classifier, metrics = make(stages)
        (first,) = await classifier.classify(MODEL, ["abc"], soon())
        (second,) = await classifier.classify(MODEL, ["abc"], soon())
        (other,) = await classifier.classify(NEXT, ["abc"], soon())
        assert [o.cached for o in (first, second, other)] == [False, True, False]  # type: ignore[union-attr]
        assert [batch.digest for batch in stages.batches] == [MODEL.digest, NEXT.digest]
        assert metrics.cache_lookups.labels("l1", "hit")._value.get() == 1

    in_loop(body)


def test_what_is_remembered_and_what_waits_is_shown_as_it_is_now() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.1
        classifier, metrics = make(stages)

        def shown() -> tuple[float, float]:
            gauges = metrics.cache_bytes, metrics.predicted_wait_seconds
            size, wait = (gauge.collect()[0].samples[0].value for gauge in gauges)
            return size, wait

        asked = asyncio.create_task(classifier.classify(MODEL, ["abc", "d"], soon()))
        await asyncio.sleep(0.01)
        size, wait = shown()
        assert (size, wait > 0) == (0, True)
        await asked
        size, wait = shown()
        assert (size > 0, wait) == (True, 0)
        assert classifier.forget(bytes.fromhex(MODEL.digest)[:8]) == 2
        assert shown() == (0, 0)

    in_loop(body)


def test_identical_texts_in_flight_share_one_result_and_survive_a_caller_that_leaves() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.1
        classifier, metrics = make(stages)
        leader = asyncio.create_task(classifier.classify(MODEL, ["same"], soon()))
        await asyncio.sleep(0.01)
        follower = asyncio.create_task(classifier.classify(MODEL, ["same"], soon()))
        await asyncio.sleep(0.01)
        leader.cancel()
        (outcome,) = await follower
        assert positive(outcome) == 0.04
        assert stages.texts == ["same"]
        assert metrics.cache_lookups.labels("l1", "shared")._value.get() == 1

    in_loop(body)


def test_a_follower_with_more_time_is_not_cut_by_a_leader_with_less() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.15
        classifier, _ = make(stages)
        hurried = asyncio.create_task(classifier.classify(MODEL, ["same"], soon(0.05)))
        await asyncio.sleep(0.01)
        patient = asyncio.create_task(classifier.classify(MODEL, ["same"], soon(5)))
        assert isinstance((await hurried)[0], DeadlineExceeded)
        assert positive((await patient)[0]) == 0.04

    in_loop(body)


def test_a_caller_that_leaves_before_its_turn_costs_no_compute() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.05
        classifier, metrics = make(stages)
        busy = asyncio.create_task(classifier.classify(MODEL, ["busy"], soon()))
        await asyncio.sleep(0.01)
        leaving = asyncio.create_task(classifier.classify(MODEL, ["leaving"], soon()))
        await asyncio.sleep(0.01)
        leaving.cancel()
        await busy
        await asyncio.sleep(0.01)
        assert stages.texts == ["busy"]
        assert metrics.dropped_texts.labels("cancelled")._value.get() == 1

    in_loop(body)


def test_overload_is_refused_whole_with_a_time_to_come_back() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.05
        classifier, _ = make(stages, queued=2)
        await classifier.classify(MODEL, ["warm"], soon())
        busy = asyncio.create_task(classifier.classify(MODEL, ["busy"], soon()))
        await asyncio.sleep(0.01)
        waiting = asyncio.create_task(classifier.classify(MODEL, ["w1", "w2"], soon()))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded) as refused:
            await classifier.classify(MODEL, ["one more"], soon())
        assert int(refused.value.headers()["retry-after"]) >= 1
        await asyncio.gather(busy, waiting)
        assert positive((await classifier.classify(MODEL, ["one more"], soon()))[0]) == 0.08

    in_loop(body)


def test_a_lost_replica_is_tried_again_and_another_failure_is_not() -> None:
    async def body() -> None:
        stages = Stages()
        stages.failures = [LostError(), LostError()]
        classifier, metrics = make(stages)
        assert positive((await classifier.classify(MODEL, ["abc"], soon()))[0]) == 0.03
        assert metrics.retries._value.get() == 2
        stages.failures = [ValueError("broken model")]
        assert isinstance((await classifier.classify(MODEL, ["xyz"], soon()))[0], InferenceFailed)
        assert len(stages.batches) == 4

    in_loop(body)


def test_a_text_without_an_answer_fails_alone_is_counted_and_not_cached() -> None:
    async def body() -> None:
        stages = Stages()
        stages.poison = {"bad"}
        classifier, metrics = make(stages)
        for again in (False, True):
            good, bad = await classifier.classify(MODEL, ["good", "bad"], soon())
            assert isinstance(good, Outcome)
            assert good.cached is again
            assert isinstance(bad, TextFailed)
        assert stages.texts == ["good", "bad", "bad"]
        assert metrics.failed_texts._value.get() == 2
        assert metrics.tokens._value.get() == 4

    in_loop(body)


def test_a_text_that_expired_in_the_model_is_a_deadline_and_is_not_cached() -> None:
    async def body() -> None:
        stages = Stages()
        stages.expired = True
        classifier, _ = make(stages)
        assert isinstance((await classifier.classify(MODEL, ["abc"], soon()))[0], DeadlineExceeded)
        stages.expired = False
        assert positive((await classifier.classify(MODEL, ["abc"], soon()))[0]) == 0.03

    in_loop(body)


def test_level_two_is_read_and_written() -> None:
    async def body() -> None:
        shared = Shared()
        stages = Stages()
        classifier, _ = make(stages, shared)
        await classifier.classify(MODEL, ["abc"], soon())
        await asyncio.sleep(0.1)
        assert len(shared.entries) == 1
        elsewhere, metrics = make(stages, shared)
        outcomes = await elsewhere.classify(MODEL, ["abc", "new"], soon())
        assert [o.cached for o in outcomes] == [True, False]  # type: ignore[union-attr]
        assert stages.texts == ["abc", "new"]
        assert metrics.cache_lookups.labels("l2", "hit")._value.get() == 1

    in_loop(body)


@pytest.mark.parametrize("fault", ["broken", "slow", "garbage"])
def test_level_two_may_fail_in_any_way(fault: str) -> None:
    async def body() -> None:
        shared = Shared()
        stages = Stages()
        classifier, metrics = make(stages, shared, l1_bytes=0)
        await classifier.classify(MODEL, ["abc"], soon())
        await asyncio.sleep(0.1)
        if fault == "broken":
            shared.broken = True
        elif fault == "slow":
            shared.delay_s = 60
        else:
            shared.entries = dict.fromkeys(shared.entries, b"not a prediction")
        started = time.monotonic()
        (outcome,) = await classifier.classify(MODEL, ["abc"], soon())
        assert positive(outcome) == 0.03
        assert time.monotonic() - started < 2
        assert metrics.cache_lookups.labels("l2", "error")._value.get() >= 1

    in_loop(body)


def test_a_text_started_without_a_coroutine_ends_as_one_that_is_awaited() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.02
        classifier, _ = make(stages, queued=2)
        got: list[object] = []
        classifier.start(MODEL, "abc", soon(), bulk=False, caller="", done=got.append)
        assert got == []
        (same,) = await classifier.classify(MODEL, ["abc"], soon())
        assert [positive(outcome) for outcome in got] == [positive(same)] == [0.03]
        # A cache answers at once.
        classifier.start(MODEL, "abc", soon(), bulk=False, caller="", done=got.append)
        assert isinstance(got[1], Outcome)
        assert got[1].cached
        late: list[object] = []
        classifier.start(MODEL, "late", soon(0.005), bulk=False, caller="", done=late.append)
        stages.poison = {"bad"}
        classifier.start(MODEL, "bad", soon(), bulk=False, caller="", done=late.append)
        with pytest.raises(Overloaded):
            for text in "wxyz":
                classifier.start(MODEL, text, soon(), bulk=False, caller="", done=got.append)
        await asyncio.sleep(0.2)
        assert [type(error) for error in late] == [DeadlineExceeded, TextFailed]

    in_loop(body)


def test_a_started_text_that_is_withdrawn_costs_no_compute_unless_it_is_shared() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.02
        classifier, _ = make(stages)
        got: list[object] = []
        busy = asyncio.create_task(classifier.classify(MODEL, ["busy"], soon()))
        await asyncio.sleep(0.005)
        classifier.start(MODEL, "gone", soon(), bulk=False, caller="", done=got.append)()
        withdraw = classifier.start(MODEL, "shared", soon(), bulk=False, caller="", done=got.append)
        other = asyncio.create_task(classifier.classify(MODEL, ["shared"], soon()))
        await asyncio.sleep(0.005)
        withdraw()
        await busy
        assert positive((await other)[0]) == 0.06
        assert stages.texts == ["busy", "shared"]
        assert got == []

    in_loop(body)


def test_a_started_text_is_not_cut_by_another_callers_deadline() -> None:
    async def body() -> None:
        stages = Stages()
        stages.delay_s = 0.1
        classifier, _ = make(stages)
        hurried = asyncio.create_task(classifier.classify(MODEL, ["same"], soon(0.03)))
        await asyncio.sleep(0.01)
        got: list[object] = []
        classifier.start(MODEL, "same", soon(), bulk=False, caller="", done=got.append)
        assert isinstance((await hurried)[0], DeadlineExceeded)
        await asyncio.sleep(0.15)
        assert [positive(outcome) for outcome in got] == [0.04]

    in_loop(body)
