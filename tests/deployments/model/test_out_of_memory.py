"""A batch that does not fit on the card is halved, and the replica plans smaller ones.

No card here: ``FakeCard`` stands for what cannot be had, CUDA's out of memory. It raises torch's
own error where a pass has more tokens than fit; engine, replica and all else are real.
"""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.model.engines import OutOfMemory, open_engine
from deployments.model.replica import ModelReplica
from deployments.model.runner import LoadedModel
from deployments.payloads import EncodingBatch, ScoreBatch
from deployments.telemetry.engine_metrics import EngineMetrics
from registry.records import Bundle

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from torch_bundle import BERT, bundle_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class FakeCard:
    """Fits ``tokens`` tokens a pass."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.passes: list[int] = []

    def hold(self, engine: Any) -> Any:
        """The engine on this card."""
        forward = engine.layout.forward

        def bounded(vector: Any, shape: Any) -> Any:
            self.passes.append(shape.cells)
            if shape.cells > self.tokens:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore")
            return forward(vector, shape)

        engine.layout.forward = bounded
        return engine


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made: Bundle = bundle_of(
        tmp_path_factory.mktemp("torch"), transformers.BertConfig(**BERT | {"num_labels": 3})
    )[1]
    return made


def replica(
    bundle: Bundle,
    folder: Path,
    card: FakeCard,
    monkeypatch: pytest.MonkeyPatch,
    budget_ms: int = 0,
) -> tuple[ModelReplica, CollectorRegistry]:
    async def get(_: str) -> Bundle:
        return bundle

    def opened(*args: Any, **more: Any) -> Any:
        return card.hold(open_engine(*args, **more))

    async def no_ids(*_: Any) -> Any:
        raise AssertionError("no golden text is asked for")

    monkeypatch.setattr("deployments.model.replica.open_engine", opened)
    bundles: Any = SimpleNamespace(directory=folder, get=get)
    registry = CollectorRegistry()
    model = ModelReplica(
        bundles,
        ModelConfig(warmup_runs=0, surface_budget_ms=budget_ms),
        BatchingConfig(max_batch_texts=64, max_batch_tokens=1_024),
        threads=1,
        gpu_share=0,
        encode=no_ids,
        metrics=EngineMetrics(registry),
    )
    return model, registry


def payload(bundle: Bundle, lengths: list[int]) -> EncodingBatch:
    ids = np.random.default_rng(3).integers(5, 90, sum(lengths)).astype(np.int32)
    left = np.full(len(lengths), 60, dtype=np.float32)
    bulk = np.zeros(len(lengths), dtype=np.bool_)
    return EncodingBatch(bundle.digest, ids, np.array(lengths, dtype=np.int32), left, bulk)


def alone(bundle: Bundle, batch: EncodingBatch) -> Any:
    model = LoadedModel(bundle, open_engine(bundle))
    return model.score(np.split(batch.ids, np.cumsum(batch.lengths)[:-1]))


def value(registry: CollectorRegistry, name: str) -> float:
    found = registry.get_sample_value(name)
    assert found is not None
    return found


def test_every_text_is_answered_and_the_limit_falls(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = FakeCard(tokens=200)
    model, registry = replica(bundle, tmp_path, card, monkeypatch)
    batch = payload(bundle, [16] * 64)

    async def run() -> tuple[ScoreBatch, ScoreBatch]:
        first = await model.run(batch)
        halved = len(card.passes)
        second = await model.run(batch)
        assert all(cells <= card.tokens for cells in card.passes[halved:])
        return first, second

    for answer in asyncio.run(run()):
        assert not answer.failed.any()
        assert not answer.expired.any()
        assert answer.scores == pytest.approx(alone(bundle, batch), abs=1e-5)
    # A batch and its half, or a quarter too, by how the plan cut; no size is tried again.
    assert 2 <= value(registry, "sentiment_engine_out_of_memory_total") <= 3
    assert 100 < value(registry, "sentiment_engine_batch_tokens_limit") <= 200


def test_a_text_that_does_not_fit_alone_fails_alone(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, _ = replica(bundle, tmp_path, FakeCard(tokens=40), monkeypatch)
    batch = payload(bundle, [5, 60, 7, 9])
    answer = asyncio.run(model.run(batch))
    assert answer.failed.tolist() == [False, True, False, False]
    assert answer.scores[[0, 2, 3]] == pytest.approx(alone(bundle, batch)[[0, 2, 3]], abs=1e-5)


def test_a_card_that_is_full_is_an_outage_and_no_fault_of_the_texts(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = FakeCard(tokens=200)
    model, _ = replica(bundle, tmp_path, card, monkeypatch)

    async def run() -> None:
        await model.load(bundle.digest)
        card.tokens = 0
        with pytest.raises(OutOfMemory, match=r"out of memory. Tried to allocate 2 GiB\.$"):
            await model.run(payload(bundle, [5, 6]))
        with pytest.raises(OutOfMemory):
            await model.check_health()

    asyncio.run(run())


def test_costs_are_measured_within_the_memory_there_is(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = FakeCard(tokens=300)
    model, registry = replica(bundle, tmp_path, card, monkeypatch, budget_ms=60_000)
    monkeypatch.setattr("deployments.batching.cost_surface._MAX_REPEATS", 2)
    asyncio.run(model.load(bundle.digest))
    assert max(card.passes) > card.tokens
    assert 100 < value(registry, "sentiment_engine_batch_tokens_limit") <= card.tokens


def test_a_card_says_how_much_of_its_memory_is_taken() -> None:
    registry = CollectorRegistry()
    metrics = EngineMetrics(registry)
    bytes_now = {"allocated": 5, "reserved": 7, "limit": 10}
    metrics.watch(lambda: bytes_now)
    bytes_now["allocated"] = 6
    for kind, size in bytes_now.items():
        assert registry.get_sample_value("sentiment_gpu_memory_bytes", {"kind": kind}) == size
    other = CollectorRegistry()
    EngineMetrics(other).watch(dict)
    assert other.get_sample_value("sentiment_gpu_memory_bytes", {"kind": "limit"}) is None


def test_the_engine_without_a_card_says_nothing_of_one(bundle: Bundle) -> None:
    assert open_engine(bundle).gpu_memory() == {}
