"""Tokenizer and model of one bundle in this process, with one engine thread."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path

import numpy as np

from configs.schema.app import AppConfig
from deployments.model.engines import open_engine
from deployments.model.isolation import score_each
from deployments.model.runner import LoadedModel
from deployments.payloads import FloatArray, IntArray, ModelAnswer, ScoreBatch, TextBatch
from deployments.tokenizer.replica import LoadedTokenizer
from deployments.versions import ServedVersion
from registry.bundles.bundle import open_bundle

# Rows of one engine run. They have one length, so that no cell of padding is computed.
_MOST_ROWS = 16


class LocalStages:
    """The tokenizer stage as a plain function; ``model`` is what it serves."""

    def __init__(self, folder: Path, config: AppConfig, *, version: int, threads: int) -> None:
        """Opens the bundle and runs it once.

        Args:
            folder: Of the bundle; its files are compared with its digests.
            config: Provider of the engine.
            version: Number that its answers name.
            threads: Of the engine.

        Raises:
            RegistryError: It is no bundle, or its files are not those of its digests.
        """
        bundle = open_bundle(folder)
        self._tokenizer = LoadedTokenizer(bundle)
        engine = open_engine(bundle, provider=config.model.provider, threads=threads)
        self._model = LoadedModel(bundle, engine)
        self._model.check()
        alone = self._model.rows_interact or not bundle.engine.pads
        self._most_rows = 1 if alone else _MOST_ROWS
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self.model = ServedVersion(
            name=bundle.name,
            version=version,
            digest=bundle.digest,
            labels=bundle.labels,
            kind=bundle.engine.kind,
            precision=bundle.engine.precision,
            max_tokens=bundle.max_tokens,
            source="last_known",
            head=bundle.head,
        )

    async def run_texts(self, batch: TextBatch) -> ModelAnswer:
        """Tokenizes and scores ``batch``; row i belongs to text i."""
        queued_s = time.monotonic()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._run, batch, queued_s)

    def silent(self) -> Sequence[str]:
        """There is no other process."""
        return ()

    def close(self) -> None:
        """Ends the engine's thread after the present run."""
        self._thread.shutdown()

    def _run(self, batch: TextBatch, queued_s: float) -> ModelAnswer:
        started_s = time.monotonic()
        encoded = self._tokenizer.encode(batch.texts)
        tokenized_s = time.monotonic()
        rows = np.split(encoded.ids, np.cumsum(encoded.lengths)[:-1])
        deadlines_s = queued_s + batch.remaining_s
        scores = np.full((len(rows), len(self.model.labels)), np.nan, dtype=np.float32)
        expired = np.zeros(len(rows), dtype=np.bool_)
        infer_s = np.zeros(len(rows), dtype=np.float32)
        for part in self._parts(encoded.lengths):
            began_s = time.monotonic()
            found = self._score([rows[i] for i in part], deadlines_s[part])
            for place, i in enumerate(part):
                expired[i] = place not in found
                scores[i] = found.get(place, np.nan)
                infer_s[i] = time.monotonic() - began_s
        queue_s = np.full(len(rows), started_s - queued_s, dtype=np.float32)
        failed = ~expired & np.isnan(scores[:, 0])
        cost_s = infer_s / np.float32(max(1, len(rows)))
        facts = np.empty((0, 5), dtype=np.float32)
        answer = ScoreBatch(batch.digest, scores, expired, failed, queue_s, infer_s, cost_s, facts)
        return ModelAnswer(answer, encoded.lengths, encoded.truncated, tokenized_s - started_s)

    def _parts(self, lengths: IntArray) -> list[list[int]]:
        """Positions of texts that run together: of one length, and not too many."""
        by_length = sorted(range(len(lengths)), key=lengths.__getitem__)
        found = []
        for _, group in groupby(by_length, key=lengths.__getitem__):
            same = list(group)
            found += [
                same[start : start + self._most_rows]
                for start in range(0, len(same), self._most_rows)
            ]
        return found

    def _score(self, rows: Sequence[IntArray], deadlines_s: FloatArray) -> dict[int, FloatArray]:
        def is_wanted(row: int) -> bool:
            return bool(deadlines_s[row] > time.monotonic())

        return score_each(self._model, rows, is_wanted)
