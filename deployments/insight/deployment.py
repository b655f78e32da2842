"""The Insight deployment: ``InsightReplica`` with Ray Serve handles around it. One replica."""

from collections.abc import Coroutine

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.clients.database import DatabaseLogin
from deployments.clients.vault import watch_secrets
from deployments.insight.feedback.release_labels import Releases
from deployments.insight.replica import InsightReplica
from deployments.payloads import FeedbackResult
from deployments.serve_options import AsyncReplica, deployment
from deployments.telemetry.background import keep_running
from deployments.telemetry.log_context import add_log_fields
from deployments.telemetry.malloc import give_memory_back, map_large_pieces
from deployments.telemetry.metrics import Metrics
from deployments.transport.handles import ray_gauge, remote_tokenizer
from deployments.versions import CurrentRoutes


class Insight(AsyncReplica, InsightReplica):
    """Takes counts from all replicas that answer texts; answers need it for nothing."""

    _stopped = True  # there is nothing to stop before it was made

    async def setup(
        self, config: AppConfig, registry: DeploymentHandle, tokenizer: DeploymentHandle | None
    ) -> None:
        """Opens the database and starts to work; without ``tokenizer`` the ingresses tokenize."""
        map_large_pieces()
        add_log_fields(config.server.service_name, "Insight")
        metrics = Metrics()
        routes = CurrentRoutes(await registry.routes.remote())
        uri = config.drift.database.get_secret_value()
        login = None
        if config.vault.enabled and not uri.startswith("sqlite"):
            login = DatabaseLogin(uri, "drift.database")
            using = {"drift.database": login.replace}
            self._secrets = await watch_secrets(config.vault, using, metrics)
        judge = registry.judge.remote

        async def reviewed(prediction_id: str, label: str) -> FeedbackResult | None:
            found: FeedbackResult | None = await judge(prediction_id, label)
            return found

        async def missed(why: str) -> None:
            await registry.missed.remote(why)

        run_texts = remote_tokenizer(tokenizer) if config.explanations.enabled else None
        InsightReplica.__init__(
            self,
            config,
            metrics,
            routes,
            login=login,
            releases=Releases(reviewed, missed),
            run_texts=run_texts,
        )
        self._mirroring = keep_running(metrics.mirror(ray_gauge).run, "copying metrics to Ray")
        self._trimming = give_memory_back()
        self.start()
        self._stopped = False

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose loop ended is replaced."""
        await self.check()

    def __del__(self) -> Coroutine[None, None, None] | None:
        """Serve awaits what this returns when it stops the replica; Python gets nothing."""
        if self._stopped:
            return None
        self._stopped = True
        self._mirroring.cancel()
        self._trimming.cancel()
        return self.stop()


def bind(config: AppConfig, registry: Application, tokenizer: Application | None) -> Application:
    """The deployment: one replica, because it alone closes blocks."""
    insight = deployment(Insight, config.replicas.insight, replicas=1)
    return insight.bind(config, registry, tokenizer)
