"""The Insight replica: its database, the routes, the upkeep. Knows no Ray.

TrafficDelta ─▶ InsightStore ─▶ DriftMonitor: blocks, evidence, levels ─▶ metrics
           └──▶ ReviewQueue ─▶ FeedbackDesk: events, labels, accuracy ─▶ metrics, releases
ProxyServer ─▶ routes ─▶ DriftMonitor, FeedbackDesk
"""

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from configs.schema.app import AppConfig
from deployments.asgi.proxy import Call, Part, ProxyServer
from deployments.clients.database import DatabaseLogin, open_database
from deployments.errors import MonitoringOff, NotReady
from deployments.insight.drift import LEVELS
from deployments.insight.errors import NotWatched
from deployments.insight.explanations.explainer import Explainer
from deployments.insight.feedback.desk import FeedbackDesk
from deployments.insight.feedback.queue import ReviewQueue
from deployments.insight.feedback.release_labels import ReleaseLabels, Releases
from deployments.insight.feedback.store import FeedbackStore
from deployments.insight.kpis.desk import KpiDesk
from deployments.insight.kpis.store import KpiStore
from deployments.insight.monitor import DriftMonitor, evidence_of
from deployments.insight.routes import Parts, build_insight_app
from deployments.insight.store import InsightStore
from deployments.insight.tables import metadata
from deployments.insight.watched import drift_of, signal_names
from deployments.payloads import Correction, FeedbackRecord, FeedbackResult, RunTexts, TrafficDelta
from deployments.telemetry.metrics import Metrics
from deployments.versions import BACKENDS, CurrentRoutes, RoutingTable

_log = logging.getLogger("ray.serve")
_TICK_S = 1.0
_UPKEEP_S = 600.0
_SHOW_S = 10.0


