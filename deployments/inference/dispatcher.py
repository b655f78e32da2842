"""Answers micro-batches: from the level-two cache, the rest by one RPC for each model version."""

import asyncio
import time
from collections.abc import Callable

import numpy as np

from deployments.batching.batcher import Expired, Ticket
from deployments.cache.bypass import BreakEven
from deployments.cache.memory import LruBytes
from deployments.cache.shared import LevelTwo
from deployments.clients.backoff import Backoff
from deployments.errors import TextFailed
from deployments.inference.admission import Backlog, TextCost
from deployments.inference.in_flight import Text
from deployments.inference.spans import HopSpans, Rows, looked_up, queued
from deployments.payloads import Contexts, ModelAnswer, RunTexts, TextBatch
from deployments.predictions import Outcome, Prediction
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import rows_of

# Sending a micro-batch again after a lost replica: Serve routes around it within this time.
_MAX_RETRIES = 7
_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 50, 2_000

_Ticket = Ticket[Text, Outcome]


class Dispatcher:
    """Answers the micro-batches of one replica; what it measures goes to admission and cache."""

    def __init__(
        self,
        run_texts: RunTexts,
        l1: LruBytes,
        l2: LevelTwo | None,
        metrics: Metrics,
        *,
        backlog: Backlog,
        text_cost: TextCost,
        is_lost: Callable[[Exception], bool],
    ) -> None:
        self._run_texts = run_texts
        self._l1 = l1
        self._l2 = l2
        self._metrics = metrics
        self._backlog = backlog
        self._text_cost = text_cost
        self._is_lost = is_lost
        self._backoff = Backoff(_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS)
        self._break_even = BreakEven()

    async def run(self, tickets: list[_Ticket]) -> list[Outcome | Exception]:
        """One outcome or error per ticket, in order."""
        traced = rows_of(ticket.item.trace for ticket in tickets)
        queued(traced, tickets)
        results: dict[bytes, Outcome | Exception] = {**await self._from_l2(tickets, traced)}
        by_model: dict[str, list[_Ticket]] = {}
        for ticket in tickets:
            if ticket.item.key not in results:
                by_model.setdefault(ticket.item.model.digest, []).append(ticket)
        for digest, group in by_model.items():
            results |= await self._infer(digest, group)
        for ticket in tickets:
            self._metrics.queue_seconds.observe(ticket.waited_s)
        self._metrics.cache_bytes.set(self._l1.size_bytes)
        return [results[ticket.item.key] for ticket in tickets]

    async def _from_l2(self, tickets: list[_Ticket], traced: Rows) -> dict[bytes, Outcome]:
        """What the level-two cache remembers, by key."""
        if self._l2 is None:
            return {}
        if not self._break_even.pays():
            self._metrics.cache_lookups.labels("l2", "skipped").inc(len(tickets))
            return {}
        started = time.monotonic()
        found = await self._l2.find([ticket.item.key for ticket in tickets])
        elapsed = time.monotonic() - started
        if traced:
            hits = {row for row, ticket in enumerate(tickets) if ticket.item.key in (found or ())}
            looked_up("l2", traced, started, started + elapsed, hits)
        if found is None:
            # The breaker decides when to look again; a failure says nothing about the hit rate.
            return {}
        self._break_even.looked_up(len(tickets), len(found), elapsed)
        self._metrics.stage_seconds.labels("cache").observe(elapsed)
        results: dict[bytes, Outcome] = {}
        for ticket in tickets:
            prediction = found.get(ticket.item.key)
            if prediction is not None:
                stages = {"queue": ticket.waited_s, "cache": elapsed}
                results[ticket.item.key] = Outcome(prediction, cached=True, stages_s=stages)
                self._l1.put(ticket.item.key, prediction.pack())
        return results

    async def _infer(self, digest: str, tickets: list[_Ticket]) -> dict[bytes, Outcome | Exception]:
        """What the model says, by key; ``Expired`` of texts whose deadline passed before that."""
        started = time.monotonic()
        answer = await self._send(digest, tickets)
        rpc_s = time.monotonic() - started
        scores = answer.scores
        results: dict[bytes, Outcome | Exception] = {}
        entries = []
        for i, ticket in enumerate(tickets):
            key = ticket.item.key
            if scores.expired[i]:
                self._metrics.dropped_texts.labels("expired").inc()
                results[key] = Expired()
                continue
            if scores.failed[i]:
                self._metrics.failed_texts.inc()
                results[key] = TextFailed("the model has no answer for this text")
                continue
            prediction = Prediction(
                scores.scores[i], int(answer.n_tokens[i]), bool(answer.truncated[i])
            )
            entries.append((key, prediction.pack()))
            self._l1.put(*entries[-1])
            stages = {
                "queue": ticket.waited_s,
                "tokenize": answer.tokenize_s,
                "window": float(scores.queue_s[i]),
                "infer": float(scores.infer_s[i]),
                "rpc": rpc_s,
            }
            results[key] = Outcome(prediction, cached=False, stages_s=stages)
            self._metrics.inference_seconds.observe(stages["infer"])
        self._learn(tickets, answer)
        self._metrics.stage_seconds.labels("tokenize").observe(answer.tokenize_s)
        self._metrics.stage_seconds.labels("window").observe(float(scores.queue_s.max()))
        self._metrics.stage_seconds.labels("rpc").observe(rpc_s)
        if self._l2 is not None:
            self._l2.remember(entries)
        return results

    def _learn(self, tickets: list[_Ticket], answer: ModelAnswer) -> None:
        """Takes what the model stage measured, for metrics, cache and admission."""
        scored = ~(answer.scores.expired | answer.scores.failed)
        self._metrics.tokens.inc(int(answer.n_tokens[scored].sum()))
        self._metrics.observe_batches(answer.scores.batches)
        if not scored.any():
            return
        chars = np.array([len(ticket.item.text) for ticket in tickets], dtype=np.float32)[scored]
        self._text_cost.learn(chars, answer.scores.cost_s[scored])
        self._break_even.inferred(float(answer.scores.cost_s[scored].mean()))
        self._metrics.break_even_ratio.set(self._break_even.ratio)
        first = tickets[int(scored.argmax())]
        if not first.bulk:
            self._backlog.learn(first.item.expected_s, time.monotonic() - first.queued_s)

    async def _send(self, digest: str, tickets: list[_Ticket]) -> ModelAnswer:
        """One RPC, with a span in every trace that has a text in it."""
        rows = rows_of(ticket.item.trace for ticket in tickets)
        if not rows:
            return await self._attempts(digest, tickets, ())
        spans, started = HopSpans(rows, len(tickets)), time.monotonic()
        answer, error = None, "cancelled"
        try:
            answer = await self._attempts(digest, tickets, spans.contexts)
        except Exception as failed:
            error = type(failed).__name__
            raise
        else:
            error = ""
            return answer
        finally:
            spans.end(started, time.monotonic(), answer, error)

    async def _attempts(
        self, digest: str, tickets: list[_Ticket], contexts: Contexts
    ) -> ModelAnswer:
        texts = [ticket.item.text for ticket in tickets]
        bulk = np.array([ticket.bulk for ticket in tickets])
        self._metrics.hop_texts.observe(len(texts))
        attempts = 0
        while True:
            attempts += 1
            now = time.monotonic()
            remaining_s = np.array([t.deadline_s - now for t in tickets], dtype=np.float32)
            try:
                return await self._run_texts(TextBatch(digest, texts, remaining_s, bulk, contexts))
            except Exception as error:
                pause_s = self._backoff.pause_s(attempts)
                late = attempts > _MAX_RETRIES or remaining_s.max() <= pause_s
                if late or not self._is_lost(error):
                    raise
                self._metrics.retries.inc()
                await asyncio.sleep(pause_s)
