"""How a text becomes a prediction, seen from the ingress.

    text → L1 cache → single flight → window ─┬→ L2 cache (one call for the micro-batch)
                                              └→ Tokenizer → Model → scores

Identical texts in flight share one result. A text whose callers have all left, or whose
deadline has passed, is dropped before compute.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from configs.schema import AppConfig
from deployments.batcher import Batcher, Expired, QueueFull, Ticket
from deployments.cache import LevelTwo, LruBytes, Prediction, SharedCache, cache_key
from deployments.errors import DeadlineExceeded, InferenceFailed, Overloaded, RequestError
from deployments.live import LiveModel
from deployments.metrics import Metrics
from deployments.payloads import Answer, TextBatch

RunTexts = Callable[[TextBatch], Awaitable[Answer]]

# Sending a micro-batch again after a lost replica: Serve routes around it within this time.
_RETRY_PAUSES_S = (0.05, 0.2, 0.5, 1.0, 2.0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One text's prediction and how it came about.

    Attributes:
        prediction: What the model said.
        cached: Found in either cache level.
        stages_s: Seconds by stage name, for ``Server-Timing``.
    """

    prediction: Prediction
    cached: bool
    stages_s: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Text:
    text: str
    key: bytes
    model: LiveModel


@dataclass(slots=True)
class _Flight:
    ticket: Ticket[_Text, Outcome]
    waiters: int = 0


