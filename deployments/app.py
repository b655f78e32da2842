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
from pathlib import Path
from typing import Any

import ray
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.cores import available_cores, share_cores
from configs.load import load_config
from configs.replicas import ReplicaConfig
from configs.schema import AppConfig
from deployments.cache import CacheReplica
from deployments.fetch import BundleCache
from deployments.fleet import ServeFleet, ServeIngresses
from deployments.ingress import Ingress
from deployments.log_fields import add_log_fields
from deployments.model import ModelReplica
from deployments.payloads import Answer, TextBatch
from deployments.probe import Probe
from deployments.redis_cache import RedisCacheReplica
from deployments.redis_client import Login
from deployments.remote import RemoteBundles, ray_gauge, remote_model, remote_tokenizer
from deployments.rollout import Registry
from deployments.router import Routes
from deployments.sizes import by_engine, by_lag, deployment, fused
from deployments.tokenizer import TokenizerReplica

# A hop inside a replica is a call: several fill the engine's window without costing RPCs.
_FUSED_HOPS = 6


class Model(ModelReplica):
    """The Model deployment: a replica that loads what is live before it reports ready."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, threads: int, registry: DeploymentHandle
    ) -> None:
        add_log_fields(config.server.service_name, "Model")
        super().__init__(
            _bundle_cache(config, registry),
            config.model,
            config.batching,
            threads=threads,
            gpu_share=config.replicas.model.num_gpus if ray.get_gpu_ids() else 0,
        )
        for digest in await _live_digests(registry):
            await self.load(digest)

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose engine fails is replaced."""
        await self.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``ModelPolicy`` decides by."""
        return self.utilisation()


class Tokenizer(TokenizerReplica):
    """The Tokenizer deployment of the split topology; the Model is one RPC away."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, registry: DeploymentHandle, model: DeploymentHandle
    ) -> None:
        add_log_fields(config.server.service_name, "Tokenizer")
        super().__init__(_bundle_cache(config, registry), remote_model(model))
        for digest in await _live_digests(registry):
            await self.load(digest)


class SplitIngress(Ingress):
    """The Ingress deployment of the split topology; the Tokenizer is one RPC away."""

    async def __init__(self, config: AppConfig, *, tokenizer: DeploymentHandle, **wiring: Any):  # type: ignore[misc]  # Serve awaits it
        await super().__init__(config, run_texts=remote_tokenizer(tokenizer), **wiring)


class FusedIngress(Ingress):
    """The Ingress deployment of the fused topology; Tokenizer and Model are a call away."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, *, threads: int, registry: DeploymentHandle, **wiring: Any
    ) -> None:
        bundles = _bundle_cache(config, registry)
        self._model = ModelReplica(
            bundles,
            config.model,
            config.batching,
            threads=threads,
            gpu_share=config.replicas.model.num_gpus if ray.get_gpu_ids() else 0,
            replans=True,
        )
        self._tokenizer = TokenizerReplica(bundles, self._model.run)
        for digest in await _live_digests(registry):
            await self.load(digest)
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

    async def classify(self, batch: TextBatch) -> Answer:
        """The tokenizer stage for the doors beside this one."""
        return await self._tokenizer.classify(batch)

    async def let_go(self, digest: str) -> None:
        """Frees a bundle's tokenizer and model."""
        await self._tokenizer.let_go(digest)
        await self._model.let_go(digest)

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose engine fails is replaced."""
        await self._model.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``ModelPolicy`` decides by."""
        return self._model.utilisation()


class RedisCache(RedisCacheReplica):
    """The Cache deployment with Redis; credentials that Vault changes are used from then on."""

    async def __init__(self, config: AppConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        login = Login(config.redis, leased=bool(config.vault.redis_role))
        super().__init__(config, login)
        if config.vault.enabled:
            # Half a second of imports that replicas without Vault do not need.
            from deployments.secrets import SecretWatch  # noqa: PLC0415

            self._secrets = SecretWatch(config.vault, {}, login=login)
            await self._secrets.start()


def build(args: Mapping[str, object]) -> Application:
    """The application of ``serve_config.yaml``: ``import_path: deployments.app:build``.

    Args:
        args: The YAML's ``args``: settings that override the profile's.

    Raises:
        ConfigError: A setting is unknown, out of range, or contradicts another.
    """
    config = load_config(args)
    sizes = config.replicas
    models, threads = share_cores(available_cores(), sizes.model.num_replicas)
    threads = config.model.intra_op_threads or threads

    registry = deployment(Registry, sizes.registry, replicas=1).bind(
        config,
        ServeFleet(config.topology, stream=config.stream.enabled, jobs=config.jobs.enabled),
        ServeIngresses(),
        ray_gauge,
    )
    cache = _cache(config)
    scaling = config.autoscaling
    if config.topology == "split":
        model = deployment(
            Model, sizes.model, replicas=models, scaling=scaling, policy=by_engine(scaling)
        ).bind(config, threads, registry)
        tokenizer = deployment(Tokenizer, sizes.tokenizer, scaling=scaling).bind(
            config, registry, model
        )
    else:
        tokenizer = None

    most = max(models, sizes.model.max_replicas)
    stages: dict[str, Any] = {"tokenizer": tokenizer, "registry": registry, "cache": cache}
    stream = None
    if config.stream.enabled:
        # Kafka's client is nothing that replicas without streams should import.
        from deployments.stream import STOP_S, Stream  # noqa: PLC0415

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
    doors = {"registry": registry, "cache": cache, "stream": stream, "jobs": jobs}
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


def _share(config: AppConfig, models: int, most: int, door: ReplicaConfig) -> dict[str, float]:
    """What one replica of a door keeps under way, of ``models`` engines and at ``most``."""
    doors = max(1, door.num_replicas)
    hops = config.batching.max_hops_in_flight or max(2, math.ceil(1.5 * most / doors))
    return {"hops_in_flight": hops, "engines": models / doors}


def _cache(config: AppConfig) -> Application | None:
    size = config.replicas.cache
    if config.cache.l2 == "redis":
        return deployment(RedisCache, size, name="Cache").bind(config)
    if config.cache.l2 == "memory":
        memory = deployment(CacheReplica, size, name="Cache", replicas=1)
        return memory.bind(config.cache.l2_max_bytes, config.cache.ttl_s)
    return None


def _bundle_cache(config: AppConfig, registry: DeploymentHandle) -> BundleCache:
    return BundleCache(Path(config.registry.bundle_cache_dir), RemoteBundles(registry))


async def _live_digests(registry: DeploymentHandle) -> list[str]:
    """Bundles to hold, the champion's first."""
    routes: Routes = await registry.routes.remote()
    champion = routes.champion.digest
    return [champion, *sorted(routes.digests - {champion})]
