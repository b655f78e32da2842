"""What one replica answered, as histograms on their way to the Insight deployment.

    add ─▶ queue ─▶ histograms ─▶ waiting deltas ─▶ Insight
          (texts)   (counts)      (counts)

Answers that are drawn for review travel with the counts, their texts as the policy keeps them;
other texts leave the replica in no form. ``add`` costs an answer one append and never waits;
counting is done between answers, a few texts at a time. Texts leave the queue within a fraction of
a second. While Insight does not answer, deltas wait, at most ``_MAX_WAITING``; then the oldest is
dropped and counted. A delta keeps its number when it is sent again, so it counts once.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from deployments.inference.signals import Histograms, count, empty, kinds_of, seen
from deployments.payloads import DrawnAnswer, ModelCounts, TrafficDelta
from deployments.predictions import Answer
from deployments.telemetry.background import keep_running
from deployments.telemetry.figures import Figures, added
from deployments.telemetry.insight_metrics import InsightMetrics
from deployments.versions import ServedVersion

SendDelta = Callable[[TrafficDelta], Awaitable[bool]]
"""Delivers a delta; False when that may not have worked."""

Draw = Callable[[float, Answer], DrawnAnswer | None]
"""Of the time of an answer and the answer."""

_MAX_QUEUED = 20_000
# Of one delta; with larger shares the rest is not drawn.
_MAX_DRAWN = 500
_SLICE = 64
_TICK_S = 0.2
_MAX_WAITING = 60
# Distinct texts back to which an equal one counts as repeated. By number, not by time, so that
# what is counted does not depend on how busy the replica is.
_REMEMBERED = 1_000


class TrafficCounter:
    """Counts the answers of one replica. For one event loop."""

    def __init__(
        self,
        interval_s: float,
        metrics: InsightMetrics,
        *,
        histograms: bool = True,
        draw: Draw | None = None,
        totals: Callable[[], Figures] | None = None,
        name: str = "",
    ) -> None:
        """Counts nothing before ``start``.

        Args:
            interval_s: A delta is made so often.
            metrics: Where counted texts are counted.
            histograms: Whether answers are counted for drift.
            draw: Returns an answer as it is reviewed, if it is drawn.
            totals: The replica's totals, where they are summed over replicas.
            name: The registered model that the replica serves.
        """
        self._name = name
        self._totals = totals
        self._sent_totals: Figures = {}
        self._interval_s = interval_s
        self._metrics = metrics
        self._histograms = histograms
        self._draw = draw
        self._drawn: list[DrawnAnswer] = []
        self._queue: deque[tuple[float, Answer]] = deque()
        self._counts: dict[ServedVersion, Histograms] = {}
        self._recent: dict[int, None] = {}
        self._source = uuid.uuid4().hex
        self._number = 0
        self._waiting: deque[tuple[float, TrafficDelta]] = deque()
        self._tasks: list[asyncio.Task[None]] = []
        self._kept = metrics.texts.labels("counted")
        self._dropped = metrics.texts.labels("dropped")

    def add(self, answer: Answer) -> None:
        """Queues an answer; never waits. Drops it when the queue is full."""
        if len(self._queue) < _MAX_QUEUED:
            self._queue.append((time.time(), answer))
        else:
            self._dropped.inc()

    def start(self, send: SendDelta) -> None:
        """Counts and sends from now on, as long as the event loop runs."""
        self._tasks = [
            keep_running(self._count_all, "counting answers"),
            keep_running(partial(self._send_all, send), "sending counts"),
        ]

    def count(self, most: int) -> None:
        """Counts up to ``most`` queued texts."""
        for _ in range(min(most, len(self._queue))):
            answered_s, answer = self._queue.popleft()
            if self._histograms:
                self._count(answer)
            drawn = None if self._draw is None else self._draw(answered_s, answer)
            if drawn is not None and len(self._drawn) < _MAX_DRAWN:
                self._drawn.append(drawn)

    def pack(self) -> None:
        """Makes a delta of what was counted, unless that is nothing."""
        counts, self._counts = self._counts, {}
        drawn, self._drawn = self._drawn, []
        figures = self._grown()
        if not counts and not drawn and figures is None:
            return
        self._number += 1
        models = tuple(
            ModelCounts(model.digest, model.name, model.version, _kinds(model), row)
            for model, row in counts.items()
        )
        delta = TrafficDelta(self._source, self._number, models, tuple(drawn), figures, self._name)
        self._waiting.append((time.monotonic(), delta))
        if len(self._waiting) > _MAX_WAITING:
            _, oldest = self._waiting.popleft()
            self._dropped.inc(_texts(oldest))

    async def send(self, send: SendDelta) -> None:
        """Sends what waits, in order, up to the first that cannot be delivered."""
        while self._waiting:
            delta = self._waiting[0][1]
            if not await send(delta):
                break
            # It may have been dropped while it was under way.
            if self._waiting and self._waiting[0][1] is delta:
                self._waiting.popleft()
            self._kept.inc(_texts(delta))
        unsent_s = time.monotonic() - self._waiting[0][0] if self._waiting else 0.0
        self._metrics.unsent_seconds.set(unsent_s)

    def _grown(self) -> Figures | None:
        """What the totals grew by since the delta before; empty ones say that the replica lives."""
        if self._totals is None:
            return None
        now, before = self._totals(), self._sent_totals
        self._sent_totals = now
        return added(now, before)

    def _count(self, answer: Answer) -> None:
        model, text = answer.model, answer.text
        counts = self._counts.get(model)
        if counts is None:
            counts = self._counts[model] = empty(_kinds(model))
        repeated = self._repeated(model, text)
        count(counts, text, answer.outcome.prediction, model.head, repeated=repeated)

    def _repeated(self, model: ServedVersion, text: str) -> bool:
        key = hash((model.digest, text))
        if key in self._recent:
            return True
        self._recent[key] = None
        if len(self._recent) > _REMEMBERED:
            del self._recent[next(iter(self._recent))]
        return False

    async def _count_all(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            while self._queue:
                self.count(_SLICE)
                await asyncio.sleep(0)

    async def _send_all(self, send: SendDelta) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            self.pack()
            await self.send(send)


def _kinds(model: ServedVersion) -> tuple[str, ...]:
    return kinds_of(model.labels, model.head)


def _texts(delta: TrafficDelta) -> int:
    return sum(seen(model.counts) for model in delta.models)
