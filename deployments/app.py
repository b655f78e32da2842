"""The graph. Read ``build`` from its leaves to its root.

Ingress ─▶ Cache
   ├─────▶ Tokenizer ─▶ Model     topology: split (default)
   │       Tokenizer ── Model     topology: fused, inside each Ingress replica
   ├─────▶ Registry  ◀─ Tokenizer, Model: bundles at start-up, never per request
   ├─────▶ Stream                 with stream.enabled; asks Tokenizer and Cache as the Ingress
   └─────▶ Jobs                   with jobs.enabled; asks the Tokenizer as the Ingress
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.load import load_config
from configs.schema.app import AppConfig
from configs.schema.replicas import ReplicaConfig
from deployments.asgi.schemas import PREFIX
from deployments.cache.deployment import bind as bind_cache
from deployments.handles import bundle_cache, load_live
from deployments.ingress.deployment import Ingress, SplitIngress
from deployments.ingress.mounts import Mount
from deployments.jobs.routes import BATCH, batch_routes
from deployments.model.deployment import bind as bind_model
from deployments.model.deployment import gpu_share
from deployments.model.replica import ModelReplica
from deployments.payloads import ModelAnswer, Probe, TextBatch
from deployments.rollout.deployment import bind as bind_registry
from deployments.rollout.registry_routes import registry_routes
from deployments.serve_options import by_engine, by_lag, deployment, engine_counts, fused
from deployments.tokenizer.deployment import bind as bind_tokenizer
from deployments.tokenizer.replica import TokenizerReplica, token_ids

# A hop inside a replica is a call: several fill the engine's window without costing RPCs.
_FUSED_HOPS = 6


class FusedIngress(Ingress):
    """The Ingress deployment of the fused topology; Tokenizer and Model are a call away."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, *, threads: int, registry: DeploymentHandle, **wiring: Any
    ) -> None:
        bundles = bundle_cache(config, registry)
        self._model = ModelReplica(
            bundles,
            config.model,
            config.batching,
            threads=threads,
            encode=token_ids,
            gpu_share=gpu_share(config),
            replans=True,
        )
        self._tokenizer = TokenizerReplica(bundles, self._model.run)
        await load_live(registry, self.load)
        await super().__init__(
            config, run_texts=self._tokenizer.classify, registry=registry, **wiring
        )

    async def load(self, digest: str) -> None:
        """Opens a bundle's model and tokenizer."""
        await self._model.load(digest)
        await self._tokenizer.load(digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> Probe:
        """See ``ModelReplica.probe``."""
        return await self._model.probe(digest, texts)

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        """The tokenizer stage for the doors beside this one."""
        return await self._tokenizer.classify(batch)

    async def unload(self, digest: str) -> None:
        """Frees a bundle's tokenizer and model."""
        await self._tokenizer.unload(digest)
        await self._model.unload(digest)

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose engine fails is replaced."""
        await self._model.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``ModelPolicy`` decides by."""
        return self._model.utilisation()


def build(args: Mapping[str, object]) -> Application:
    """The application of ``serve_config.yaml``: ``import_path: deployments.app:build``.

    Args:
        args: The YAML's ``args``: settings that override the profile's.

    Raises:
        ConfigError: A setting is unknown, out of range, or contradicts another.
    """
    config = load_config(args)
    sizes = config.replicas
    models, threads = engine_counts(config)
    registry = bind_registry(config)
    cache = bind_cache(config)
    scaling = config.autoscaling
    tokenizer = None
    if config.topology == "split":
        model = bind_model(config, registry, token_ids)
        tokenizer = bind_tokenizer(config, registry, model)

    most = max(models, sizes.model.max_replicas)
    stages: dict[str, Any] = {"tokenizer": tokenizer, "registry": registry, "cache": cache}
    stream = None
    if config.stream.enabled:
        # Kafka's client is nothing that replicas without streams should import.
        from deployments.stream.deployment import STOP_S, Stream  # noqa: PLC0415

        stream = deployment(
            Stream,
            sizes.stream,
            scaling=scaling,
            policy=by_lag(scaling),
            stop_s=config.stream.drain_ms / 1_000 + STOP_S,
        ).bind(config, **_share(config, models, most, sizes.stream), **stages)
    jobs = None
    if config.jobs.enabled:
        # Nor is the database's.
        from deployments.jobs.deployment import Jobs  # noqa: PLC0415

        jobs = deployment(Jobs, sizes.jobs, replicas=1).bind(
            config,
            **_share(config, models, most, sizes.jobs),
            tokenizer=tokenizer,
            registry=registry,
        )
    doors = {
        "registry": registry,
        "cache": cache,
        "stream": stream,
        "mounts": mounts(config, registry, jobs),
    }
    if tokenizer is None:
        return deployment(
            FusedIngress,
            fused(sizes.model, sizes.ingress),
            name="Ingress",
            replicas=models,
            scaling=scaling,
            policy=by_engine(scaling),
        ).bind(
            config,
            threads=threads,
            hops_in_flight=config.batching.max_hops_in_flight or _FUSED_HOPS,
            engines=1,
            **doors,
        )
    return deployment(SplitIngress, sizes.ingress, name="Ingress", scaling=scaling).bind(
        config, **_share(config, models, most, sizes.ingress), tokenizer=tokenizer, **doors
    )


def mounts(config: AppConfig, registry: Any, jobs: Any) -> list[tuple[Mount, Any]]:
    """What other deployments answer below the ingress: each mount and its deployment or handle."""
    models = Mount(
        prefix=f"{PREFIX}/models",
        name="the model registry",
        max_upload_bytes=config.registry.max_artifact_bytes,
        routes=registry_routes,
        own=frozenset({f"{PREFIX}/models/live"}),
    )
    batch = Mount(
        prefix=BATCH,
        name="the Jobs deployment",
        max_upload_bytes=config.jobs.max_upload_bytes,
        routes=batch_routes,
        off="batch jobs are off on this server; jobs.enabled switches them on",
    )
    return [(models, registry), (batch, jobs)]


def _share(config: AppConfig, models: int, most: int, door: ReplicaConfig) -> dict[str, float]:
    """What one replica of a door keeps under way, of ``models`` engines and at ``most``."""
    doors = max(1, door.num_replicas)
    hops = config.batching.max_hops_in_flight or max(2, math.ceil(1.5 * most / doors))
    return {"hops_in_flight": hops, "engines": models / doors}
