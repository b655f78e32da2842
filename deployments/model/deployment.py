"""The Model deployment of the split topology: ``replica.py`` on Ray Serve."""

from collections.abc import Coroutine

import ray
from prometheus_client import CollectorRegistry
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.schema.app import AppConfig
from deployments.model.golden_probe import Encode
from deployments.model.replica import ModelReplica
from deployments.serve_options import (
    LEAVE_S,
    STOP_S,
    AsyncReplica,
    by_engine,
    deployment,
    engine_counts,
)
from deployments.telemetry.background import keep_running
from deployments.telemetry.engine_metrics import EngineMetrics
from deployments.telemetry.log_context import add_log_fields
from deployments.transport.endpoint import Address, Endpoint
from deployments.transport.handles import bundle_cache, load_live, ray_gauge
from deployments.transport.operations import score
from deployments.transport.stage_handles import open_endpoint


class Model(AsyncReplica, ModelReplica):
    """A replica that loads the live models before it reports ready."""

    _endpoint: Endpoint | None = None

    async def setup(
        self, config: AppConfig, threads: int, registry: DeploymentHandle, encode: Encode
    ) -> None:
        """Loads and warms up the models of the live versions.

        Raises:
            RegistryError: A bundle cannot be fetched or fails its digest check.
        """
        add_log_fields(config.server.service_name, "Model")
        metrics = EngineMetrics(CollectorRegistry())
        ModelReplica.__init__(
            self,
            bundle_cache(config, registry),
            config.model,
            config.batching,
            threads=threads,
            encode=encode,
            gpu_share=gpu_share(config),
            metrics=metrics,
        )
        await load_live(registry, self.load)
        self._mirroring = keep_running(metrics.mirror(ray_gauge).run, "copying metrics to Ray")
        self._endpoint, self._address = await open_endpoint({"score": score(self.run)})

    async def address(self) -> Address:
        """Where this replica's socket is, for those that may call it."""
        return self._address

    def __del__(self) -> Coroutine[None, None, None] | None:
        """Serve awaits what this returns when it stops the replica; Python gets nothing."""
        endpoint, self._endpoint = self._endpoint, None
        return endpoint.leave(LEAVE_S) if endpoint is not None else None


def gpu_share(config: AppConfig) -> float:
    """The share of a GPU that this replica has; 0 where it has none."""
    return config.replicas.model.num_gpus if ray.get_gpu_ids() else 0


def bind(config: AppConfig, registry: Application, encode: Encode) -> Application:
    """The deployment; ``encode`` is the tokenizer stage's way from texts to ids."""
    models, threads = engine_counts(config)
    scaling = config.autoscaling
    model = deployment(
        Model,
        config.replicas.model,
        replicas=models,
        scaling=scaling,
        policy=by_engine(scaling),
        stop_s=STOP_S,
    )
    return model.bind(config, threads, registry, encode)
