"""The bare engine: the ceiling that every server is held against. No server, no HTTP.

One process per core with one thread each, the same bundle, the tokenizer included, all texts
there from the start. Several policies of cutting them into batches are run; the best one counts.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel, with_surface
from deployments.tokenizer.replica import LoadedTokenizer
from registry.bundles.bundle import open_bundle

WINDOW_TEXTS = 64
ONE_BY_ONE, PLANNED, PADDED_32 = "one by one", "planned", "32 in arrival order"
POLICIES = (ONE_BY_ONE, PLANNED, PADDED_32)


@dataclass(frozen=True, slots=True)
class Texts:
    """A bundle and what to run through it."""

    bundle_dir: Path
    texts: list[str]
    policy: str


def pace(bundle_dir: Path, texts: list[str], policy: str, *, cores: int) -> float:
    """Texts per second of ``cores`` processes that share ``texts`` evenly."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores + 1)
    workers = [
        context.Process(
            target=_run_share, args=(Texts(bundle_dir, texts[share::cores], policy), barrier)
        )
        for share in range(cores)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    started_s = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - started_s
    for worker in workers:
        worker.join()
    return len(texts) / seconds


def latency_ms(bundle_dir: Path, texts: list[str]) -> float:
    """Median milliseconds from a text to its scores, one at a time, one thread, nothing beside."""
    model, tokenizer = _open(bundle_dir)
    times_s = []
    for text in texts:
        started_s = time.perf_counter()
        model.score([tokenizer.encode([text]).ids])
        times_s.append(time.perf_counter() - started_s)
    return statistics.median(times_s) * 1_000


def _open(bundle_dir: Path) -> tuple[LoadedModel, LoadedTokenizer]:
    bundle = open_bundle(bundle_dir)
    model = LoadedModel(bundle, open_engine(bundle, provider="cpu", threads=1))
    tokenizer = LoadedTokenizer(bundle)
    model.score([tokenizer.encode(["ready"]).ids])
    return model, tokenizer


def _run_share(share: Texts, barrier: Barrier) -> None:
    model, tokenizer = _open(share.bundle_dir)
    cut = _cut(share.policy, model)
    barrier.wait()
    for start in range(0, len(share.texts), WINDOW_TEXTS):
        encoded = tokenizer.encode(share.texts[start : start + WINDOW_TEXTS])
        rows = np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1])
        for batch in cut(encoded.lengths.tolist()):
            model.score([rows[index] for index in batch])
    barrier.wait()


def _cut(policy: str, model: LoadedModel) -> Callable[[list[int]], list[list[int]]]:
    """How the lengths of a window are cut into batches of indices."""
    if policy == PLANNED:
        batching = BatchingConfig(reproducible_scores=False)
        with tempfile.TemporaryDirectory() as folder:
            planned = with_surface(model, batching, ModelConfig(), folder=Path(folder), threads=1)
        return lambda lengths: [list(batch.indices) for batch in planned.plan(lengths)]
    size = 32 if policy == PADDED_32 else 1

    def in_order(lengths: list[int]) -> list[list[int]]:
        count = len(lengths)
        return [list(range(i, min(i + size, count))) for i in range(0, count, size)]

    return in_order
