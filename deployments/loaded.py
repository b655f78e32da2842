"""One model version inside a replica: engine, padding, temperature, and what a batch costs."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.schema import BatchingConfig, ModelConfig
from deployments.engines import Engine
from deployments.payloads import FloatArray, IntArray
from deployments.planner import PlannedBatch, plan
from deployments.surface import CostSurface, host_fingerprint, keep, measure, recall
from registry.records import Bundle


class LoadedModel:
    """One bundle, ready to run. Not safe to share between threads."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self.engine = engine

    @property
    def rows_interact(self) -> bool:
        """Whether a row's logits depend on the other rows of its batch.

        Dynamic INT8 takes one activation scale for a whole batch. `sentigraph export` and `import`
        freeze the scales where they can; an 8-bit file from elsewhere may not have it so.
        """
        return not self.bundle.engine.batch_invariant and self.engine.device == "cpu"

    def score(self, rows: Sequence[IntArray]) -> FloatArray:
        """Probabilities ``[len(rows), labels] float32`` of one batch, padded to its longest row."""
        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), self.bundle.engine.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return softmax(self.engine.run(ids, mask) / np.float32(self.bundle.temperature))


class PlannedModel:
    """A loaded model and the batches that suit it."""

    def __init__(self, loaded: LoadedModel, surface: CostSurface, batching: BatchingConfig) -> None:
        self.loaded = loaded
        self.surface = surface
        alone = batching.reproducible_scores and loaded.rows_interact
        self._max_texts = 1 if alone else batching.max_batch_texts
        self._max_tokens = batching.max_batch_tokens

    def plan(self, lengths: Sequence[int]) -> list[PlannedBatch]:
        """See ``planner.plan``."""
        return plan(lengths, self.surface, max_texts=self._max_texts, max_tokens=self._max_tokens)


def with_surface(
    loaded: LoadedModel,
    batching: BatchingConfig,
    model: ModelConfig,
    *,
    folder: Path,
    threads: int,
) -> PlannedModel:
    """Recalls the model's cost surface on this kind of host, or measures and keeps it."""
    alone = batching.reproducible_scores and loaded.rows_interact
    max_rows = 1 if alone else batching.max_batch_texts
    bundle = loaded.bundle
    fingerprint = host_fingerprint(
        loaded.engine.build, threads, max_rows, batching.max_batch_tokens, bundle.max_tokens
    )
    surface = recall(folder, bundle.digest, fingerprint)
    if surface is None:

        def run(rows: int, tokens: int) -> None:
            loaded.score([np.full(tokens, bundle.engine.pad_id, dtype=np.int32)] * rows)

        surface = measure(
            run,
            max_rows=max_rows,
            max_tokens=bundle.max_tokens,
            max_cells=batching.max_batch_tokens,
            budget_s=model.surface_budget_ms / 1_000,
            clock=time.perf_counter,
        )
        keep(folder, bundle.digest, fingerprint, surface)
    return PlannedModel(loaded, surface, batching)


def softmax(logits: FloatArray) -> FloatArray:
    """Rows of ``[n, labels]`` to probabilities, shifted by the row's maximum against overflow."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: FloatArray = (exponent / exponent.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores
