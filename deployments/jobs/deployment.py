"""The Jobs deployment: ``JobsReplica`` with Ray Serve handles around it. One replica."""

import asyncio
from collections.abc import Coroutine

from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.handles import is_lost, ray_gauge, remote_tokenizer
from deployments.inference.classifier import Classifier
from deployments.jobs.database_login import DatabaseLogin
from deployments.jobs.replica import JobsReplica
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.metrics import Metrics
from deployments.versions import RoutingTable


class Jobs(JobsReplica):
    """Takes its texts to the same stages as the ingress, after interactive ones."""

    _stopped = True  # there is nothing to stop before it was made

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: AppConfig,
        *,
        hops_in_flight: int,
        engines: float,
        tokenizer: DeploymentHandle | None,
        registry: DeploymentHandle,
    ) -> None:
        add_log_fields(config.server.service_name, "Jobs")
        metrics = Metrics()
        classifier = Classifier(
            config,
            remote_tokenizer(tokenizer),
            None,
            metrics,
            hops_in_flight=hops_in_flight,
            engines=engines,
            is_lost=is_lost,
        )
        routes: RoutingTable = await registry.routes.remote()
        uri = config.jobs.database.get_secret_value()
        login = None
        self._secrets = None
        if config.vault.enabled and not uri.startswith("sqlite"):
            # Half a second of imports that replicas without Vault do not need.
            from deployments.clients.vault import SecretWatch  # noqa: PLC0415

            login = DatabaseLogin(uri)
            self._secrets = SecretWatch(config.vault, {"jobs.database": login.replace}, metrics)
            await self._secrets.start()
        super().__init__(config, classifier, metrics, routes, login)
        self._mirroring = asyncio.create_task(metrics.mirror(ray_gauge).run())
        self.start()
        self._stopped = False

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose loops ended is replaced."""
        await self.check()

    def __del__(self) -> Coroutine[None, None, None] | None:
        """Serve awaits what this returns when it stops the replica; Python gets nothing."""
        if self._stopped:
            return None
        self._stopped = True
        self._mirroring.cancel()
        return self.stop()
