"""Token ids to scores: the last stage, and the only one that computes.

A replica holds every live model version and one queue. Its engine threads take the next batch of
least cost out of all that waits; the event loop only queues texts and hands out their scores.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from prometheus_client import CollectorRegistry

from configs.schema.app import BatchingConfig, ModelConfig
from deployments.autoscaling import Utilisation
from deployments.batching.encoded_text import EncodedText, deliver, fail
from deployments.batching.planner import PlanFacts
from deployments.batching.scheduler import Expired, Scheduler
from deployments.bundles import BundleCache
from deployments.model.engine_threads import EngineThreads
from deployments.model.engines import open_engine
from deployments.model.golden_probe import Encode, Golden
from deployments.model.isolation import score_each
from deployments.model.runner import LoadedModel, PlannedModel, with_surface
from deployments.model.scores import Call, engine_answer
from deployments.payloads import EncodingBatch, Probe, ScoreBatch
from deployments.telemetry.engine_metrics import EngineMetrics

_log = logging.getLogger("ray.serve")
# A word, a sentence, a paragraph.
_WARM_UP_TOKENS = (3, 24, 128)


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
        engines: int = 1,
        metrics: EngineMetrics | None = None,
    ) -> None:
        """Holds no model yet.

        Args:
            bundles: Where models come from.
            model: How engines run.
            batching: Sizes of batches.
            threads: Threads inside one run of an engine.
            gpu_share: See ``open_engine``.
            encode: Tokenizes golden texts.
            engines: Batches that run at once, on one loaded model; 1 on a GPU.
            metrics: Of this process; a table that is not exported if not given.
        """
        self._bundles = bundles
        self._config = model
        self._batching = batching
        self._intra_op_threads = threads
        self._gpu_share = gpu_share
        self._metrics = metrics or EngineMetrics(CollectorRegistry())
        self._models: dict[str, PlannedModel] = {}
        self._loading = asyncio.Lock()
        self._utilisation = Utilisation(time.monotonic(), engines)
        self._threads = EngineThreads(engines, self._work)
        self._golden = Golden(self._threads.call, encode)
        self._loop: asyncio.AbstractEventLoop | None = None
        # Their callers bound how many texts may wait.
        self._scheduler = Scheduler[EncodedText](
            self._threads.wake,
            slots=engines,
            max_items=batching.max_batch_texts,
            plan=self._plan,
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
                threads=self._intra_op_threads,
                gpu_share=self._gpu_share,
            )
            # The same holds for measuring the costs of a further model.
            warm_up = partial(self._warm_up, LoadedModel(bundle, engine))
            first = not self._models
            planned = await (self._threads.call(warm_up) if first else asyncio.to_thread(warm_up))
            self._models[digest] = planned
            self._show_limit()
            self._metrics.watch(engine.gpu_memory)

    async def probe(self, digest: str, texts: Sequence[str]) -> Probe:
        """Scores texts one by one with a model, between the batches of requests."""
        await self.load(digest)
        return await self._golden.probe(self._models[digest].loaded, texts)

    async def unload(self, digest: str) -> None:
        """Frees a model that gets no requests any more."""
        self._models.pop(digest, None)
        self._golden.forget(digest)
        self._show_limit()

    def holds(self, digest: str) -> bool:
        """Whether a model is loaded, so that its texts can be submitted."""
        return digest in self._models

    def submit(self, texts: Sequence[EncodedText]) -> None:
        """Queues texts of loaded models, of one class; their receivers are given the scores."""
        self._loop = asyncio.get_running_loop()
        self._scheduler.submit(texts)

    def queued(self, *, bulk: bool) -> int:
        """Texts of a class that wait for an engine."""
        return self._scheduler.queued(bulk=bulk)

    def purge(self) -> None:
        """Forgets withdrawn texts, which ``queued`` counts until then."""
        self._scheduler.purge()

    async def facts(self, digest: str) -> PlanFacts:
        """What callers need to plan batches of a model; loads it if it must.

        Raises:
            RegistryError: The bundle cannot be had or opened.
        """
        await self.load(digest)
        return self._models[digest].facts

    async def run(self, batch: EncodingBatch) -> ScoreBatch:
        """Scores one payload; row i belongs to its text i.

        Its texts are planned with all that wait here: those of another caller may share a batch.

        Raises:
            RegistryError: The payload's bundle is not loaded and cannot be.
        """
        await self.load(batch.digest)
        call = Call(batch, len(self._models[batch.digest].loaded.bundle.labels))
        for texts in call.by_class():
            self.submit(texts)
        return await call.answer()

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
        return self._utilisation.read(self._scheduler.queued(), time.monotonic())

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
            threads=self._intra_op_threads,
        )

    def _plan(self, texts: Sequence[EncodedText]) -> list[list[int]]:
        """The batches of least cost, each of one model."""
        groups: dict[str, list[int]] = {}
        for position, text in enumerate(texts):
            groups.setdefault(text.digest, []).append(position)
        batches: list[list[int]] = []
        for digest, positions in groups.items():
            model = self._models.get(digest)
            if model is None:
                # It was let go in between: the batch fails when it runs.
                batches.append(positions)
                continue
            for part in model.plan([len(texts[i].ids) for i in positions]):
                batches.append([positions[i] for i in part.indices])
        return batches

    def _work(self, after: bool | None) -> bool | None:
        """Runs the next batch, in an engine thread; returns its class, None if none waited."""
        texts, expired = self._scheduler.take(after)
        if expired:
            self._post(partial(fail, expired, Expired()))
        if not texts:
            return None
        try:
            model = self._models[texts[0].digest]
            answer = self._score(model, texts)
        except Exception as error:  # noqa: BLE001  (a batch must fail its own texts)
            self._post(partial(fail, texts, error))
        else:
            self._post(partial(self._deliver, texts, answer))
        return texts[0].bulk

    def _score(self, model: PlannedModel, texts: Sequence[EncodedText]) -> ScoreBatch:
        def is_wanted(row: int) -> bool:
            return not texts[row].done and texts[row].deadline_s > time.monotonic()

        started_s = time.monotonic()
        rows = [text.ids for text in texts]
        scores = score_each(model.loaded, rows, is_wanted, partial(self._shrink, model))
        infer_s = time.monotonic() - started_s
        cost_s = model.cost_s(len(texts), max(len(text.ids) for text in texts))
        return engine_answer(model.loaded.bundle, texts, scores, infer_s, cost_s)

    def _shrink(self, model: PlannedModel, cells: int) -> None:
        """A batch of so many cells was too large for the card's memory."""
        model.shrink(cells)
        self._metrics.out_of_memory.inc()
        self._show_limit()
        _log.warning(
            "model %s: out of GPU memory with %s padded tokens; batches have at most %s now",
            model.loaded.bundle.digest[:12],
            cells,
            model.max_tokens,
        )

    def _show_limit(self) -> None:
        limits = [model.max_tokens for model in tuple(self._models.values())]
        self._metrics.batch_tokens_limit.set(min(limits, default=0))

    def _deliver(self, texts: Sequence[EncodedText], answer: ScoreBatch) -> None:
        ran = ~answer.expired
        if ran.any():
            infer_s, cost_s = float(answer.infer_s.max()), float(answer.cost_s.sum())
            self._utilisation.add(int(ran.sum()), infer_s, cost_s)
        deliver(texts, answer)

    def _post(self, call: Callable[[], None]) -> None:
        assert self._loop is not None
        # The loop is closed when a replica stops with a batch under way.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(call)
