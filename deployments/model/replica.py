"""Token ids to scores: the last stage, and the only one that computes.

A replica holds every live model version, collects the encodings of all RPCs in one window,
cuts it into the batches of least cost and runs them one after another in its engine thread,
so the event loop stays free for the next window.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.autoscaling import Utilisation
from deployments.batching.batcher import Batcher, Expired, Postponed, Ticket
from deployments.batching.planner import PlannedBatch
from deployments.bundles import BundleCache
from deployments.model.engines import open_engine
from deployments.model.golden_probe import Encode, Golden
from deployments.model.isolation import score_each
from deployments.model.runner import LoadedModel, PlannedModel, with_surface
from deployments.model.spans import engine_spans, queue_spans
from deployments.payloads import EncodingBatch, FloatArray, IntArray, Probe, ScoreBatch
from deployments.telemetry.spans import Span, SpanContext

# A word, a sentence, a paragraph.
_WARM_UP_TOKENS = (3, 24, 128)
# A new plan pays once new texts are a quarter of those left of the present one.
_WORTH_A_PLAN = 0.25


@dataclass(frozen=True, slots=True)
class _Encoding:
    digest: str
    ids: IntArray
    context: SpanContext | None = None


@dataclass(frozen=True, slots=True)
class _Scored:
    """One text's result; its scores are NaN where the model has no answer for it.

    ``batch`` is set for the first row of an engine batch, ``spans`` for the first row of each
    sampled request in it.
    """

    scores: FloatArray
    infer_s: float
    cost_s: float
    batch: tuple[float, ...] | None
    spans: tuple[Span, ...]


_Ticket = Ticket[_Encoding, _Scored]


@dataclass(frozen=True, slots=True)
class _Run:
    """A planned batch of a window, with the model that it is for."""

    model: PlannedModel
    planned: PlannedBatch
    positions: tuple[int, ...]


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
        encode: Encode,
        replans: bool = False,
    ) -> None:
        """Holds no model yet.

        With ``replans`` a window is planned again between its engine batches, with the texts that
        arrived since: cheaper batches and earlier answers, but smaller hops. It pays where a hop
        is a call within one process.
        """
        self._bundles = bundles
        self._config = model
        self._batching = batching
        self._threads = threads
        self._gpu_share = gpu_share
        self._replans = replans
        self._models: dict[str, PlannedModel] = {}
        self._loading = asyncio.Lock()
        self._utilisation = Utilisation(time.monotonic())
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._golden = Golden(self._engine_thread, encode)
        self._window = Batcher[_Encoding, _Scored](
            self._run_window,
            max_items=max(batching.max_hop_texts, batching.max_batch_texts),
            slots=1,
            # The callers bound the queue by their RPCs in flight.
            max_queued=1 << 30,
            bulk_ratio=batching.bulk_ratio,
        )

    async def load(self, digest: str) -> None:
        """Opens and warms up a bundle; does nothing when it is loaded already.

        Raises:
            RegistryError: The bundle cannot be had or opened, or has other outputs than labels.
        """
        async with self._loading:
            if digest in self._models:
                return
            bundle = await self._bundles.get(digest)
            # In another thread, because opening is slow and the loaded models go on serving.
            engine = await asyncio.to_thread(
                open_engine,
                bundle,
                provider=self._config.provider,
                threads=self._threads,
                gpu_share=self._gpu_share,
            )
            # The same holds for measuring the costs of a further model.
            thread = self._engine_thread if not self._models else None
            self._models[digest] = await asyncio.get_running_loop().run_in_executor(
                thread, self._warm_up, LoadedModel(bundle, engine)
            )

    async def probe(self, digest: str, texts: Sequence[str]) -> Probe:
        """Scores texts one by one with a model, between the batches of requests."""
        await self.load(digest)
        return await self._golden.probe(self._models[digest].loaded, texts)

    async def unload(self, digest: str) -> None:
        """Frees a model that gets no requests any more."""
        self._models.pop(digest, None)
        self._golden.forget(digest)

    async def run(self, batch: EncodingBatch) -> ScoreBatch:
        """Scores one payload; row i belongs to its text i.

        Raises:
            RegistryError: The payload's bundle is not loaded and cannot be.
        """
        await self.load(batch.digest)
        rows = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
        contexts = batch.contexts or (None,) * len(rows)
        now = time.monotonic()
        tickets = [
            self._window.submit(
                [_Encoding(batch.digest, row, context)], now + remaining, bulk=bulk
            )[0]
            for row, context, remaining, bulk in zip(
                rows, contexts, batch.remaining_s.tolist(), batch.bulk.tolist(), strict=True
            )
        ]
        try:
            outcomes = await asyncio.gather(
                *(ticket.future for ticket in tickets), return_exceptions=True
            )
        except asyncio.CancelledError:
            for ticket in tickets:
                ticket.future.cancel()
            raise
        return self._collect(batch, tickets, outcomes)

    async def check_health(self) -> None:
        """Runs one text through every loaded model and raises what its engine raises.

        Serve calls this every few seconds and replaces a replica whose engine fails.
        """
        for digest in tuple(self._models):
            ids = np.array([0, 1, 2], dtype=np.int32)
            lengths = np.array([3], dtype=np.int32)
            budget = np.array([30.0], dtype=np.float32)
            bulk = np.array([False])
            await self.run(EncodingBatch(digest, ids, lengths, budget, bulk))

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The figures that ``ModelPolicy`` decides by, since the last call."""
        return self._utilisation.read(self._window.queued, time.monotonic())

    def _warm_up(self, loaded: LoadedModel) -> PlannedModel:
        loaded.check()
        for _ in range(self._config.warmup_runs):
            for tokens in _WARM_UP_TOKENS:
                length = min(tokens, loaded.bundle.max_tokens)
                loaded.score([np.full(length, loaded.bundle.engine.pad_id, dtype=np.int32)])
        return with_surface(
            loaded,
            self._batching,
            self._config,
            folder=self._bundles.directory,
            threads=self._threads,
        )

    async def _run_window(self, tickets: list[_Ticket]) -> list[_Scored | Exception]:
        runs = self._plan(tickets)
        # Bulk that has its fair share due runs to its end; other bulk yields to interactive texts.
        yields = tickets[0].bulk and not self._window.interactive_queued
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._engine_thread, self._score, tickets, runs, yields)

    def _plan(self, tickets: Sequence[_Ticket]) -> list[_Run]:
        """The window's batches, ordered by deadline, then by arrival."""
        groups: dict[str, list[int]] = {}
        for position, ticket in enumerate(tickets):
            groups.setdefault(ticket.item.digest, []).append(position)
        runs: list[tuple[float, int, _Run]] = []
        for digest, positions in groups.items():
            model = self._models[digest]
            for planned in model.plan([len(tickets[i].item.ids) for i in positions]):
                rows = tuple(positions[i] for i in planned.indices)
                deadline_s = min(tickets[i].deadline_s for i in rows)
                runs.append((deadline_s, min(rows), _Run(model, planned, rows)))
        return [run for *_, run in sorted(runs, key=lambda entry: entry[:2])]

    def _score(
        self, tickets: Sequence[_Ticket], runs: Sequence[_Run], yields: bool
    ) -> list[_Scored | Exception]:
        """Runs batches in the engine thread; leaves out expired and cancelled texts.

        With ``yields`` the rest of a bulk window is postponed once an interactive text waits. The
        rest of an interactive window is postponed, if the replica replans, once a new plan pays.
        """
        results: dict[int, _Scored | Exception] = dict.fromkeys(range(len(tickets)), Expired())
        left = len(tickets)
        for run in runs:
            waiting = self._window.interactive_queued
            worth = self._replans and left < len(tickets) and waiting >= left * _WORTH_A_PLAN
            if (yields and waiting) or (worth and not tickets[0].bulk):
                results |= dict.fromkeys(run.positions, Postponed())
                continue
            left -= len(run.positions)
            try:
                results |= self._score_batch(tickets, run)
            except Exception as error:  # noqa: BLE001  (a batch must fail its own texts)
                results |= dict.fromkeys(run.positions, error)
        return [results[i] for i in range(len(tickets))]

    def _score_batch(self, tickets: Sequence[_Ticket], run: _Run) -> dict[int, _Scored]:
        asked = [tickets[i] for i in run.positions]

        def is_wanted(row: int) -> bool:
            return asked[row].deadline_s > time.monotonic() and not asked[row].future.done()

        started = time.monotonic()
        scores = score_each(run.model.loaded, [ticket.item.ids for ticket in asked], is_wanted)
        if not scores:
            return {}
        infer_s = time.monotonic() - started
        self._utilisation.add(len(asked), infer_s, run.planned.cost_s)
        scored = [asked[row] for row in scores]
        lengths = [len(ticket.item.ids) for ticket in scored]
        cells, cost_s = len(lengths) * max(lengths), run.planned.cost_s
        # A batch that ran in parts says nothing of the cost of the whole.
        whole = sum(not np.isnan(row[0]) for row in scores.values()) == len(asked)
        facts = (len(lengths), sum(lengths), cells, cost_s, infer_s)
        batch, share_s = {0: facts} if whole else {}, cost_s / len(asked)
        spans = engine_spans(scored, run.model.loaded.bundle.digest, facts, started)
        return {
            run.positions[row]: _Scored(values, infer_s, share_s, batch.get(i), spans.get(i, ()))
            for i, (row, values) in enumerate(scores.items())
        }

    def _collect(
        self,
        batch: EncodingBatch,
        tickets: Sequence[_Ticket],
        outcomes: Sequence[_Scored | BaseException],
    ) -> ScoreBatch:
        labels = len(self._models[batch.digest].loaded.bundle.labels)
        scores = np.full((len(tickets), labels), np.nan, dtype=np.float32)
        expired = np.zeros(len(tickets), dtype=np.bool_)
        # Rows: queue, infer, cost.
        seconds = np.zeros((3, len(tickets)), dtype=np.float32)
        batches: list[tuple[float, ...]] = []
        spans = queue_spans(tickets, batch.contexts) if batch.contexts else []
        for i, (ticket, outcome) in enumerate(zip(tickets, outcomes, strict=True)):
            if isinstance(outcome, _Scored):
                scores[i] = outcome.scores
                seconds[:, i] = ticket.waited_s, outcome.infer_s, outcome.cost_s
                if outcome.batch is not None:
                    batches.append(outcome.batch)
                spans.extend(outcome.spans)
            elif isinstance(outcome, Expired):
                expired[i] = True
            else:
                raise outcome
        facts = np.array(batches, dtype=np.float32).reshape(len(batches), 5)
        failed = ~expired & np.isnan(scores[:, 0])
        queue_s, infer_s, cost_s = seconds
        return ScoreBatch(
            batch.digest, scores, expired, failed, queue_s, infer_s, cost_s, facts, tuple(spans)
        )
