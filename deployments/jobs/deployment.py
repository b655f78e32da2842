"""The Jobs deployment: ``JobsReplica`` with Ray Serve handles around it. One replica."""

from collections.abc import Coroutine

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.clients.database import DatabaseLogin
from deployments.clients.vault import watch_secrets
from deployments.inference.second_try import SecondTry
from deployments.jobs.replica import JobsReplica
from deployments.serve_options import AsyncReplica, EngineShare, deployment, engine_share
from deployments.telemetry.background import keep_running
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.malloc import give_memory_back, map_large_pieces
from deployments.telemetry.metrics import Metrics
from deployments.transport.handles import (
    is_lost,
    ray_gauge,
    remote_tokenizer,
    start_counting,
)
from deployments.transport.remote_stages import RemoteStages
from deployments.transport.stage_handles import open_stages


class Jobs(AsyncReplica, JobsReplica):
    """Takes its texts to the same stages as the ingress, after interactive ones."""

    _stopped = True  # there is nothing to stop before it was made
    _stages: RemoteStages | None = None

    async def setup(
        self,
        config: AppConfig,
        share: EngineShare,
        *,
        registry: DeploymentHandle,
        tokenizer: DeploymentHandle | None,
        insight: DeploymentHandle | None = None,
    ) -> None:
        """Opens the database and starts to work; without ``tokenizer`` the ingresses tokenize."""
        map_large_pieces()
        add_log_fields(config.server.service_name, "Jobs")
        metrics = Metrics()
        if tokenizer is not None:
            self._stages = await open_stages(
                config, "Jobs", tokenizer, metrics, share.hops_in_flight
            )
        self.open(
            config,
            "Jobs",
            run_texts=SecondTry(remote_tokenizer(tokenizer), metrics.retries.inc).run,
            table=await registry.routes.remote(),
            share=share,
            metrics=metrics,
            traffic=start_counting(config, metrics, insight, "job"),
            stages=self._stages,
            is_lost=is_lost,
        )
        uri = config.jobs.database.get_secret_value()
        login = None
        if config.vault.enabled and not uri.startswith("sqlite"):
            login = DatabaseLogin(uri, "jobs.database")
            using = {"jobs.database": login.replace}
            self._secrets = await watch_secrets(config.vault, using, self._metrics)
        self.open_jobs(config, login=login)
        mirror = self._metrics.mirror(ray_gauge)
        self._mirroring = keep_running(mirror.run, "copying metrics to Ray")
        self._trimming = give_memory_back()
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
        self._trimming.cancel()
        if self._stages is not None:
            self._stages.close()
        return self.stop()


def bind(
    config: AppConfig,
    *,
    registry: Application,
    tokenizer: Application | None,
    insight: Application | None,
) -> Application:
    """The deployment: one replica, because it alone works on its database."""
    size = config.replicas.jobs
    jobs = deployment(Jobs, size, replicas=1)
    share = engine_share(config, size)
    return jobs.bind(config, share, registry=registry, tokenizer=tokenizer, insight=insight)