class InsightReplica:
    """Everything that watches, in one process. ``start`` it on the event loop."""

    def __init__(
        self,
        config: AppConfig,
        metrics: Metrics,
        routes: CurrentRoutes,
        *,
        login: DatabaseLogin | None = None,
        releases: Releases | None = None,
        run_texts: RunTexts | None = None,
    ) -> None:
        """Opens the database; starts nothing yet.

        Args:
            config: Which database, which rates and tolerances.
            metrics: Where the champion's levels are shown.
            routes: Which version is the champion.
            login: The database's user and password, if Vault has them.
            releases: What has releases count labels.
            run_texts: The tokenizer stage, for explanations.
        """
        self._config = config.drift
        self._feedback = config.feedback
        self._labels = ReleaseLabels(releases)
        self._metrics = metrics.insight
        self._routes = routes
        engine = open_database(config.drift.database.get_secret_value(), metadata, login)
        self._store = InsightStore(engine)
        self._monitor = DriftMonitor(config.drift, self._store)
        self._queue = ReviewQueue(engine)
        self._known = FeedbackStore(engine)
        self._desk = FeedbackDesk(config.feedback, self._known, self._queue)
        self._versions_kept = False
        self._kpis = KpiDesk(config, KpiStore(engine))
        self._kpis_on = config.kpis.enabled
        self._explainer: Explainer | None = None
        if config.explanations.enabled and run_texts is not None:
            self._explainer = Explainer(
                config.explanations, run_texts, lambda: self._routes.table.champion
            )
        parts = Parts(
            champion=self._champion,
            served=self._served,
            monitor=self._drift_monitor,
            desk=self._feedback_desk,
            reviewed=self._labels.reviewer,
            explainer=self._open_explainer,
            kpis=self._kpi_desk,
            backend=lambda: BACKENDS[self._routes.table.champion.kind],
            quality=self._quality,
        )
        self._proxy = ProxyServer(build_insight_app(parts))
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to compare what arrives."""
        self._task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """Ends all work; what arrived is in the database."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def add(self, delta: TrafficDelta) -> None:
        """Takes counts of a replica; those that are known change nothing."""
        if delta.models:
            await asyncio.to_thread(self._store.add, delta, time.time())
        if delta.figures is not None:
            await asyncio.to_thread(self._add_figures, delta)
        if delta.drawn:
            await asyncio.to_thread(self._queue.draw, delta.drawn, self._feedback.max_waiting)

    async def correct(self, said: Correction) -> FeedbackResult | None:
        """Keeps what a caller says of an answer; None when no answer of that id can be judged."""
        found = await asyncio.to_thread(self._desk.correct, said)
        if found is not None and found.correct is not None and not found.again:
            self._metrics.feedback_events.labels("correct" if found.correct else "wrong").inc()
            return replace(
                found,
                not_counted=await self._labels.caller(
                    said, counts=self._desk.counts_for_releases("caller")
                ),
            )
        return found

    async def health(self) -> dict[str, bool]:
        """Of each part that is on, whether it has fresh data and a database that answers."""
        await self.check()
        parts: dict[str, bool] = {}
        if self._config.enabled:
            await asyncio.to_thread(self._store.digests)
            parts["drift_detection"] = True
        if self._kpis_on:
            parts["advanced_metrics"] = await asyncio.to_thread(self._kpis.is_fresh)
        if self._explainer is not None:
            parts["explainability"] = True
        return parts

    async def unpublished(self, most: int) -> list[FeedbackRecord]:
        """Feedback that the topic has not taken, the first first."""
        return await asyncio.to_thread(self._desk.unpublished, most)

    async def published(self, event_ids: Sequence[str]) -> None:
        """Marks feedback that the topic has taken."""
        await asyncio.to_thread(self._known.publish, event_ids)

    async def route(self, routes: RoutingTable) -> int:
        """Takes a newer routing table; the epoch that now stands."""
        if self._routes.take(routes):
            self._versions_kept = False
        return self._routes.table.epoch

    async def call(self, call: Call) -> AsyncIterator[Part]:
        """Answers a request that an ingress forwards, see ``asgi/proxy.py``."""
        async for part in self._proxy.call(call):
            yield part

    async def push(self, call_id: str, part: bytes, more: bool) -> bool:
        """Takes the next part of a forwarded request's body."""
        return await self._proxy.push(call_id, part, more)

    async def check(self) -> None:
        """Raises when the replica does not work any more.

        Raises:
            NotReady: Its loop ended.
        """
        if self._task is not None and self._task.done():
            raise NotReady("the loop of the Insight replica ended")

    def _drift_monitor(self) -> DriftMonitor:
        if not self._config.enabled:
            raise MonitoringOff("drift detection is off; drift.enabled switches it on")
        return self._monitor

    def _feedback_desk(self) -> FeedbackDesk:
        if not self._feedback.enabled:
            raise MonitoringOff("feedback is not kept; feedback.enabled switches it on")
        return self._desk

    def _kpi_desk(self) -> KpiDesk:
        if not self._kpis_on:
            raise MonitoringOff("figures are not summed; kpis.enabled switches that on")
        return self._kpis

    def _quality(self) -> dict[str, Any]:
        """What the KPIs of quality show of feedback and drift."""
        found: dict[str, Any] = {"live_accuracy": None, "drift_levels": {}}
        champion = self._champion()
        with contextlib.suppress(NotWatched):
            if self._feedback.enabled:
                live = self._desk.accuracy(champion)
                found["live_accuracy"] = live.accuracy.model_dump() | {"complete": live.complete}
        with contextlib.suppress(NotWatched):
            if self._config.enabled:
                watched = self._monitor.watched(champion)
                levels = {name: watched.level_of(name) for name in signal_names(watched)}
                found["drift_levels"] = levels
        return found

    def _open_explainer(self) -> Explainer:
        if self._explainer is None:
            raise MonitoringOff("explanations are off; explanations.enabled switches them on")
        return self._explainer

    def _keep_versions(self) -> None:
        """Remembers what ids of answers may lead to."""
        table = self._routes.table
        slots = (slot.model for slot in (table.challenger, table.shadow) if slot is not None)
        self._known.know([table.champion, *slots])
        self._versions_kept = True

    def _add_figures(self, delta: TrafficDelta) -> None:
        assert delta.figures is not None
        self._kpis.add(delta.source, delta.number, delta.name, delta.figures)

    def _served(self) -> str:
        return self._routes.table.champion.name

    def _champion(self) -> str:
        return self._routes.table.champion.digest

    async def _work(self) -> None:
        """Closes blocks and shows levels every second; goes on when the database is away."""
        kept_s = shown_s = -math.inf
        while True:
            try:
                if not self._versions_kept:
                    await asyncio.to_thread(self._keep_versions)
                await asyncio.to_thread(self._monitor.close_blocks)
                if time.monotonic() - kept_s >= _UPKEEP_S:
                    kept_s = time.monotonic()
                    await asyncio.to_thread(self._monitor.upkeep)
                    await asyncio.to_thread(self._desk.upkeep)
                    await asyncio.to_thread(self._kpis.upkeep)
                if self._config.enabled:
                    await asyncio.to_thread(self._show)
                if self._feedback.enabled and time.monotonic() - shown_s >= _SHOW_S:
                    shown_s = time.monotonic()
                    await asyncio.to_thread(self._show_accuracy)
            except SQLAlchemyError as error:
                _log.warning("the database of drift does not answer: %s", type(error).__name__)
            await asyncio.sleep(min(_TICK_S, self._config.report_interval_s))

    def _show_accuracy(self) -> None:
        """The champion's live accuracy and the queue, in metrics."""
        try:
            found = self._desk.accuracy(self._champion())
        except NotWatched:
            return  # Another champion came since versions were kept; the next round knows it.
        shown = self._metrics.live_accuracy
        shown.labels("low").set(found.accuracy.low)
        shown.labels("high").set(found.accuracy.high)
        value = found.accuracy.value
        shown.labels("value").set(math.nan if value is None else value)
        self._metrics.audited.set(found.accuracy.n)
        self._metrics.accuracy_lost.set(found.lost_evidence)
        for kind, n in self._desk.waiting(self._served()).items():
            self._metrics.label_queue.labels(kind).set(n)

    def _show(self) -> None:
        """The champion in metrics; of a new one nothing is known yet, and that is shown too."""
        try:
            found = self._monitor.watched(self._champion())
        except NotWatched:
            self._metrics.clear_champion()
            return
        evidence = evidence_of(drift_of(found, self._config))
        self._metrics.block_timestamp.set(found.block_s or math.nan)
        self._metrics.reference_texts.set(sum(found.reference["label"]))
        for signal in signal_names(found):
            self._metrics.evidence.labels(signal).set(evidence[signal])
            self._metrics.level.labels(signal).set(LEVELS.index(found.level_of(signal)))
