"""The Tokenizer deployment: ``replica.py`` on Ray Serve."""

from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.handles import bundle_cache, live_digests, remote_model
from deployments.telemetry.log_context import add_log_fields
from deployments.tokenizer.replica import TokenizerReplica


class Tokenizer(TokenizerReplica):
    """The Tokenizer deployment of the split topology; the Model is one RPC away."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, registry: DeploymentHandle, model: DeploymentHandle
    ) -> None:
        add_log_fields(config.server.service_name, "Tokenizer")
        super().__init__(bundle_cache(config, registry), remote_model(model))
        for digest in await live_digests(registry):
            await self.load(digest)
