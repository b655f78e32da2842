"""What becomes of texts: remembered answers of level two, scores of the model, errors.

Both roads to the model end here; what is measured on the way goes to admission and to the cache.
"""

import time
from collections.abc import Sequence

import numpy as np

from deployments.batching.encoded_text import EncodedText
from deployments.batching.scheduler import Expired
from deployments.cache.bypass import BreakEven
from deployments.cache.memory import LruBytes
from deployments.cache.shared import LevelTwo
from deployments.errors import TextFailed
from deployments.inference.admission import Backlog, TextCost
from deployments.inference.pending_text import PendingText
from deployments.inference.spans import looked_up
from deployments.payloads import ScoreBatch
from deployments.predictions import Outcome, Prediction
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import rows_of


class Results:
    """Finishes the texts of one replica. For one event loop."""

    def __init__(
        self,
        l1: LruBytes,
        l2: LevelTwo | None,
        metrics: Metrics,
        backlog: Backlog,
        text_cost: TextCost,
    ) -> None:
        self._l1 = l1
        self._l2 = l2
        self._metrics = metrics
        # Read when it is asked for: hits of level two and what is forgotten change it as well.
        metrics.cache_bytes.set_function(lambda: l1.size_bytes)
        self._backlog = backlog
        self._text_cost = text_cost
        self._break_even = BreakEven()
        stage = metrics.stage_seconds.labels
        self._tokenize_seconds, self._rpc_seconds = stage("tokenize"), stage("rpc")
        self._window_seconds = stage("window")

    @property
    def looks_up(self) -> bool:
        """Whether there is a level two, so that ``look_up`` may take time."""
        return self._l2 is not None

    async def look_up(self, texts: list[PendingText]) -> list[PendingText]:
        """Finishes what level two remembers; returns the rest."""
        if self._l2 is None:
            return texts
        if not self._break_even.pays():
            self._metrics.cache_lookups.labels("l2", "skipped").inc(len(texts))
            return texts
        started = time.monotonic()
        found = await self._l2.find([text.key for text in texts])
        elapsed = time.monotonic() - started
        if traced := rows_of(text.trace for text in texts):
            hits = {row for row, text in enumerate(texts) if text.key in (found or ())}
            looked_up("l2", traced, started, started + elapsed, hits)
        if found is None:
            # The breaker decides when to look again; a failure says nothing about the hit rate.
            return texts
        self._break_even.looked_up(len(texts), len(found), elapsed)
        self._metrics.stage_seconds.labels("cache").observe(elapsed)
        left = []
        for text in texts:
            prediction = found.get(text.key)
            if prediction is None:
                left.append(text)
                continue
            self._l1.put(text.key, prediction.pack())
            stages = {"queue": text.waited_s, "cache": elapsed}
            self._metrics.queue_seconds.observe(text.waited_s)
            text.finish(Outcome(prediction, cached=True, stages_s=stages))
        return left

    def failed(self, texts: Sequence[EncodedText], error: Exception) -> None:
        """See ``Receiver.failed``."""
        if isinstance(error, Expired):
            self._metrics.dropped_texts.labels("expired").inc(len(texts))
        for text in texts:
            assert isinstance(text, PendingText)
            text.finish(error)

    def scored(self, texts: Sequence[EncodedText], rows: Sequence[int], answer: ScoreBatch) -> None:
        """See ``Receiver.scored``."""
        now = time.monotonic()
        entries = []
        expired, failed = answer.expired.tolist(), answer.failed.tolist()
        queue_s, infer_s = answer.queue_s.tolist(), answer.infer_s.tolist()
        scored: list[tuple[PendingText, int]] = []
        for text, row in zip(texts, rows, strict=True):
            assert isinstance(text, PendingText)
            if text.done:
                # Withdrawn, or answered by another replica that it was sent to as well.
                continue
            if expired[row]:
                self._metrics.dropped_texts.labels("expired").inc()
                text.finish(Expired())
                continue
            if failed[row]:
                self._metrics.failed_texts.inc()
                text.finish(TextFailed("the model has no answer for this text"))
                continue
            scored.append((text, row))
            prediction = Prediction(answer.scores[row], text.n_tokens, text.truncated)
            entry = (text.key, prediction.pack())
            entries.append(entry)
            self._l1.put(*entry)
            stages = {
                "queue": text.waited_s,
                "tokenize": text.tokenize_s,
                "window": queue_s[row],
                "infer": infer_s[row],
                "rpc": now - (text.started_s or now),
            }
            self._metrics.queue_seconds.observe(stages["queue"])
            self._metrics.inference_seconds.observe(stages["infer"])
            text.finish(Outcome(prediction, cached=False, stages_s=stages))
        self._metrics.observe_batches(answer.batches)
        if scored:
            self._learn(scored, answer, now)
        if self._l2 is not None and entries:
            self._l2.remember(entries)

    def tokenized(self, seconds: float) -> None:
        """A micro-batch was tokenized."""
        self._tokenize_seconds.observe(seconds)

    def _learn(
        self, scored: Sequence[tuple[PendingText, int]], answer: ScoreBatch, now: float
    ) -> None:
        """Takes what the model stage measured, for metrics, cache and admission."""
        rows = [row for _, row in scored]
        cost_s = answer.cost_s[rows]
        self._metrics.tokens.inc(sum(text.n_tokens for text, _ in scored))
        chars = np.array([len(text.text) for text, _ in scored], dtype=np.float32)
        self._text_cost.learn(chars, cost_s)
        self._break_even.inferred(float(cost_s.mean()))
        self._metrics.break_even_ratio.set(self._break_even.ratio)
        self._window_seconds.observe(float(answer.queue_s[rows].max()))
        first = scored[0][0]
        self._rpc_seconds.observe(now - (first.started_s or now))
        if not first.bulk:
            self._backlog.learn(first.expected_s, now - first.queued_s)
