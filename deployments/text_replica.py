"""What every replica has that takes texts from callers: Ingress, Stream and Jobs.

One predictor with all that it needs, the routing table that the Registry deployment sends, and
what a release is judged by. Knows no Ray.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from configs.schema.app import AppConfig
from deployments.cache.shared import SharedCache
from deployments.canary.observer import CandidateObserver
from deployments.inference.classifier import Classifier
from deployments.inference.direct import Stages
from deployments.inference.prediction_ids import prediction_ids
from deployments.inference.predictor import Predictor
from deployments.inference.traffic_counter import TrafficCounter
from deployments.payloads import Counts, FeedbackResult, RunTexts
from deployments.prediction_log import open_log
from deployments.prediction_log.rows import Source
from deployments.serve_options import EngineShare
from deployments.telemetry.metrics import Metrics
from deployments.telemetry.tracer import Tracer, open_tracer
from deployments.versions import CurrentRoutes, RoutingTable

if TYPE_CHECKING:
    from deployments.prediction_log.log import PredictionLog


_SOURCES: dict[str, Source] = {"Ingress": "http", "Stream": "kafka", "Jobs": "job"}


class TextReplica:
    """The common part; ``open`` makes it. For one event loop."""

    _tracer: Tracer | None = None
    _log: PredictionLog | None = None
    # Tokenizer and engines that are asked text by text, where there are any.
    stages: Stages | None = None

    def open(
        self,
        config: AppConfig,
        deployment: str,
        *,
        run_texts: RunTexts,
        table: RoutingTable,
        share: EngineShare,
        metrics: Metrics,
        shared: SharedCache | None = None,
        traffic: TrafficCounter | None = None,
        stages: Stages | None = None,
        is_lost: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        """Makes tracer, prediction log, observer and predictor.

        Args:
            config: Settings.
            deployment: Ingress, Stream or Jobs.
            run_texts: The tokenizer stage.
            table: The routing table of the start.
            share: The replica's part of the model stage.
            metrics: Where facts are counted.
            shared: The cache of level two, or None.
            traffic: Counts answers for drift detection, or None.
            stages: Tokenizer and engines of this replica; without them ``run_texts`` is asked.
            is_lost: Whether an error of ``run_texts`` means that a replica died with the batch.
        """
        self._metrics = metrics
        self._tracer = open_tracer(config, deployment, metrics)
        self._routes = routes = CurrentRoutes(table)
        self._log = log = open_log(config, metrics)
        self._observer = observer = CandidateObserver(config, run_texts, metrics, routes)
        self._classifier = Classifier(
            config,
            run_texts,
            shared,
            metrics,
            hops_in_flight=share.hops_in_flight,
            engines=share.engines,
            stages=stages,
            is_lost=is_lost,
        )
        self._predictor = Predictor(
            self._classifier,
            routes,
            observer,
            config.limits,
            metrics,
            source=_SOURCES[deployment],
            ids=prediction_ids(config.feedback),
            log=log,
            traffic=traffic,
        )

    async def route(self, routes: RoutingTable) -> int:
        """Takes a newer routing table; returns the epoch of the present one."""
        self._routes.take(routes)
        return self._routes.table.epoch

    async def forget(self, model: bytes) -> int:
        """Drops what this replica remembers of a model; returns how many entries.

        Args:
            model: The first 8 bytes of the bundle's digest.
        """
        return self._classifier.forget(model)

    async def observed(self, digest: str) -> Counts:
        """What this replica has counted of a candidate since the last call."""
        return self._observer.take(digest)

    async def judge(self, prediction_id: str, label: str) -> FeedbackResult | None:
        """Judges an answer of this replica; None when it does not remember it."""
        return self._observer.judge(prediction_id, label)

    def close(self) -> None:
        """See ``close_logs``; ends connections too."""
        if self.stages is not None:
            self.stages.close()
        self.close_logs()

    def close_logs(self) -> None:
        """Sends what the prediction log and the tracer still hold; waits for both."""
        for part in (self._log, self._tracer):
            if part is not None:
                part.close()

    async def close_in_thread(self) -> None:
        """``close_logs``, without holding up the event loop."""
        await asyncio.to_thread(self.close_logs)
