"""Texts in flight: admitted, queued once, and shared by all callers that ask for the same.

A text whose predicted answer comes too late is refused before it costs anything. A text whose
callers have all left, or whose deadline has passed, is withdrawn.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from configs.schema.app import LimitsConfig
from deployments.errors import Overloaded, RateLimited
from deployments.inference.admission import Backlog, TextCost
from deployments.inference.pending_text import PendingText, QueueFull
from deployments.inference.quota import TextQuota
from deployments.inference.turns import Turns
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.spans import Trace
from deployments.versions import ServedVersion


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """What a caller asks of all its texts; ``caller`` takes turns with others."""

    model: ServedVersion
    deadline_s: float
    bulk: bool
    caller: str


class Wait:
    """One caller that waits for some texts; made by ``InFlight.watch``."""

    __slots__ = ("_on_end", "_texts", "_timer", "pending")

    def __init__(self, texts: "list[PendingText]", on_end: Callable[[], None]) -> None:
        self._texts = texts
        self._on_end: Callable[[], None] | None = on_end
        self._timer: asyncio.TimerHandle | None = None
        self.pending = len(texts)

    def start(self, left_s: float) -> None:
        """Begins to wait, for at most ``left_s`` seconds."""
        for text in self._texts:
            text.waits.add(self)
        self._timer = asyncio.get_running_loop().call_later(max(0.0, left_s), self._end)

    def one_done(self) -> None:
        """Counts one of the texts as done."""
        self.pending -= 1
        if not self.pending:
            self._end()

    def leave(self) -> None:
        """Withdraws the texts that no other caller waits for; ``on_end`` is not called any more."""
        self._on_end = None
        if self._timer is not None:
            self._timer.cancel()
        for text in self._texts:
            text.waits.discard(self)
            if not text.waits:
                # This was the last caller; a text that is done already stays done.
                text.withdraw()

    def _end(self) -> None:
        on_end = self._on_end
        if on_end is not None:
            self.leave()
            on_end()


class InFlight:
    """All texts of one replica that are queued or being classified. For one event loop."""

    def __init__(
        self,
        turns: Turns,
        backlog: Backlog,
        text_cost: TextCost,
        limits: LimitsConfig,
        metrics: Metrics,
    ) -> None:
        self._turns = turns
        self._backlog = backlog
        self._text_cost = text_cost
        self._max_wait_s = limits.max_wait_ms / 1_000
        self._quota = TextQuota(limits.caller_texts_per_s, limits.texts_per_s)
        self._metrics = metrics
        # Read when they are asked for: a text that has ended may leave the road later, and after
        # the last one nobody would set them again.
        metrics.queued_texts.set_function(lambda: turns.queued)
        metrics.predicted_wait_seconds.set_function(lambda: backlog.wait_s(bulk=False))
        self._pending: dict[bytes, PendingText] = {}

    def join(
        self, terms: SubmitOptions, texts: Mapping[bytes, str], traces: Mapping[bytes, Trace]
    ) -> dict[bytes, PendingText]:
        """The pending text of each key: in flight already, or queued now.

        Args:
            terms: Of the caller.
            texts: By key.
            traces: Of the sampled ones among them.

        Raises:
            Overloaded: New texts do not fit, or would not be answered in time; none was queued.
        """
        joined: dict[bytes, PendingText] = {}
        fresh: dict[bytes, str] = {}
        for key, text in texts.items():
            pending = self._pending.get(key)
            if pending is not None and not pending.done:
                pending.deadline_s = max(pending.deadline_s, terms.deadline_s)
                self._metrics.l1_shared.inc()
                joined[key] = pending
            else:
                fresh[key] = text
        if fresh:
            joined |= self._queue(terms, fresh, traces)
        return joined

    def _queue(
        self, terms: SubmitOptions, fresh: dict[bytes, str], traces: Mapping[bytes, Trace]
    ) -> dict[bytes, PendingText]:
        """Admits and queues texts that are not in flight yet."""
        costs = [self._text_cost(len(text)) for text in fresh.values()]
        later_s = self._turns.later_s(terms.caller, sum(costs), bulk=terms.bulk)
        self._admit(sum(costs), len(costs), terms, later_s)
        self._take_quota(terms.caller, len(costs))
        expected_s = self._backlog.expected_s(costs[0], bulk=terms.bulk, later_s=later_s)
        now = time.monotonic()
        texts = [
            PendingText(
                text,
                key,
                terms.model,
                self._turns.road,
                deadline_s=terms.deadline_s,
                bulk=terms.bulk,
                queued_s=now,
                cost_s=cost_s,
                expected_s=expected_s,
                trace=traces.get(key),
                ended=self._ended,
            )
            for (key, text), cost_s in zip(fresh.items(), costs, strict=True)
        ]
        for text in texts:
            self._pending[text.key] = text
            self._backlog.enter(text.cost_s, bulk=terms.bulk)
        try:
            self._turns.submit(texts, terms.caller)
        except QueueFull as full:
            for text in texts:
                del self._pending[text.key]
                self._backlog.leave(text.cost_s, bulk=terms.bulk, done=False)
            raise self._refused(
                "queue_full",
                f"{full.queued} texts are waiting and {len(texts)} more do not fit",
                self._backlog.wait_s(bulk=terms.bulk, later_s=later_s),
                len(texts),
            ) from full
        return {text.key: text for text in texts}

    def _admit(self, cost_s: float, texts: int, terms: SubmitOptions, later_s: float) -> None:
        """Refuses at once what would be answered too late; ``later_s`` comes after these texts.

        Raises:
            Overloaded: The predicted wait is above the limit, or the deadline would pass.
        """
        wait_s = self._backlog.wait_s(bulk=terms.bulk, later_s=later_s)
        if wait_s <= 0:
            return
        too_long_s = wait_s - self._max_wait_s if not terms.bulk else 0.0
        answer_s = self._backlog.answer_s(cost_s, bulk=terms.bulk, later_s=later_s)
        remaining_s = terms.deadline_s - time.monotonic()
        # A deadline shorter than the compute alone is missed anyway: coming back will not help.
        if cost_s < remaining_s:
            too_long_s = max(too_long_s, answer_s - remaining_s)
        if too_long_s > 0:
            raise self._refused(
                "too_late",
                f"the predicted wait is {wait_s * 1_000:.0f} ms, too long for this request",
                min(too_long_s, wait_s),
                texts,
            )

    def _take_quota(self, caller: str, texts: int) -> None:
        """Counts texts against the caller's rate and that of all.

        Raises:
            RateLimited: One of them is used up.
        """
        wait_s = self._quota.take(caller, texts)
        if wait_s:
            self._metrics.dropped_texts.labels("rate").inc(texts)
            raise RateLimited(
                "more texts per second than are allowed",
                {"retry_after_s": max(1, math.ceil(wait_s))},
            )

    def _refused(self, reason: str, why: str, wait_s: float, texts: int) -> Overloaded:
        self._metrics.dropped_texts.labels(reason).inc(texts)
        retry_after_s = max(1, math.ceil(wait_s))
        return Overloaded(
            f"{why}; try again in {retry_after_s} s",
            {
                "queued_texts": self._turns.queued,
                "retry_after_s": retry_after_s,
                "retry_after_ms": math.ceil(wait_s * 1_000),
            },
        )

    def watch(
        self, texts: Iterable[PendingText], deadline_s: float, on_end: Callable[[], None]
    ) -> Wait | None:
        """Calls ``on_end`` once: when all texts are done, or the deadline has passed.

        Texts that no other caller waits for are withdrawn then, or when the caller leaves.

        Returns:
            The wait, to leave it; None if all texts are done already: ``on_end`` is not called.
        """
        waiting = [text for text in texts if not text.done]
        if not waiting:
            return None
        wait = Wait(waiting, on_end)
        wait.start(deadline_s - time.monotonic())
        return wait

    async def wait(self, texts: Iterable[PendingText], deadline_s: float) -> None:
        """``watch`` for a coroutine; one that is cancelled leaves."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        wait = self.watch(texts, deadline_s, partial(_set, ended))
        if wait is not None:
            try:
                await ended
            finally:
                wait.leave()

    def _ended(self, text: PendingText) -> None:
        answered = text.result is not None and not isinstance(text.result, Exception)
        self._backlog.leave(text.cost_s, bulk=text.asked_bulk, done=answered)
        self._turns.finished(text)
        if self._pending.get(text.key) is text:
            del self._pending[text.key]
        for wait in tuple(text.waits):
            wait.one_done()


def _set(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
