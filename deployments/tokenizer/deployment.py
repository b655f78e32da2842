"""The Tokenizer deployment of the split topology: ``replica.py`` on Ray Serve."""

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.handles import bundle_cache, by_value, load_live
from deployments.serve_options import AsyncReplica, deployment
from deployments.telemetry.log_context import add_log_fields
from deployments.tokenizer.replica import TokenizerReplica


class Tokenizer(AsyncReplica, TokenizerReplica):
    """A replica that loads the live tokenizers before it reports ready and calls the Model."""

    async def setup(
        self, config: AppConfig, registry: DeploymentHandle, model: DeploymentHandle
    ) -> None:
        """Loads the tokenizers of the live versions.

        Raises:
            RegistryError: A bundle cannot be fetched or fails its digest check.
        """
        add_log_fields(config.server.service_name, "Tokenizer")
        TokenizerReplica.__init__(self, bundle_cache(config, registry), by_value(model).run.remote)
        await load_live(registry, self.load)


def bind(config: AppConfig, registry: Application, model: Application) -> Application:
    """The deployment, calling ``model``."""
    size, scaling = config.replicas.tokenizer, config.autoscaling
    return deployment(Tokenizer, size, scaling=scaling).bind(config, registry, model)
