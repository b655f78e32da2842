"""How a text becomes a prediction, seen from the replica that received it.

    text ─▶ L1 cache ─▶ InFlight ─▶ Turns ─┬─▶ Direct: L2, tokenizer, engines' queue
              (admission, coalescing)      └─▶ Dispatcher: L2, RPC to the tokenizer

Identical texts in flight share one result. A text whose callers have all left, or whose
deadline has passed, is dropped before compute.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial

from configs.schema.app import AppConfig
from deployments.batching.scheduler import Expired
from deployments.cache.memory import LruBytes, cache_key
from deployments.cache.shared import LevelTwo, SharedCache
from deployments.errors import DeadlineExceeded, InferenceFailed, RequestError
from deployments.inference.admission import Backlog, TextCost
from deployments.inference.direct import Direct, Stages
from deployments.inference.dispatcher import Dispatcher
from deployments.inference.in_flight import InFlight, SubmitOptions
from deployments.inference.pending_text import PendingText, Road
from deployments.inference.results import Results
from deployments.inference.spans import Rows, looked_up, shared
from deployments.inference.turns import Turns
from deployments.payloads import RunTexts
from deployments.predictions import Outcome, Prediction
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import Trace, rows_of
from deployments.versions import ServedVersion


class Classifier:
    """Answers texts with predictions of a given version. One in each replica that takes texts."""

    def __init__(
        self,
        config: AppConfig,
        run_texts: RunTexts,
        shared: SharedCache | None,
        metrics: Metrics,
        *,
        hops_in_flight: int,
        engines: float,
        stages: Stages | None = None,
        is_lost: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        """Wires the flow.

        Args:
            config: Sizes and limits.
            run_texts: The tokenizer stage, asked by RPCs where there are no ``stages``.
            shared: Level two, or None.
            metrics: Where facts are counted.
            hops_in_flight: RPCs in flight at once.
            engines: Engines for each such replica.
            stages: Tokenizer and engines that are asked text by text.
            is_lost: Whether an error of ``run_texts`` means that a replica died with the batch.
        """
        self._metrics = metrics
        self._l1 = LruBytes(config.cache.l1_max_bytes, config.cache.ttl_s)
        timeout_s = config.cache.l2_timeout_ms / 1_000
        backlog, text_cost = Backlog(engines), TextCost()
        self._l2 = LevelTwo(shared, timeout_s, config.breaker, metrics) if shared else None
        results = Results(self._l1, self._l2, metrics, backlog, text_cost)
        road: Road
        if stages is not None:
            road = Direct(stages, results, config, metrics)
        else:
            road = Dispatcher(
                run_texts, results, config, metrics, calls=hops_in_flight, is_lost=is_lost
            )
        turns = Turns(
            road,
            lambda: backlog.pace,
            lambda text: text_cost(len(text.text)),
            max_queued=config.limits.max_queued_texts,
            bulk_ratio=config.batching.bulk_ratio,
            on_drop=lambda reason: metrics.dropped_texts.labels(reason).inc(),
        )
        self._in_flight = InFlight(turns, backlog, text_cost, config.limits, metrics)

    async def classify(
        self,
        model: ServedVersion,
        texts: Sequence[str],
        deadline_s: float,
        *,
        bulk: bool = False,
        traces: Sequence[Trace | None] = (),
        caller: str = "",
    ) -> list[Outcome | RequestError]:
        """Predicts each text; the result has the order of ``texts``.

        Args:
            model: The version that answers; all texts get the same one.
            texts: Stripped, not blank.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.
            traces: For each text the trace of its request; empty if none is sampled.
            caller: Who takes turns with others that wait.

        Returns:
            For each text its outcome, or the error that it alone ended with.

        Raises:
            Overloaded: The texts do not fit into the queue, or would not be answered in time;
                none was queued.
        """
        started_s = time.monotonic() if traces else 0.0
        terms = SubmitOptions(model, deadline_s, bulk, caller)
        keys = [cache_key(model.digest, text) for text in texts]
        results: dict[int, Outcome | RequestError] = {**self._from_l1(keys)}
        waiting = [i for i in range(len(texts)) if i not in results]
        if rows := rows_of(traces):
            looked_up("l1", rows, started_s, time.monotonic(), results.keys())
        sampled = {keys[row]: trace for trace, mine in rows.items() for row in mine}
        while waiting:
            joined_s = time.monotonic() if rows else 0.0
            joined = self._in_flight.join(terms, {keys[i]: texts[i] for i in waiting}, sampled)
            await self._in_flight.wait(joined.values(), deadline_s)
            if rows:
                self._shared(rows, [joined.get(key) for key in keys], joined_s)
            for i in waiting:
                results[i] = _result_of(joined[keys[i]])
            # A text shared with a caller of an earlier deadline may have expired before ours.
            in_time = time.monotonic() < deadline_s
            waiting = [i for i in waiting if in_time and isinstance(results[i], DeadlineExceeded)]
        return [results[i] for i in range(len(texts))]

    def start(
        self,
        model: ServedVersion,
        text: str,
        deadline_s: float,
        *,
        bulk: bool,
        done: Callable[[Outcome | RequestError], None],
        caller: str,
        trace: Trace | None = None,
    ) -> Callable[[], None]:
        """``classify`` of one text for a caller without a coroutine.

        Args:
            model: The version that answers.
            text: Stripped, not blank.
            deadline_s: On ``time.monotonic``.
            bulk: Whether interactive texts go first.
            done: Called once on the event loop with the result; at once if a cache has it.
            caller: Who takes turns with others that wait.
            trace: Of the request, if it is sampled.

        Returns:
            Withdraws the text: ``done`` is not called any more. Does nothing afterwards.

        Raises:
            Overloaded: As in ``classify``; ``done`` is not called.
        """
        started_s = time.monotonic()
        key = cache_key(model.digest, text)
        found = self._from_l1([key]).get(0)
        if trace is not None:
            hits = () if found is None else (0,)
            looked_up("l1", {trace: [0]}, started_s, time.monotonic(), hits)
        if found is not None:
            done(found)
            return _nothing
        traces = {} if trace is None else {key: trace}
        terms, wait = SubmitOptions(model, deadline_s, bulk, caller), None

        def join() -> None:
            nonlocal wait
            joined_s = time.monotonic()
            pending = self._in_flight.join(terms, {key: text}, traces)[key]
            wait = self._in_flight.watch([pending], deadline_s, partial(ended, pending, joined_s))

        def ended(pending: PendingText, joined_s: float) -> None:
            if trace is not None:
                brought_by = [pending.trace]
                shared({trace: [0]}, brought_by, joined_s, time.monotonic())
            result = _result_of(pending)
            if isinstance(result, DeadlineExceeded) and time.monotonic() < deadline_s:
                # It was shared with a caller of an earlier deadline.
                try:
                    join()
                except RequestError as refused:
                    result = refused
                else:
                    return
            done(result)

        join()
        return lambda: None if wait is None else wait.leave()

    def forget(self, model: bytes) -> int:
        """Drops the remembered predictions of one model, and those yet to be written; how many.

        Args:
            model: The first 8 bytes of the bundle's digest.
        """
        if self._l2 is not None:
            self._l2.forget(model)
        return self._l1.forget(model)

    @staticmethod
    def _shared(rows: Rows, pending: Sequence[PendingText | None], joined_s: float) -> None:
        waited = {
            trace: [row for row in mine if pending[row] is not None] for trace, mine in rows.items()
        }
        traces = [None if text is None else text.trace for text in pending]
        shared(waited, traces, joined_s, time.monotonic())

    def _from_l1(self, keys: Sequence[bytes]) -> dict[int, Outcome]:
        """What the level-one cache remembers, by position."""
        found = {}
        for index, key in enumerate(keys):
            value = self._l1.get(key)
            if value is not None:
                found[index] = Outcome(Prediction.unpack(value), cached=True)
        self._metrics.l1_hits.inc(len(found))
        self._metrics.l1_misses.inc(len(keys) - len(found))
        return found


def _nothing() -> None:
    """There is nothing to withdraw."""


def _result_of(text: PendingText) -> Outcome | RequestError:
    result = text.result
    if result is None:
        return DeadlineExceeded("the deadline passed before the model answered")
    if isinstance(result, Outcome | RequestError):
        return result
    if isinstance(result, Expired):
        return DeadlineExceeded("the deadline passed before the text reached the model")
    failure = InferenceFailed("the model could not answer")
    failure.__cause__ = result
    return failure
