"""One model version inside a replica: engine, padding, temperature, and the cost of a batch."""

import contextlib
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.batching.cost_surface import CostSurface, host_fingerprint, keep, measure, recall
from deployments.batching.planner import PlanFacts, PlannedBatch
from deployments.model.engines import Engine, OutOfMemory
from deployments.payloads import FloatArray, IntArray
from registry.bundles.bundle import TOKENIZER_FILE
from registry.errors import InvalidBundle
from registry.records import Bundle, Head

# Models of one shape differ by a few bytes: numbers of variable length, names of versions.
_SAME_BYTES = 65_536


class LoadedModel:
    """One bundle, ready to run. Threads may share it; a GPU takes one run at a time."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self.engine = engine
        self._one_run = threading.Lock() if engine.device != "cpu" else contextlib.nullcontext()

    @property
    def rows_interact(self) -> bool:
        """Whether a row's logits depend on the other rows of its batch.

        Dynamic INT8 takes one activation scale for a whole batch. `sentigraph export` and `import`
        freeze the scales where they can; an 8-bit file from elsewhere may not have it so.
        """
        return not self.bundle.engine.batch_invariant and self.engine.device == "cpu"

    def runs_alone(self, batching: BatchingConfig) -> bool:
        """Whether each text must be a batch of its own."""
        return not self.bundle.engine.pads or (batching.reproducible_scores and self.rows_interact)

    def check(self) -> None:
        """Runs a plain text, of padding alone.

        Raises:
            InvalidBundle: The model's outputs are not the bundle's labels.
        """
        self._logits([np.full(3, self.bundle.engine.pad_id, dtype=np.int32)])

    def score(self, rows: Sequence[IntArray]) -> FloatArray:
        """Scores ``[len(rows), labels] float32`` of one batch, padded to its longest row.

        A row whose logits are not all finite is NaN.

        Raises:
            InvalidBundle: The model's outputs are not the bundle's labels.
        """
        return scores_of(self._logits(rows), self.bundle.head, self.bundle.temperature)

    def _logits(self, rows: Sequence[IntArray]) -> FloatArray:
        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), self.bundle.engine.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        with self._one_run:
            logits = self.engine.run(ids, mask)
        columns = self.bundle.head.outputs(len(self.bundle.labels))
        if logits.shape != (len(rows), columns):
            each = "one column" if columns == 1 else f"one column for each of {columns} labels"
            raise InvalidBundle(
                f"the model's outputs have shape {logits.shape}, not one row for each of "
                f"{len(rows)} texts with {each}"
            )
        return logits


class PlannedModel:
    """A loaded model and the batches that suit it."""

    def __init__(self, loaded: LoadedModel, surface: CostSurface, batching: BatchingConfig) -> None:
        self.loaded = loaded
        self.surface = surface
        alone = loaded.runs_alone(batching)
        self._max_texts = 1 if alone else batching.max_batch_texts
        self._max_tokens = batching.max_batch_tokens

    @property
    def max_tokens(self) -> int:
        """Rows times padded length that a batch may have by now."""
        return self._max_tokens

    def shrink(self, cells: int) -> None:
        """Plans batches of half of so many cells at most from now on: so many did not fit."""
        self._max_tokens = max(1, min(self._max_tokens, cells // 2))

    @property
    def facts(self) -> PlanFacts:
        """What planning needs to know, wherever it is done."""
        return PlanFacts(self.surface, self._max_texts, self._max_tokens)

    def cost_s(self, texts: int, tokens: int) -> float:
        """What the surface says that a batch takes, by its rows and padded length; seconds."""
        return self.surface.by_rows(max(1, tokens), max(texts, self._max_texts))[texts - 1]

    def plan(self, lengths: Sequence[int]) -> list[PlannedBatch]:
        """See ``planner.plan``."""
        return self.facts.plan(lengths)


def with_surface(
    loaded: LoadedModel,
    batching: BatchingConfig,
    model: ModelConfig,
    *,
    folder: Path,
    threads: int,
) -> PlannedModel:
    """Recalls the cost surface of such a model on this kind of host, or measures and keeps it.

    Costs depend on the model's shape, not on the values of its weights: a retrained version has
    the surface of its predecessor and goes live without a measurement.

    Raises:
        OutOfMemory: Not even one text of full length fits on the card.
    """
    alone = loaded.runs_alone(batching)
    max_rows = 1 if alone else batching.max_batch_texts
    bundle = loaded.bundle
    fingerprint = host_fingerprint(
        *(loaded.engine.build, threads, max_rows, batching.max_batch_tokens, *_shape(bundle))
    )
    surface = recall(folder, fingerprint)
    if surface is not None:
        return PlannedModel(loaded, surface, batching)
    in_this_thread = threads == 1 and loaded.engine.device == "cpu"
    largest, max_cells = 0, batching.max_batch_tokens

    def run(rows: int, tokens: int) -> None:
        nonlocal largest
        largest = rows * tokens
        loaded.score([np.full(tokens, bundle.engine.pad_id, dtype=np.int32)] * rows)

    while surface is None:
        try:
            surface = measure(
                run,
                max_rows=max_rows,
                max_tokens=bundle.max_tokens,
                max_cells=max_cells,
                budget_s=model.surface_budget_ms / 1_000,
                # Other work of the machine while replicas start is not this engine's cost.
                clock=time.thread_time if in_this_thread else time.perf_counter,
            )
        except OutOfMemory:
            if largest <= bundle.max_tokens:
                raise
            max_cells = largest // 2
    keep(folder, fingerprint, surface)
    planned = PlannedModel(loaded, surface, batching)
    if max_cells < batching.max_batch_tokens:
        planned.shrink(2 * max_cells)
    return planned


def _shape(bundle: Bundle) -> tuple[object, ...]:
    """The same for models of one architecture and precision: the sizes of their files, nearly."""
    sizes = sorted(
        (name, round(size / _SAME_BYTES))
        for name, (_, size) in bundle.files.items()
        if name != TOKENIZER_FILE
    )
    return (bundle.engine, bundle.max_tokens, len(bundle.labels), *sizes)


def scores_of(logits: FloatArray, head: Head, temperature: float = 1.0) -> FloatArray:
    """Logits ``[n, outputs]`` to scores ``[n, labels] float32``, as the head has it.

    A row whose logits are not all finite is NaN.
    """
    divisor: FloatArray = np.array(head.temperatures or temperature, dtype=np.float32)
    scaled: FloatArray = logits / divisor
    finite = np.isfinite(scaled).all(axis=1)
    if not finite.all():
        scaled[~finite] = 0
    if head.activation == "softmax":
        scores = softmax(scaled)
    elif head.activation == "none":
        scores = scaled.astype(np.float32)
    else:
        scores = sigmoid(scaled)
        if head.task == "single_label":
            scores = np.concatenate([1 - scores, scores], axis=1)
    if not finite.all():
        scores[~finite] = np.nan
    return scores


def sigmoid(logits: FloatArray) -> FloatArray:
    """Each logit to a probability of its own, without overflow."""
    scores: FloatArray = (0.5 * (1 + np.tanh(0.5 * logits.astype(np.float64)))).astype(np.float32)
    return scores


def softmax(logits: FloatArray) -> FloatArray:
    """Rows of ``[n, labels]`` to probabilities, shifted by the row's maximum against overflow."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: FloatArray = (exponent / exponent.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores
