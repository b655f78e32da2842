"""The tokenizer and model stages as plain classes, on the bundled model."""

import asyncio
import dataclasses
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.batching.cost_surface import CostSurface
from deployments.model.engines import open_engine
from deployments.model.replica import ModelReplica
from deployments.model.runner import LoadedModel, softmax
from deployments.payloads import EncodingBatch, TextBatch
from deployments.tokenizer.replica import LoadedTokenizer, TokenizerReplica, token_ids
from registry.records import Bundle

TEXTS = [
    "I love it.",
    "This is the worst thing I have ever bought, and the shop does not answer my letters.",
    "Fine",
    "I love it.",
]


def replica(one_bundle: Any, *, engines: int = 1, **changes: Any) -> ModelReplica:
    batching = BatchingConfig(**changes)
    model = ModelConfig(warmup_runs=1, surface_budget_ms=0)
    return ModelReplica(
        one_bundle, model, batching, threads=1, gpu_share=0, encode=token_ids, engines=engines
    )


# One price for any batch: the plan puts all texts together.
FLAT = CostSurface(
    np.array([1, 128], dtype=np.float32),
    np.array([1, 512], dtype=np.float32),
    np.ones((2, 2), dtype=np.float32),
)


def in_loop(body: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))


def far(count: int) -> Any:
    return np.full(count, 60.0, dtype=np.float32)


def texts(bundle: Bundle, *values: str, bulk: bool = False) -> TextBatch:
    return TextBatch(bundle.digest, list(values), far(len(values)), np.full(len(values), bulk))


def test_texts_in_a_batch_get_what_they_get_alone(one_bundle: Any, bundled: Bundle) -> None:
    async def body() -> None:
        model = replica(one_bundle)
        await model.load(bundled.digest)
        model._models[bundled.digest].surface = FLAT
        stage = TokenizerReplica(one_bundle, model.run)
        together = await stage.classify(texts(bundled, *TEXTS))
        scores = together.scores.scores
        shifts = []
        for i, text in enumerate(TEXTS):
            alone = await stage.classify(texts(bundled, text))
            assert alone.n_tokens[0] == together.n_tokens[i]
            shifts.append(np.abs(alone.scores.scores[0] - scores[i]).max())
        assert max(shifts) < 1e-6
        positive = bundled.labels.index("POSITIVE")
        assert scores[0, positive] > 0.9
        assert scores[1, positive] < 0.1
        assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
        assert not together.scores.expired.any()

    in_loop(body)


@pytest.mark.parametrize(
    ("changes", "shapes"),
    [
        ({}, {(3, 4)}),
        ({"max_batch_texts": 2}, {(2, 4), (1, 4)}),
    ],
)
def test_engine_batches_keep_the_limits(
    one_bundle: Any, bundled: Bundle, changes: dict[str, Any], shapes: set[tuple[int, int]]
) -> None:
    assert engine_shapes(one_bundle, bundled, [4, 4, 4], **changes) == shapes


def test_more_tokens_than_allowed_cut_a_batch(one_bundle: Any, bundled: Bundle) -> None:
    lengths = [10, 9, 8]
    assert engine_shapes(one_bundle, bundled, lengths) == {(3, 10)}
    assert engine_shapes(one_bundle, bundled, lengths, max_batch_tokens=18) == {(1, 10), (2, 9)}


def test_rows_that_would_interact_run_one_by_one_unless_allowed(
    one_bundle: Any, bundled: Bundle
) -> None:
    engine = dataclasses.replace(bundled.engine, batch_invariant=False)
    one_bundle._bundle = dynamic = dataclasses.replace(bundled, engine=engine)
    lengths = [10, 9]
    assert engine_shapes(one_bundle, dynamic, lengths) == {(1, 10), (1, 9)}
    assert engine_shapes(one_bundle, dynamic, lengths, reproducible_scores=False) == {(2, 10)}


def engine_shapes(
    one_bundle: Any, bundled: Bundle, lengths: list[int], **changes: Any
) -> set[tuple[int, int]]:
    """Shapes of the engine batches that one payload of texts of these lengths becomes."""
    shapes: set[tuple[int, int]] = set()

    class Recording:
        device = "cpu"

        def run(self, input_ids: Any, attention_mask: Any) -> Any:
            shapes.add(input_ids.shape)
            return np.zeros((len(input_ids), 2), dtype=np.float32)

    async def body() -> None:
        model = replica(one_bundle, **changes)
        await model.load(bundled.digest)
        model._models[bundled.digest].loaded.engine = Recording()
        model._models[bundled.digest].surface = FLAT
        ids = np.full(sum(lengths), 7, dtype=np.int32)
        counts = np.array(lengths, dtype=np.int32)
        await model.run(EncodingBatch(bundled.digest, ids, counts, far(len(lengths)), counts < 0))

    in_loop(body)
    return shapes


@pytest.mark.parametrize(("warmup_runs", "scored"), [(0, 0), (2, 6)])
def test_warm_up_runs_before_the_replica_is_ready(
    one_bundle: Any,
    bundled: Bundle,
    monkeypatch: pytest.MonkeyPatch,
    warmup_runs: int,
    scored: int,
) -> None:
    # Measured and kept before, so that what counts below is the warm-up.
    in_loop(lambda: replica(one_bundle).load(bundled.digest))
    calls: list[int] = []
    score = LoadedModel.score

    def counted(self: LoadedModel, rows: Any) -> Any:
        calls.append(len(rows))
        return score(self, rows)

    monkeypatch.setattr(LoadedModel, "score", counted)

    async def body() -> None:
        config = ModelConfig(warmup_runs=warmup_runs)
        model = ModelReplica(
            one_bundle, config, BatchingConfig(), threads=1, gpu_share=0, encode=token_ids
        )
        await model.load(bundled.digest)

    in_loop(body)
    assert len(calls) == scored


def test_concurrent_payloads_share_windows_and_keep_their_rows(
    one_bundle: Any, bundled: Bundle
) -> None:
    async def body() -> None:
        model = replica(one_bundle)
        stage = TokenizerReplica(one_bundle, model.run)
        await stage.classify(texts(bundled, *TEXTS))
        answers = await asyncio.gather(
            *(stage.classify(texts(bundled, *[TEXTS[i % 2]] * 3)) for i in range(20))
        )
        positive = bundled.labels.index("POSITIVE")
        for i, answer in enumerate(answers):
            assert ((answer.scores.scores[:, positive] > 0.5) == (i % 2 == 0)).all()

    in_loop(body)


def test_what_has_expired_is_marked_and_not_computed(one_bundle: Any, bundled: Bundle) -> None:
    async def body() -> None:
        model = replica(one_bundle)
        remaining = np.array([60.0, -1.0], dtype=np.float32)
        scores = await model.run(
            EncodingBatch(
                bundled.digest,
                np.array([101, 2204, 102, 101, 2919, 102], dtype=np.int32),
                np.array([3, 3], dtype=np.int32),
                remaining,
                np.array([False, False]),
            )
        )
        assert scores.expired.tolist() == [False, True]
        assert np.isnan(scores.scores[1]).all()
        assert not np.isnan(scores.scores[0]).any()

    in_loop(body)


class GatedEngine:
    """Notes rows and padded length of every batch and waits to be let go."""

    device = "cpu"

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.rows: list[int] = []
        self.started = threading.Event()
        self.gate = threading.Event()

    def run(self, input_ids: Any, attention_mask: Any) -> Any:
        self.ran.append(input_ids.shape[1])
        self.rows.append(input_ids.shape[0])
        self.started.set()
        self.gate.wait(10)
        time.sleep(0.01)
        return np.zeros((len(input_ids), 2), dtype=np.float32)


async def gated(
    one_bundle: Any, bundled: Bundle, **changes: Any
) -> tuple[ModelReplica, GatedEngine]:
    """A replica whose engine waits to be let go, and any batch costs the same."""
    model = replica(one_bundle, **changes)
    await model.load(bundled.digest)
    planned, engine = model._models[bundled.digest], GatedEngine()
    planned.loaded.engine = engine
    planned.surface = FLAT
    return model, engine


def same_length(bundle: Bundle, count: int, tokens: int, *, bulk: bool) -> EncodingBatch:
    ids = np.full(count * tokens, 7, dtype=np.int32)
    lengths = np.full(count, tokens, dtype=np.int32)
    return EncodingBatch(bundle.digest, ids, lengths, far(count), np.full(count, bulk))


@pytest.mark.parametrize("bulk", [False, True])
def test_a_free_engine_plans_with_what_has_come(
    one_bundle: Any, bundled: Bundle, bulk: bool
) -> None:
    async def body() -> None:
        model, engine = await gated(one_bundle, bundled, max_batch_texts=4)
        first = asyncio.create_task(model.run(same_length(bundled, 6, 9, bulk=bulk)))
        await asyncio.to_thread(engine.started.wait)
        second = asyncio.create_task(model.run(same_length(bundled, 2, 9, bulk=bulk)))
        await asyncio.sleep(0.05)
        engine.gate.set()
        assert not (await first).expired.any()
        assert not (await second).expired.any()
        assert sorted(engine.rows[1:]) == ([4] if engine.rows[0] == 4 else [2, 4])
        assert sum(engine.rows) == 8

    in_loop(body)


def test_engines_share_one_queue_and_one_loaded_model(one_bundle: Any, bundled: Bundle) -> None:
    async def body() -> None:
        model, engine = await gated(one_bundle, bundled, engines=2, max_batch_texts=2)
        asked = [
            asyncio.create_task(model.run(same_length(bundled, 2, 3 + i, bulk=False)))
            for i in range(6)
        ]
        await asyncio.to_thread(engine.started.wait)
        await asyncio.sleep(0.05)
        # Both compute, and the rest waits for whichever is free first.
        assert sorted(engine.ran) == [3, 4]
        assert model.queued(bulk=False) == 8
        engine.gate.set()
        await asyncio.gather(*asked)
        assert sorted(engine.ran) == [3, 4, 5, 6, 7, 8]
        assert model.record_autoscaling_stats()["busy_ratio"] <= 1
        assert len(model._models) == 1

    in_loop(body)


