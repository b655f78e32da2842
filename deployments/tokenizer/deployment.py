"""The Tokenizer deployment of the split topology: ``replica.py`` on Ray Serve."""

import time
from collections.abc import Coroutine

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.autoscaling import Utilisation
from deployments.serve_options import LEAVE_S, STOP_S, AsyncReplica, by_engine, deployment
from deployments.telemetry.log_context import add_log_fields
from deployments.tokenizer.replica import TokenizerReplica
from deployments.transport.endpoint import Address, Endpoint
from deployments.transport.handles import bundle_cache, by_value, load_live
from deployments.transport.operations import tokenize
from deployments.transport.stage_handles import open_endpoint


class Tokenizer(AsyncReplica, TokenizerReplica):
    """A replica that loads the live tokenizers before it reports ready and calls the Model."""

    _endpoint: Endpoint | None = None

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
        self._utilisation = Utilisation(time.monotonic())
        operations = {"tokenize": tokenize(self.tokenize, self._busy)}
        self._endpoint, self._address = await open_endpoint(operations)

    async def address(self) -> Address:
        """Where this replica's socket is, for those that may call it."""
        return self._address

    def record_autoscaling_stats(self) -> dict[str, float]:
        """The figures that ``ModelPolicy`` decides by, since the last call."""
        return self._utilisation.read(0, time.monotonic())

    def _busy(self, texts: int, seconds: float) -> None:
        self._utilisation.add(texts, seconds, seconds)

    def __del__(self) -> Coroutine[None, None, None] | None:
        """Serve awaits what this returns when it stops the replica; Python gets nothing."""
        endpoint, self._endpoint = self._endpoint, None
        return endpoint.leave(LEAVE_S) if endpoint is not None else None


def bind(config: AppConfig, registry: Application, model: Application) -> Application:
    """The deployment, calling ``model``."""
    size, scaling = config.replicas.tokenizer, config.autoscaling
    policy = by_engine(scaling)
    tokenizer = deployment(Tokenizer, size, scaling=scaling, policy=policy, stop_s=STOP_S)
    return tokenizer.bind(config, registry, model)
