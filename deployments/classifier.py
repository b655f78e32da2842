"""How a text becomes a prediction, seen from the ingress.

    text → L1 cache → single flight → window ─┬→ L2 cache (one call for the micro-batch)
                                              └→ Tokenizer → Model → scores

Identical texts in flight share one result. A text whose callers have all left, or whose
deadline has passed, is dropped before compute.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from configs.schema import AppConfig
from deployments.admission import Backlog, TextCost
from deployments.batcher import Batcher, Expired, QueueFull, Ticket
from deployments.break_even import BreakEven
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
    """A text on its way, with what was predicted for it: engine seconds, seconds to the answer."""

    text: str
    key: bytes
    model: LiveModel
    cost_s: float
    expected_s: float


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a caller asks of all its texts."""

    model: LiveModel
    deadline_s: float
    bulk: bool


class _Wait:
    """One caller that waits for some flights."""

    __slots__ = ("future", "pending")

    def __init__(self, future: "asyncio.Future[None]") -> None:
        self.future = future
        self.pending = 0

    def landed(self) -> None:
        """One of the flights is done."""
        self.pending -= 1
        if not self.pending:
            self.end()

    def end(self) -> None:
        """Waiting is over: all are done, or the deadline has passed."""
        if not self.future.done():
            self.future.set_result(None)


