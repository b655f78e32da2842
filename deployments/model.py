"""Token ids to scores: the last stage, and the only one that computes.

A replica holds every live model version, gathers the encodings of all RPCs in one
window, cuts the window into batches of nearly equal length and runs them one after
another in its engine thread, so the event loop stays free for the next window.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from configs.schema import BatchingConfig, ModelConfig
from deployments.batcher import Batcher, Expired, Ticket
from deployments.engines import Engine, open_engine
from deployments.fetch import BundleCache
from deployments.payloads import EncodingBatch, FloatArray, IntArray, ScoreBatch
from deployments.planner import plan
from deployments.tokenizer import Tokenizer
from registry.records import Bundle

_WARM_UP_TEXTS = (
    "ok",
    "The delivery was late and the box was broken, but support answered within an hour.",
    "word " * 200,
)


@dataclass(frozen=True, slots=True)
class _Encoding:
    digest: str
    ids: IntArray


@dataclass(frozen=True, slots=True)
class _Scored:
    scores: FloatArray
    infer_s: float


class LoadedModel:
    """One bundle, ready to run: engine, padding and temperature."""

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self.bundle = bundle
        self.engine = engine

    @property
    def rows_interact(self) -> bool:
        """Whether a row's logits depend on the other rows of its batch.

        Dynamic INT8 takes one activation scale for a whole batch. The model card says how far
        scores and labels move with it; `sentigraph export` measures that.
        """
        return self.bundle.engine.precision == "int8" and self.engine.device == "cpu"

    def score(self, rows: Sequence[IntArray]) -> FloatArray:
        """Probabilities ``[len(rows), labels] float32`` of one batch, padded to its longest row."""
        longest = max(map(len, rows))
        ids = np.full((len(rows), longest), self.bundle.engine.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for index, row in enumerate(rows):
            ids[index, : len(row)] = row
            mask[index, : len(row)] = 1
        return softmax(self.engine.run(ids, mask) / np.float32(self.bundle.temperature))


def softmax(logits: FloatArray) -> FloatArray:
    """Rows of ``[n, labels]`` to probabilities, shifted by the row's maximum against overflow."""
    exponent = np.exp(logits - logits.max(axis=-1, keepdims=True))
    scores: FloatArray = (exponent / exponent.sum(axis=-1, keepdims=True)).astype(np.float32)
    return scores


class ModelReplica:
    """Scores encodings. One instance per replica; call from its event loop."""

    def __init__(
        self,
        bundles: BundleCache,
        model: ModelConfig,
        batching: BatchingConfig,
        *,
        threads: int,
        gpu_share: float,
    ) -> None:
        self._bundles = bundles
        self._config = model
        self._batching = batching
        self._threads = threads
        self._gpu_share = gpu_share
        self._models: dict[str, LoadedModel] = {}
        self._loading = asyncio.Lock()
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._window = Batcher[_Encoding, _Scored](
            self._run_window,
            max_items=max(batching.max_hop_texts, batching.max_batch_texts),
            slots=1,
            # Back-pressure is the ingress's: what its RPCs in flight carry always fits here.
            max_queued=1 << 30,
        )

    async def load(self, digest: str) -> None:
        """Opens and warms up a bundle; does nothing when it is loaded already.

        Raises:
            RegistryError: The bundle cannot be had or fails its digest check.
        """
        async with self._loading:
            if digest in self._models:
                return
            bundle = await self._bundles.get(digest)
            loop = asyncio.get_running_loop()
            self._models[digest] = await loop.run_in_executor(
                self._engine_thread, self._open_and_warm_up, bundle
            )

    async def run(self, batch: EncodingBatch) -> ScoreBatch:
        """Scores one payload; row i belongs to its text i.

        Raises:
            RegistryError: The payload's bundle is not loaded and cannot be.
        """
        await self.load(batch.digest)
        rows = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
        now = time.monotonic()
        tickets = [
            self._window.submit([_Encoding(batch.digest, row)], now + float(remaining))[0]
            for row, remaining in zip(rows, batch.remaining_s, strict=True)
        ]
        try:
            outcomes = await asyncio.gather(
                *(ticket.future for ticket in tickets), return_exceptions=True
            )
        except asyncio.CancelledError:
            for ticket in tickets:
                ticket.future.cancel()
            raise
        return self._collect(batch.digest, tickets, outcomes)

    async def check(self) -> None:
        """Runs one text through every loaded model; raises what the engine raises."""
        for digest in self._models:
            ids = np.array([0, 1, 2], dtype=np.int32)
            lengths = np.array([3], dtype=np.int32)
            budget = np.array([30.0], dtype=np.float32)
            await self.run(EncodingBatch(digest, ids, lengths, budget))

    def _open_and_warm_up(self, bundle: Bundle) -> LoadedModel:
        engine = open_engine(
            bundle, provider=self._config.provider, threads=self._threads, gpu_share=self._gpu_share
        )
        loaded = LoadedModel(bundle, engine)
        tokenizer = Tokenizer(bundle)
        for _ in range(self._config.warmup_runs):
            for text in _WARM_UP_TEXTS:
                loaded.score([tokenizer.encode([text]).ids])
        return loaded

    async def _run_window(
        self, tickets: list[Ticket[_Encoding, _Scored]]
    ) -> list[_Scored | Exception]:
        rows = [ticket.item.ids for ticket in tickets]
        results: list[_Scored | Exception] = [Expired()] * len(tickets)
        loop = asyncio.get_running_loop()
        for digest in {ticket.item.digest for ticket in tickets}:
            mine = [i for i, ticket in enumerate(tickets) if ticket.item.digest == digest]
            model = self._models[digest]
            alone = self._batching.reproducible_scores and model.rows_interact
            batches = plan(
                [len(rows[i]) for i in mine],
                max_texts=1 if alone else self._batching.max_batch_texts,
                max_tokens=self._batching.max_batch_tokens,
                max_padding_ratio=self._batching.max_padding_ratio,
            )
            scored = await loop.run_in_executor(
                self._engine_thread,
                self._score_batches,
                model,
                [[rows[mine[i]] for i in batch] for batch in batches],
            )
            for batch, (scores, infer_s) in zip(batches, scored, strict=True):
                for position, index in enumerate(batch):
                    results[mine[index]] = _Scored(scores[position], infer_s)
        return results

    def _score_batches(
        self, model: LoadedModel, batches: list[list[IntArray]]
    ) -> list[tuple[FloatArray, float]]:
        scored = []
        for batch in batches:
            started = time.perf_counter()
            scores = model.score(batch)
            scored.append((scores, time.perf_counter() - started))
        return scored

    def _collect(
        self,
        digest: str,
        tickets: list[Ticket[_Encoding, _Scored]],
        outcomes: Sequence[_Scored | BaseException],
    ) -> ScoreBatch:
        labels = len(self._models[digest].bundle.labels)
        scores = np.full((len(tickets), labels), np.nan, dtype=np.float32)
        expired = np.zeros(len(tickets), dtype=np.bool_)
        queue_s = np.zeros(len(tickets), dtype=np.float32)
        infer_s = np.zeros(len(tickets), dtype=np.float32)
        for i, (ticket, outcome) in enumerate(zip(tickets, outcomes, strict=True)):
            if isinstance(outcome, _Scored):
                scores[i] = outcome.scores
                infer_s[i] = outcome.infer_s
                queue_s[i] = (ticket.started_s or ticket.queued_s) - ticket.queued_s
            elif isinstance(outcome, Expired):
                expired[i] = True
            else:
                raise outcome
        return ScoreBatch(digest, scores, expired, queue_s, infer_s)
