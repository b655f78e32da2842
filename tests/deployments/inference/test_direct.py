"""The road to engines: texts wait in the engines' own queue, with a plain object as stages."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
import pytest

from configs.schema.app import AppConfig, CacheConfig, LimitsConfig
from deployments.batching.encoded_text import EncodedText, deliver, fail
from deployments.batching.scheduler import Expired
from deployments.errors import DeadlineExceeded, InferenceFailed, Overloaded, TextFailed
from deployments.inference.classifier import Classifier
from deployments.payloads import Encodings, ModelAnswer, ScoreBatch, TextBatch
from deployments.predictions import Outcome
from deployments.telemetry.metrics import Metrics
from deployments.versions import ServedVersion

MODEL = ServedVersion("m", 1, "ab" * 32, ("NEG", "POS"), "onnx", "int8", 128, "registry")
LONG = "x" * 50


class Engines:
    """``Stages`` that are let go batch by batch; the score tells how many tokens a text has."""

    def __init__(self) -> None:
        self.loaded: set[str] = set()
        self.waiting: list[EncodedText] = []
        self.encoded: list[str] = []

    async def load(self, digest: str) -> None:
        self.loaded.add(digest)

    def encode_now(self, digest: str, texts: Sequence[str]) -> Encodings | None:
        if digest not in self.loaded or max(map(len, texts)) >= len(LONG):
            return None
        return self._encode(texts)

    async def encode(
        self, digest: str, texts: Sequence[str], contexts: object, deadline_s: float
    ) -> Encodings:
        await asyncio.sleep(0)
        return self._encode(texts)

    def _encode(self, texts: Sequence[str]) -> Encodings:
        self.encoded += texts
        lengths = np.array([len(text) for text in texts], dtype=np.int32)
        return Encodings(np.arange(lengths.sum(), dtype=np.int32), lengths, lengths >= len(LONG))

    def submit(self, texts: Sequence[EncodedText]) -> None:
        self.waiting += texts

    def queued(self, *, bulk: bool) -> int:
        return sum(text.bulk is bulk for text in self.waiting)

    def purge(self) -> None:
        self.waiting = [text for text in self.waiting if not text.done]

    def run(self, *, failed: Sequence[int] = (), expired: Sequence[int] = ()) -> list[int]:
        """Answers all that waits; returns the lengths of the texts."""
        texts, self.waiting = [text for text in self.waiting if not text.done], []
        for text in texts:
            text.started_s = time.monotonic()
        count = len(texts)
        positive = np.array([len(text.ids) / 100 for text in texts], dtype=np.float32)
        seconds = np.full(count, 0.001, dtype=np.float32)
        flags = [np.isin(np.arange(count), rows) for rows in (expired, failed)]
        scores = np.stack([1 - positive, positive], axis=1)
        deliver(texts, ScoreBatch(MODEL.digest, scores, *flags, *(seconds,) * 3, np.zeros((0, 5))))
        return [len(text.ids) for text in texts]


def make(engines: Engines, shared: object = None, *, queued: int = 100) -> Classifier:
    async def never(batch: TextBatch) -> ModelAnswer:
        raise AssertionError("the tokenizer stage is not asked")

    config = AppConfig(
        limits=LimitsConfig(max_queued_texts=queued, max_batch_texts=queued),
        batching={"max_hop_texts": min(queued, 8)},
        cache=CacheConfig(l2_timeout_ms=50),
    )
    return Classifier(
        config,
        never,
        shared,  # type: ignore[arg-type]
        Metrics(),
        hops_in_flight=1,
        engines=2,
        stages=engines,
    )


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 10))


async def until(there: Callable[[], object]) -> None:
    while not there():  # noqa: ASYNC110  (what it waits for tells nobody)
        await asyncio.sleep(0.001)


def positive(outcome: object) -> float:
    assert isinstance(outcome, Outcome), outcome
    return round(float(outcome.prediction.scores[1]), 2)


def test_a_version_is_opened_once_and_texts_then_wait_for_engines_at_once() -> None:
    async def body() -> None:
        engines = Engines()
        classifier = make(engines)
        first = asyncio.create_task(classifier.classify(MODEL, ["abc"], soon()))
        await until(lambda: engines.waiting)
        assert engines.loaded == {MODEL.digest}
        assert engines.run() == [3]
        assert positive((await first)[0]) == 0.03
        # Without a turn of the event loop in between.
        got: list[object] = []
        classifier.start(MODEL, "abcd", soon(), bulk=True, caller="", done=got.append)
        assert (engines.queued(bulk=True), engines.queued(bulk=False)) == (1, 0)
        engines.run()
        (outcome,) = got
        assert positive(outcome) == 0.04
        assert isinstance(outcome, Outcome)
        assert (outcome.prediction.n_tokens, outcome.prediction.truncated) == (4, False)
        assert set(outcome.stages_s) == {"queue", "tokenize", "window", "infer", "rpc"}
        (again,) = await classifier.classify(MODEL, ["abcd"], soon())
        assert isinstance(again, Outcome)
        assert again.cached
        assert engines.encoded == ["abc", "abcd"]

    in_loop(body)


def test_a_long_text_is_tokenized_beside_the_event_loop_and_keeps_its_place() -> None:
    async def body() -> None:
        engines = Engines()
        await engines.load(MODEL.digest)
        classifier = make(engines)
        asked = asyncio.create_task(classifier.classify(MODEL, ["ab", LONG, "c"], soon()))
        await until(lambda: engines.waiting)
        engines.run()
        outcomes = await asked
        assert [positive(outcome) for outcome in outcomes] == [0.02, 0.5, 0.01]
        assert [o.prediction.truncated for o in outcomes if isinstance(o, Outcome)] == [
            False,
            True,
            False,
        ]

    in_loop(body)


def test_a_text_that_nobody_waits_for_is_left_out_and_makes_room() -> None:
    async def body() -> None:
        engines = Engines()
        await engines.load(MODEL.digest)
        classifier = make(engines, queued=2)
        leave = classifier.start(
            MODEL, "a", soon(), bulk=False, caller="", done=lambda result: None
        )
        kept = asyncio.create_task(classifier.classify(MODEL, ["bb"], soon()))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await classifier.classify(MODEL, ["ccc"], soon())
        leave()
        third = asyncio.create_task(classifier.classify(MODEL, ["ccc"], soon()))
        await asyncio.sleep(0)
        assert engines.run() == [2, 3]
        assert [positive(*await task) for task in (kept, third)] == [0.02, 0.03]

    in_loop(body)


def test_each_text_has_its_own_error() -> None:
    async def body() -> None:
        engines = Engines()
        await engines.load(MODEL.digest)
        classifier = make(engines)
        asked = asyncio.create_task(classifier.classify(MODEL, ["a", "bb", "ccc"], soon()))
        await asyncio.sleep(0)
        engines.run(failed=[0], expired=[1])
        await asyncio.sleep(0)
        # It expired for a caller with less time: this one asks again.
        assert engines.run() == [2]
        failed, again, fine = await asked
        assert isinstance(failed, TextFailed)
        assert [positive(again), positive(fine)] == [0.02, 0.03]
        asked = asyncio.create_task(classifier.classify(MODEL, ["dddd", "eeeee"], soon(0.05)))
        await asyncio.sleep(0)
        fail(engines.waiting[:1], RuntimeError("engine broke"))
        await asyncio.sleep(0.06)
        fail(engines.waiting[1:], Expired())
        broken, late = await asked
        assert isinstance(broken, InferenceFailed)
        assert isinstance(late, DeadlineExceeded)

    in_loop(body)


def test_level_two_answers_before_anything_is_tokenized() -> None:
    class Shared:
        def __init__(self) -> None:
            self.entries: dict[bytes, bytes] = {}

        async def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
            return [self.entries.get(key) for key in keys]

        async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
            self.entries.update(entries)

    async def body() -> None:
        engines, shared = Engines(), Shared()
        classifier = make(engines, shared)
        asked = asyncio.create_task(classifier.classify(MODEL, ["abc"], soon()))
        await until(lambda: engines.waiting)
        engines.run()
        await asked
        await until(lambda: shared.entries)
        elsewhere = make(engines, shared)
        asked = asyncio.create_task(elsewhere.classify(MODEL, ["abc", "new"], soon()))
        await until(lambda: engines.waiting)
        assert engines.run() == [3]
        assert [o.cached for o in await asked] == [True, False]  # type: ignore[union-attr]
        assert engines.encoded == ["abc", "new"]

    in_loop(body)