@dataclass(slots=True, eq=False)
class _Flight:
    """A text under way and all that wait for it."""

    ticket: Ticket[_Text, Outcome]
    waits: set[_Wait] = field(default_factory=set)


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
        engines: float,
        is_lost: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        """Wires the flow.

        Args:
            config: Sizes and limits.
            run_texts: The tokenizer stage.
            shared: Level two, or None.
            metrics: Where facts are counted.
            hops_in_flight: Micro-batches under way at once.
            engines: Model replicas for each ingress.
            is_lost: Whether an error of ``run_texts`` means that a replica died with the batch.
        """
        self._run_texts = run_texts
        self._metrics = metrics
        self._is_lost = is_lost
        self._max_wait_s = config.limits.max_wait_ms / 1_000
        self._l1 = LruBytes(config.cache.l1_max_bytes, config.cache.ttl_s)
        timeout_s = config.cache.l2_timeout_ms / 1_000
        self._l2 = LevelTwo(shared, timeout_s, metrics) if shared is not None else None
        self._break_even = BreakEven()
        self._text_cost = TextCost()
        self._backlog = Backlog(engines)
        self._flights: dict[bytes, _Flight] = {}
        self._window = Batcher[_Text, Outcome](
            self._hop,
            max_items=config.batching.max_hop_texts,
            slots=hops_in_flight,
            express_slots=1,
            bulk_ratio=config.batching.bulk_ratio,
            max_queued=config.limits.max_queued_texts,
            on_drop=lambda reason: metrics.dropped_texts.labels(reason).inc(),
        )

    async def classify(
        self, model: LiveModel, texts: Sequence[str], deadline_s: float, *, bulk: bool = False
    ) -> list[Outcome | RequestError]:
        """Predicts each text; the result has the order of ``texts``.

        Args:
            model: The version that answers; all texts get the same one.
            texts: Stripped, not blank.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.

        Returns:
            For each text its outcome, or the error that it alone ended with.

        Raises:
            Overloaded: The texts do not fit into the queue, or would not be answered in time;
                none was queued.
        """
        terms = _Terms(model, deadline_s, bulk)
        results: list[Outcome | RequestError | None] = [None] * len(texts)
        keys = [cache_key(model.digest, text) for text in texts]
        waiting = [i for i, key in enumerate(keys) if not self._from_l1(key, i, results)]
        while waiting:
            joined = self._join(terms, texts, keys, waiting)
            await self._landing(joined.values(), deadline_s)
            for i in waiting:
                results[i] = _result_of(joined[keys[i]].ticket.future)
            # A flight shared with a caller in more of a hurry may have expired before our time.
            in_time = time.monotonic() < deadline_s
            waiting = [i for i in waiting if in_time and isinstance(results[i], DeadlineExceeded)]
        return [result for result in results if result is not None]

    def _from_l1(
        self, key: bytes, index: int, results: list[Outcome | RequestError | None]
    ) -> bool:
        value = self._l1.get(key)
        if value is None:
            self._metrics.l1_misses.inc()
            return False
        self._metrics.l1_hits.inc()
        results[index] = Outcome(Prediction.unpack(value), cached=True)
        return True

    def _join(
        self,
        terms: _Terms,
        texts: Sequence[str],
        keys: Sequence[bytes],
        indices: Sequence[int],
    ) -> dict[bytes, _Flight]:
        """One flight per distinct text: under way already, or queued now."""
        joined: dict[bytes, _Flight] = {}
        fresh: dict[bytes, str] = {}
        for i in indices:
            key = keys[i]
            if key in joined or key in fresh:
                continue
            flight = self._flights.get(key)
            if flight is not None and not flight.ticket.future.done():
                flight.ticket.deadline_s = max(flight.ticket.deadline_s, terms.deadline_s)
                self._metrics.l1_shared.inc()
                joined[key] = flight
            else:
                fresh[key] = texts[i]
        if fresh:
            joined |= self._take_off(terms, fresh)
        return joined

    def _take_off(self, terms: _Terms, fresh: dict[bytes, str]) -> dict[bytes, _Flight]:
        """Admits and queues texts that nobody has asked for yet."""
        costs = [self._text_cost(len(text)) for text in fresh.values()]
        self._admit(sum(costs), len(costs), terms)
        expected_s = self._backlog.expected_s(costs[0], bulk=terms.bulk)
        items = [
            _Text(text, key, terms.model, cost_s, expected_s)
            for (key, text), cost_s in zip(fresh.items(), costs, strict=True)
        ]
        try:
            tickets = self._window.submit(items, terms.deadline_s, bulk=terms.bulk)
        except QueueFull as full:
            raise self._refused(
                "queue_full",
                f"{full.queued} texts are waiting and {len(items)} more do not fit",
                self._backlog.wait_s(bulk=True),
                len(items),
            ) from full
        flights = {}
        for ticket in tickets:
            flight = _Flight(ticket)
            flights[ticket.item.key] = self._flights[ticket.item.key] = flight
            self._backlog.enter(ticket.item.cost_s, bulk=terms.bulk)
            ticket.future.add_done_callback(partial(self._land, flight))
        self._metrics.queued_texts.set(self._window.queued)
        return flights

    def _admit(self, cost_s: float, texts: int, terms: _Terms) -> None:
        """Refuses at once what would be answered too late.

        Raises:
            Overloaded: The predicted wait is above the limit, or the deadline would pass.
        """
        wait_s = self._backlog.wait_s(bulk=terms.bulk)
        self._metrics.predicted_wait_seconds.set(wait_s)
        if wait_s <= 0:
            return
        remaining_s = terms.deadline_s - time.monotonic()
        too_long_s = self._backlog.answer_s(cost_s, bulk=terms.bulk) - remaining_s
        if not terms.bulk:
            too_long_s = max(too_long_s, wait_s - self._max_wait_s)
        if too_long_s > 0:
            raise self._refused(
                "too_late",
                f"the predicted wait is {wait_s * 1_000:.0f} ms, too long for this request",
                min(too_long_s, wait_s),
                texts,
            )

    def _refused(self, reason: str, why: str, wait_s: float, texts: int) -> Overloaded:
        self._metrics.dropped_texts.labels(reason).inc(texts)
        retry_after_s = max(1, math.ceil(wait_s))
        return Overloaded(
            f"{why}; try again in {retry_after_s} s",
            {
                "queued_texts": self._window.queued,
                "retry_after_s": retry_after_s,
                "retry_after_ms": math.ceil(wait_s * 1_000),
            },
        )

    async def _landing(self, flights: Iterable[_Flight], deadline_s: float) -> None:
        """Waits until all flights are done or the deadline has passed; withdraws when it leaves."""
        loop = asyncio.get_running_loop()
        wait = _Wait(loop.create_future())
        for flight in flights:
            if not flight.ticket.future.done():
                flight.waits.add(wait)
                wait.pending += 1
        if not wait.pending:
            return
        timer = loop.call_later(max(0.0, deadline_s - time.monotonic()), wait.end)
        try:
            await wait.future
        finally:
            timer.cancel()
            for flight in flights:
                flight.waits.discard(wait)
                if not flight.waits:
                    # The last caller: nobody wants it any more, unless it is done.
                    flight.ticket.future.cancel()

    def _land(self, flight: _Flight, future: "asyncio.Future[Outcome]") -> None:
        ticket = flight.ticket
        # Asking for the exception marks it as seen, also when all callers have left.
        done = not future.cancelled() and future.exception() is None
        self._backlog.leave(ticket.item.cost_s, bulk=ticket.bulk, done=done)
        if self._flights.get(ticket.item.key) is flight:
            del self._flights[ticket.item.key]
        for wait in flight.waits:
            wait.landed()

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
            self._metrics.queue_seconds.observe(ticket.waited_s)
        self._metrics.queued_texts.set(self._window.queued)
        self._metrics.cache_bytes.set(self._l1.size_bytes)
        return [results[ticket.item.key] for ticket in tickets]

    async def _from_l2(
        self, tickets: list[Ticket[_Text, Outcome]], results: dict[bytes, Outcome | Exception]
    ) -> None:
        if self._l2 is None:
            return
        if not self._break_even.pays():
            self._metrics.cache_lookups.labels("l2", "skipped").inc(len(tickets))
            return
        started = time.perf_counter()
        found = await self._l2.find([ticket.item.key for ticket in tickets])
        elapsed = time.perf_counter() - started
        self._break_even.looked_up(len(tickets), len(found), elapsed)
        self._metrics.stage_seconds.labels("cache").observe(elapsed)
        for ticket in tickets:
            prediction = found.get(ticket.item.key)
            if prediction is not None:
                stages = {"queue": ticket.waited_s, "cache": elapsed}
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

    def _learn(self, tickets: list[Ticket[_Text, Outcome]], answer: Answer) -> None:
        """What the model stage says of its batches, for metrics and for later predictions."""
        scored = ~answer.scores.expired
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

    async def _send(self, digest: str, tickets: list[Ticket[_Text, Outcome]]) -> Answer:
        texts = [ticket.item.text for ticket in tickets]
        bulk = np.array([ticket.bulk for ticket in tickets])
        self._metrics.hop_texts.observe(len(texts))
        for pause_s in (*_RETRY_PAUSES_S, None):
            now = time.monotonic()
            remaining_s = np.array([t.deadline_s - now for t in tickets], dtype=np.float32)
            try:
                return await self._run_texts(TextBatch(digest, texts, remaining_s, bulk))
            except Exception as error:
                if not self._is_lost(error) or pause_s is None or remaining_s.max() <= pause_s:
                    raise
                self._metrics.retries.inc()
                await asyncio.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


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
