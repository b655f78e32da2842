"""The Jobs deployment: ``JobsReplica`` with Ray Serve handles around it. One replica."""

import asyncio
from collections.abc import Sequence

from ray.exceptions import RayActorError
from ray.serve import metrics as serve_metrics
from ray.serve.handle import DeploymentHandle

from configs.schema import AppConfig
from deployments.classifier import Classifier
from deployments.jobs.replica import JobsReplica
from deployments.metrics import Metrics
from deployments.payloads import Answer, TextBatch
from deployments.remote import by_value
from deployments.router import Routes


class Jobs(JobsReplica):
    """Takes its texts to the same stages as the ingress, after interactive ones."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: AppConfig,
        *,
        hops_in_flight: int,
        engines: float,
        tokenizer: DeploymentHandle,
        registry: DeploymentHandle,
    ) -> None:
        metrics = Metrics()
        classify = by_value(tokenizer).classify

        async def run_texts(batch: TextBatch) -> Answer:
            answer: Answer = await classify.remote(batch)
            return answer

        classifier = Classifier(
            config,
            run_texts,
            None,
            metrics,
            hops_in_flight=hops_in_flight,
            engines=engines,
            is_lost=_is_lost,
        )
        routes: Routes = await registry.routes.remote()
        super().__init__(config, classifier, metrics, routes)
        self._mirroring = asyncio.create_task(metrics.mirror(_ray_gauge).run())
        self.start()

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose loops ended is replaced."""
        await self.check()


def _is_lost(error: Exception) -> bool:
    """Whether a replica died under a call; one hop further its error arrives as a cause."""
    return any(isinstance(e, RayActorError) for e in (error, getattr(error, "cause", None)))


def _ray_gauge(name: str, text: str, labels: Sequence[str]) -> serve_metrics.Gauge:
    return serve_metrics.Gauge(name, text, tuple(labels))
