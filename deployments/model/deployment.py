"""The Model deployment: ``replica.py`` on Ray Serve."""

import ray
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.handles import bundle_cache, live_digests
from deployments.model.golden_probe import Encode
from deployments.model.replica import ModelReplica
from deployments.telemetry.log_context import add_log_fields


class Model(ModelReplica):
    """The Model deployment: a replica that loads what is live before it reports ready."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, threads: int, registry: DeploymentHandle, encode: Encode
    ) -> None:
        add_log_fields(config.server.service_name, "Model")
        super().__init__(
            bundle_cache(config, registry),
            config.model,
            config.batching,
            threads=threads,
            encode=encode,
            gpu_share=config.replicas.model.num_gpus if ray.get_gpu_ids() else 0,
        )
        for digest in await live_digests(registry):
            await self.load(digest)

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose engine fails is replaced."""
        await self.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``ModelPolicy`` decides by."""
        return self.utilisation()
