"""The Insight replica: its database, the routes, the upkeep. Knows no Ray.

TrafficDelta ─▶ InsightStore ─▶ DriftMonitor: blocks, evidence, levels ─▶ metrics
ProxyServer ─▶ routes ─▶ DriftMonitor
"""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator

from sqlalchemy.exc import SQLAlchemyError

from configs.schema.app import AppConfig
from deployments.asgi.proxy import Call, Part, ProxyServer
from deployments.clients.database import DatabaseLogin, open_database
from deployments.errors import NotReady
from deployments.insight.drift import LEVELS
from deployments.insight.errors import NotWatched
from deployments.insight.monitor import DriftMonitor, evidence_of
from deployments.insight.routes import build_insight_app
from deployments.insight.store import InsightStore
from deployments.insight.tables import metadata
from deployments.insight.watched import drift_of, signal_names
from deployments.payloads import TrafficDelta
from deployments.telemetry.metrics import Metrics
from deployments.versions import CurrentRoutes, RoutingTable

_log = logging.getLogger("ray.serve")
_TICK_S = 1.0
_UPKEEP_S = 600.0


class InsightReplica:
    """Everything of drift in one process. ``start`` it on the event loop."""

    def __init__(
        self,
        config: AppConfig,
        metrics: Metrics,
        routes: CurrentRoutes,
        *,
        login: DatabaseLogin | None = None,
    ) -> None:
        """Opens the database; starts nothing yet.

        Args:
            config: Which database, which rates and tolerances.
            metrics: Where the champion's levels are shown.
            routes: Which version is the champion.
            login: The database's user and password, if Vault has them.
        """
        self._config = config.drift
        self._metrics = metrics.insight
        self._routes = routes
        engine = open_database(config.drift.database.get_secret_value(), metadata, login)
        self._store = InsightStore(engine)
        self._monitor = DriftMonitor(config.drift, self._store)
        self._proxy = ProxyServer(build_insight_app(lambda: self._monitor, self._champion))
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
        await asyncio.to_thread(self._store.add, delta, time.time())

    async def route(self, routes: RoutingTable) -> int:
        """Takes a newer routing table; the epoch that now stands."""
        self._routes.take(routes)
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

    def _champion(self) -> str:
        return self._routes.table.champion.digest

    async def _work(self) -> None:
        """Closes blocks and shows levels every second; goes on when the database is away."""
        kept_s = -math.inf
        while True:
            try:
                await asyncio.to_thread(self._monitor.close_blocks)
                if time.monotonic() - kept_s >= _UPKEEP_S:
                    kept_s = time.monotonic()
                    await asyncio.to_thread(self._monitor.upkeep)
                await asyncio.to_thread(self._show)
            except SQLAlchemyError as error:
                _log.warning("the database of drift does not answer: %s", type(error).__name__)
            await asyncio.sleep(min(_TICK_S, self._config.report_interval_s))

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