def test_interactive_texts_pass_bulk_that_is_under_way(one_bundle: Any, bundled: Bundle) -> None:
    async def body() -> None:
        model, engine = await gated(one_bundle, bundled, max_batch_texts=1)
        slow = asyncio.create_task(model.run(same_length(bundled, 32, 9, bulk=True)))
        await asyncio.to_thread(engine.started.wait)
        fast = asyncio.create_task(model.run(same_length(bundled, 1, 5, bulk=False)))
        await asyncio.sleep(0.05)
        engine.gate.set()
        await fast
        # It waits for the engine batch that runs, not for the window; nor does its answer.
        assert engine.ran.index(5) == 1
        assert len(engine.ran) < 32
        scores = await slow
        assert len(engine.ran) == 33
        assert not scores.expired.any()

    in_loop(body)


def test_bulk_has_its_turn_although_interactive_texts_wait(
    one_bundle: Any, bundled: Bundle
) -> None:
    async def body() -> None:
        model, engine = await gated(one_bundle, bundled, max_batch_texts=1, bulk_ratio=0.5)
        first = asyncio.create_task(model.run(same_length(bundled, 1, 3, bulk=False)))
        await asyncio.to_thread(engine.started.wait)
        slow = asyncio.create_task(model.run(same_length(bundled, 8, 9, bulk=True)))
        fast = asyncio.create_task(model.run(same_length(bundled, 16, 5, bulk=False)))
        await asyncio.sleep(0.05)
        engine.gate.set()
        await asyncio.gather(first, slow, fast)
        assert engine.ran == [3] + [5, 5, 9] * 8

    in_loop(body)


def test_facts_of_the_engine_batches_travel_with_the_scores(
    one_bundle: Any, bundled: Bundle
) -> None:
    async def body() -> None:
        model = replica(one_bundle)
        await model.load(bundled.digest)
        model._models[bundled.digest].surface = FLAT
        ids = np.full(14, 7, dtype=np.int32)
        lengths = np.array([4, 10], dtype=np.int32)
        scores = await model.run(EncodingBatch(bundled.digest, ids, lengths, far(2), lengths < 0))
        ((rows, tokens, cells, predicted_s, actual_s),) = scores.batches.tolist()
        assert (rows, tokens, cells, predicted_s) == (2, 14, 20, 1)
        assert actual_s > 0
        assert scores.cost_s.tolist() == [0.5, 0.5]

    in_loop(body)


def test_payloads_of_several_callers_share_an_engine_batch(
    one_bundle: Any, bundled: Bundle
) -> None:
    async def body() -> None:
        model, engine = await gated(one_bundle, bundled, max_batch_texts=4)
        first = asyncio.create_task(model.run(same_length(bundled, 1, 9, bulk=False)))
        await asyncio.to_thread(engine.started.wait)
        others = [
            asyncio.create_task(model.run(same_length(bundled, 2, 9, bulk=False))) for _ in "12"
        ]
        await asyncio.sleep(0.05)
        engine.gate.set()
        await asyncio.gather(first, *others)
        assert engine.rows == [1, 4]
        facts = await model.facts(bundled.digest)
        assert (facts.max_texts, facts.max_tokens) == (4, 4_096)

    in_loop(body)


def test_the_health_check_runs_the_engine(one_bundle: Any, bundled: Bundle) -> None:
    async def body() -> None:
        model = replica(one_bundle)
        await model.load(bundled.digest)
        await model.check_health()

        class Broken:
            device = "cpu"

            def run(self, input_ids: Any, attention_mask: Any) -> Any:
                raise RuntimeError("engine is gone")

        model._models[bundled.digest].loaded.engine = Broken()
        with pytest.raises(RuntimeError, match="engine is gone"):
            await model.check_health()

    in_loop(body)


def test_temperature_and_labels_come_from_the_bundle(bundled: Bundle) -> None:
    engine = open_engine(bundled, provider="cpu")
    row = [LoadedTokenizer(bundled).encode(["A decent phone"]).ids]
    sharp = LoadedModel(bundled, engine).score(row)
    flat = LoadedModel(dataclasses.replace(bundled, temperature=50.0), engine).score(row)
    assert sharp.shape == (1, len(bundled.labels))
    assert abs(flat[0, 0] - 0.5) < abs(sharp[0, 0] - 0.5)


def test_truncation_is_told(bundled: Bundle) -> None:
    encoded = LoadedTokenizer(bundled).encode(["short", "long " * 3_000])
    assert encoded.truncated.tolist() == [False, True]
    assert encoded.lengths[1] == bundled.max_tokens
    assert len(encoded.ids) == encoded.lengths.sum()


def test_softmax_survives_large_logits() -> None:
    scores = softmax(np.array([[1e4, 0.0], [0.0, 0.0]], dtype=np.float32))
    assert scores.tolist() == [[1.0, 0.0], [0.5, 0.5]]


def test_cuda_is_refused_where_the_runtime_has_none(bundled: Bundle) -> None:
    with pytest.raises(RuntimeError, match="no CUDA provider"):
        open_engine(bundled, provider="cuda")