class Classifier:
    """Answers texts with predictions of a given live model. One instance per ingress."""

    def __init__(
        self,
        config: AppConfig,
        run_texts: RunTexts,
        shared: SharedCache | None,
        metrics: Metrics,
        *,
        hops_in_flight: int,
        is_lost: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        """Wires the flow.

        Args:
            config: Sizes and limits.
            run_texts: The tokenizer stage.
            shared: Level two, or None.
            metrics: Where facts are counted.
            hops_in_flight: Micro-batches under way at once.
            is_lost: Whether an error of ``run_texts`` means that a replica died with the batch.
        """
        self._run_texts = run_texts
        self._metrics = metrics
        self._is_lost = is_lost
        self._l1 = LruBytes(config.cache.l1_max_bytes, config.cache.ttl_s)
        timeout_s = config.cache.l2_timeout_ms / 1_000
        self._l2 = (
            LevelTwo(shared, timeout_s, config.breaker, metrics) if shared is not None else None
        )
        self._flights: dict[bytes, _Flight] = {}
        self._window = Batcher[_Text, Outcome](
            self._hop,
            max_items=config.batching.max_hop_texts,
            slots=hops_in_flight,
            max_queued=config.limits.max_queued_texts,
            on_drop=lambda reason: metrics.dropped_texts.labels(reason).inc(),
        )

    async def classify(
        self, model: LiveModel, texts: Sequence[str], deadline_s: float
    ) -> list[Outcome | RequestError]:
        """Predicts each text; the result has the order of ``texts``.

        Args:
            model: The version that answers; all texts get the same one.
            texts: Stripped, not blank.
            deadline_s: On ``time.monotonic``.

        Returns:
            For each text its outcome, or the error that it alone ended with.

        Raises:
            Overloaded: The texts do not fit into the queue; none was queued.
        """
        results: list[Outcome | RequestError | None] = [None] * len(texts)
        keys = [cache_key(model.digest, text) for text in texts]
        waiting = [i for i, key in enumerate(keys) if not self._from_l1(key, i, results)]
        while waiting:
            joined = self._join(model, texts, keys, waiting, deadline_s)
            try:
                await asyncio.wait(
                    {flight.ticket.future for flight in joined.values()},
                    timeout=max(0.0, deadline_s - time.monotonic()),
                )
                for i in waiting:
                    results[i] = _result_of(joined[keys[i]].ticket.future)
            finally:
                for key, flight in joined.items():
                    self._leave(key, flight)
                self._metrics.queued_texts.set(self._window.queued)
            # A flight shared with a caller in more of a hurry may have expired before our time.
            in_time = time.monotonic() < deadline_s
            waiting = [i for i in waiting if in_time and isinstance(results[i], DeadlineExceeded)]
        return [result for result in results if result is not None]

    def _from_l1(
        self, key: bytes, index: int, results: list[Outcome | RequestError | None]
    ) -> bool:
        value = self._l1.get(key)
        self._metrics.cache_lookups.labels("l1", "miss" if value is None else "hit").inc()
        if value is None:
            return False
        results[index] = Outcome(Prediction.unpack(value), cached=True)
        return True

    def _join(
        self,
        model: LiveModel,
        texts: Sequence[str],
        keys: Sequence[bytes],
        indices: Sequence[int],
        deadline_s: float,
    ) -> dict[bytes, _Flight]:
        """One flight per distinct text: under way already, or queued now."""
        joined: dict[bytes, _Flight] = {}
        fresh: dict[bytes, _Text] = {}
        for i in indices:
            key = keys[i]
            if key in joined or key in fresh:
                continue
            flight = self._flights.get(key)
            if flight is not None and not flight.ticket.future.done():
                ticket = flight.ticket
                ticket.deadline_s = max(ticket.deadline_s, deadline_s)
                self._metrics.cache_lookups.labels("l1", "shared").inc()
                joined[key] = flight
            else:
                fresh[key] = _Text(texts[i], key, model)
        try:
            tickets = self._window.submit(list(fresh.values()), deadline_s)
        except QueueFull as full:
            self._metrics.dropped_texts.labels("queue_full").inc(len(fresh))
            retry_after_s = max(1, round(self._window.drain_s()))
            raise Overloaded(
                f"{full.queued} texts are waiting and {len(fresh)} more do not fit; "
                f"try again in {retry_after_s} s",
                {"queued_texts": full.queued, "retry_after_s": retry_after_s},
            ) from full
        self._metrics.queued_texts.set(self._window.queued)
        for ticket in tickets:
            flight = _Flight(ticket)
            joined[ticket.item.key] = self._flights[ticket.item.key] = flight
        for flight in joined.values():
            flight.waiters += 1
        return joined

    def _leave(self, key: bytes, flight: _Flight) -> None:
        flight.waiters -= 1
        if flight.waiters:
            return
        # The last caller: withdraw what is not finished, and mark a failure as seen.
        if not flight.ticket.future.cancel() and not flight.ticket.future.cancelled():
            flight.ticket.future.exception()
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _hop(self, tickets: list[Ticket[_Text, Outcome]]) -> list[Outcome | Exception]:
        """One micro-batch: level two first, the rest to the tokenizer, by model version."""
        results: dict[bytes, Outcome | Exception] = {}
        await self._from_l2(tickets, results)
        by_model: dict[str, list[Ticket[_Text, Outcome]]] = {}
        for ticket in tickets:
            if ticket.item.key not in results:
                by_model.setdefault(ticket.item.model.digest, []).append(ticket)
        for digest, group in by_model.items():
            await self._infer(digest, group, results)
        for ticket in tickets:
            self._metrics.stage_seconds.labels("queue").observe(_waited_s(ticket))
        self._metrics.cache_bytes.set(self._l1.size_bytes)
        return [results[ticket.item.key] for ticket in tickets]

    async def _from_l2(
        self, tickets: list[Ticket[_Text, Outcome]], results: dict[bytes, Outcome | Exception]
    ) -> None:
        if self._l2 is None:
            return
        started = time.perf_counter()
        found = await self._l2.find([ticket.item.key for ticket in tickets])
        elapsed = time.perf_counter() - started
        self._metrics.stage_seconds.labels("cache").observe(elapsed)
        for ticket in tickets:
            prediction = found.get(ticket.item.key)
            if prediction is not None:
                stages = {"queue": _waited_s(ticket), "cache": elapsed}
                results[ticket.item.key] = Outcome(prediction, cached=True, stages_s=stages)
                self._l1.put(ticket.item.key, prediction.pack())

    async def _infer(
        self,
        digest: str,
        tickets: list[Ticket[_Text, Outcome]],
        results: dict[bytes, Outcome | Exception],
    ) -> None:
        started = time.perf_counter()
        answer = await self._send(digest, tickets)
        rpc_s = time.perf_counter() - started
        scores = answer.scores
        entries = []
        for i, ticket in enumerate(tickets):
            key = ticket.item.key
            if scores.expired[i]:
                self._metrics.dropped_texts.labels("expired").inc()
                results[key] = Expired()
                continue
            prediction = Prediction(
                scores.scores[i], int(answer.n_tokens[i]), bool(answer.truncated[i])
            )
            entries.append((key, prediction.pack()))
            self._l1.put(*entries[-1])
            stages = {
                "queue": _waited_s(ticket),
                "tokenize": answer.tokenize_s,
                "window": float(scores.queue_s[i]),
                "infer": float(scores.infer_s[i]),
                "rpc": rpc_s,
            }
            results[key] = Outcome(prediction, cached=False, stages_s=stages)
            self._metrics.inference_seconds.observe(stages["infer"])
        self._metrics.tokens.inc(int(answer.n_tokens[~scores.expired].sum()))
        self._metrics.stage_seconds.labels("tokenize").observe(answer.tokenize_s)
        self._metrics.stage_seconds.labels("window").observe(float(scores.queue_s.max()))
        self._metrics.stage_seconds.labels("rpc").observe(rpc_s)
        if self._l2 is not None:
            self._l2.remember(entries)

    async def _send(self, digest: str, tickets: list[Ticket[_Text, Outcome]]) -> Answer:
        texts = [ticket.item.text for ticket in tickets]
        self._metrics.hop_texts.observe(len(texts))
        for pause_s in (*_RETRY_PAUSES_S, None):
            now = time.monotonic()
            remaining_s = np.array([t.deadline_s - now for t in tickets], dtype=np.float32)
            try:
                return await self._run_texts(TextBatch(digest, texts, remaining_s))
            except Exception as error:
                if not self._is_lost(error) or pause_s is None or remaining_s.max() <= pause_s:
                    raise
                self._metrics.retries.inc()
                await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def _waited_s(ticket: Ticket[_Text, Outcome]) -> float:
    return (ticket.started_s or ticket.queued_s) - ticket.queued_s


def _result_of(future: "asyncio.Future[Outcome]") -> Outcome | RequestError:
    if not future.done() or future.cancelled():
        return DeadlineExceeded("the deadline passed before the model answered")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, RequestError):
        return error
    if isinstance(error, Expired):
        return DeadlineExceeded("the deadline passed before the text reached the model")
    failure = InferenceFailed("the model could not answer")
    failure.__cause__ = error
    return failure
