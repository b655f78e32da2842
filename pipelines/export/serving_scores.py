"""Scores texts exactly as the graph will: the serving tokenizer, the serving engine, batches of
nearly equal length.

Used by `evaluate`, and by `export` and `import` to compare two forms of a model. So a fault in
tokenizer, truncation or padding shows in the figures, not in production.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from deployments.model.engines import Engine, open_engine
from deployments.model.runner import LoadedModel
from deployments.tokenizer.replica import LoadedTokenizer
from pipelines.export.parity import FloatArray
from pipelines.progress import progress
from registry.records import Bundle

BATCH_TEXTS = 32


class ServedModel:
    """A bundle opened as a replica opens it. Not safe for use from several threads."""

    def __init__(self, bundle: Bundle, *, threads: int = 2) -> None:
        self.bundle = bundle
        self._tokenizer = LoadedTokenizer(bundle)
        self._engine: Engine = open_engine(bundle, provider="cpu", threads=threads)
        # As `batching.reproducible_scores` has it in the graph.
        alone = not bundle.engine.pads or LoadedModel(bundle, self._engine).rows_interact
        self._batch_texts = 1 if alone else BATCH_TEXTS

    def logits(self, texts: Sequence[str], batch_texts: int | None = None) -> FloatArray:
        """Returns [texts, outputs] float32 logits in the order of the texts; the temperature is not
        applied. Batches are the replicas' unless `batch_texts` says otherwise.
        """
        ids, masks, orders = padded_batches(
            self._tokenizer, texts, self.bundle.engine.pad_id, batch_texts or self._batch_texts
        )
        outputs = self.bundle.head.outputs(len(self.bundle.labels))
        result = np.empty((len(texts), outputs), dtype=np.float32)
        name = f"{self.bundle.name} {self.bundle.engine.precision}"
        batches: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]
        batches = zip(ids, masks, orders, strict=True)
        if len(ids) > 1:
            batches = progress(batches, total=len(ids), desc=name, unit="batches")
        for input_ids, mask, order in batches:
            result[order] = self._engine.run(input_ids, mask)
        return result


def padded_batches(
    tokenizer: LoadedTokenizer, texts: Sequence[str], pad_id: int, batch_texts: int = BATCH_TEXTS
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Returns ids and masks, each [batch, length] int64, and the positions of each batch's texts;
    shortest texts first.
    """
    encodings = tokenizer.encode(texts)
    rows = np.split(encodings.ids, np.cumsum(encodings.lengths)[:-1])
    by_length = np.argsort(encodings.lengths, kind="stable")
    ids: list[np.ndarray] = []
    masks: list[np.ndarray] = []
    orders: list[np.ndarray] = []
    for start in range(0, len(texts), batch_texts):
        order = by_length[start : start + batch_texts]
        lengths = encodings.lengths[order]
        mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
        padded = np.full(mask.shape, pad_id, dtype=np.int64)
        padded[mask == 1] = np.concatenate([rows[at] for at in order])
        ids.append(padded)
        masks.append(mask)
        orders.append(order)
    return ids, masks, orders
