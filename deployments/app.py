"""The graph. Read ``build`` from its leaves to its root.

Ingress ─▶ Cache
   ├─────▶ Tokenizer ─▶ Model        topology: split (default)
   ├─────▶ Tokenizer (with Model)    topology: fused
   ├─────▶ Jobs ─▶ Tokenizer         where batch jobs are enabled
   └─────▶ Registry  ◀─ Tokenizer, Model: bundles at start-up, never per request
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve import Application
from ray.serve.handle import DeploymentHandle

from configs.cores import available_cores, share_cores
from configs.load import load_config
from configs.replicas import AutoscalingConfig, ReplicaConfig
from configs.schema import AppConfig
from deployments.cache import CacheReplica
from deployments.fetch import BundleCache
from deployments.fleet import ServeFleet
from deployments.ingress import Ingress
from deployments.jobs.deployment import Jobs
from deployments.model import ModelReplica
from deployments.payloads import EncodingBatch, ScoreBatch
from deployments.probe import Probe
from deployments.redis_cache import RedisCacheReplica
from deployments.redis_client import Held
from deployments.remote import by_value
from deployments.rollout import Registry
from deployments.router import Routes
from deployments.tokenizer import RunModel, TokenizerReplica


class RemoteBundles:
    """``BundleSource`` in the Registry deployment."""

    def __init__(self, handle: DeploymentHandle) -> None:
        self._handle = by_value(handle)

    async def read(self, digest: str, name: str, offset: int) -> bytes:
        """See ``BundleSource.read``."""
        chunk: bytes = await self._handle.read.remote(digest, name, offset)
        return chunk


class Model(ModelReplica):
    """The Model deployment: a replica that loads what is live before it reports ready."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, threads: int, registry: DeploymentHandle
    ) -> None:
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
        super().__init__(_bundle_cache(config, registry), _remote_model(model))
        for digest in await _live_digests(registry):
            await self.load(digest)


class FusedTokenizer(TokenizerReplica):
    """The Tokenizer deployment of the fused topology; the Model is a function call away."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: AppConfig, threads: int, registry: DeploymentHandle
    ) -> None:
        bundles = _bundle_cache(config, registry)
        self._model = ModelReplica(
            bundles,
            config.model,
            config.batching,
            threads=threads,
            gpu_share=config.replicas.model.num_gpus if ray.get_gpu_ids() else 0,
        )
        super().__init__(bundles, self._model.run)
        for digest in await _live_digests(registry):
            await self.load(digest)

    async def load(self, digest: str) -> None:
        """Opens a bundle's model and tokenizer."""
        await self._model.load(digest)
        await super().load(digest)

    async def probe(self, digest: str, texts: Sequence[str]) -> Probe:
        """See ``ModelReplica.probe``."""
        return await self._model.probe(digest, texts)

    async def let_go(self, digest: str) -> None:
        """Frees a bundle's tokenizer and model."""
        await super().let_go(digest)
        await self._model.let_go(digest)

    async def check_health(self) -> None:
        """Serve asks every few seconds; a replica whose engine fails is replaced."""
        await self._model.check()

    def record_autoscaling_stats(self) -> dict[str, float]:
        """What ``ModelPolicy`` decides by."""
        return self._model.utilisation()


class RedisCache(RedisCacheReplica):
    """The Cache deployment with Redis; a password that Vault rotates is used from then on."""

    async def __init__(self, config: AppConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        password = Held(config.redis.password.get_secret_value())
        super().__init__(config, password.current)
        if config.vault.enabled:
            # Half a second of imports that replicas without Vault do not need.
            from deployments.secrets import SecretWatch  # noqa: PLC0415

            self._secrets = SecretWatch(config.vault, {"redis.password": password.replace})
            self._secrets.start()


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

    registry = _deployment(Registry, sizes.registry, replicas=1).bind(
        config, ServeFleet(config.topology, jobs=config.jobs.enabled)
    )
    cache = _cache(config)
    if config.topology == "split":
        model = _deployment(Model, sizes.model, replicas=models, scaling=config.autoscaling).bind(
            config, threads, registry
        )
        tokenizer = _deployment(Tokenizer, sizes.tokenizer, scaling=config.autoscaling).bind(
            config, registry, model
        )
    else:
        tokenizer = _deployment(
            FusedTokenizer,
            sizes.model,
            name="Tokenizer",
            replicas=models,
            scaling=config.autoscaling,
        ).bind(config, threads, registry)

    ingresses = max(1, sizes.ingress.num_replicas)
    engines = models / ingresses
    most = max(models, sizes.model.max_replicas) / ingresses
    hops = config.batching.max_hops_in_flight or max(2, math.ceil(1.5 * most))
    jobs = None
    if config.jobs.enabled:
        jobs = _deployment(Jobs, sizes.jobs, replicas=1).bind(
            config,
            hops_in_flight=hops,
            engines=float(models),
            tokenizer=tokenizer,
            registry=registry,
        )
    return _deployment(Ingress, sizes.ingress, scaling=config.autoscaling).bind(
        config,
        hops_in_flight=hops,
        engines=engines,
        tokenizer=tokenizer,
        registry=registry,
        cache=cache,
        jobs=jobs,
    )


def _cache(config: AppConfig) -> Application | None:
    size = config.replicas.cache
    if config.cache.l2 == "redis":
        return _deployment(RedisCache, size, name="Cache").bind(config)
    if config.cache.l2 == "memory":
        memory = _deployment(CacheReplica, size, name="Cache", replicas=1)
        return memory.bind(config.cache.l2_max_bytes, config.cache.ttl_s)
    return None


def _deployment(
    cls: type,
    size: ReplicaConfig,
    *,
    name: str | None = None,
    replicas: int | None = None,
    scaling: AutoscalingConfig | None = None,
) -> serve.Deployment:
    count = replicas or max(1, size.num_replicas)
    options = {"num_cpus": size.num_cpus}
    if size.num_gpus:
        options["num_gpus"] = size.num_gpus
    return serve.deployment(
        cls,
        name=name or cls.__name__,
        **_scale(count, size, scaling, model=cls in (Model, FusedTokenizer)),
        ray_actor_options=options,
        max_ongoing_requests=size.max_ongoing_requests,
        # With the default of 0 a code update stops an only replica before its successor is up.
        max_surge_percent=100 if count == 1 else 25,
        health_check_period_s=10,
        graceful_shutdown_wait_loop_s=0.5,
    )


def _scale(
    count: int, size: ReplicaConfig, scaling: AutoscalingConfig | None, *, model: bool
) -> dict[str, Any]:
    """Serve's arguments for a fixed number of replicas, or for one between two bounds."""
    if scaling is None or size.max_replicas <= count:
        return {"num_replicas": count}
    bounds: dict[str, Any] = {
        "min_replicas": count,
        "max_replicas": size.max_replicas,
        "target_ongoing_requests": scaling.target_ongoing_requests,
        "upscale_delay_s": scaling.upscale_delay_s,
        "downscale_delay_s": scaling.downscale_delay_s,
    }
    if model:
        bounds["policy"] = {
            "policy_function": "deployments.autoscaling:ModelPolicy",
            "policy_kwargs": {
                "target_busy_ratio": scaling.target_busy_ratio,
                "target_wait_ms": scaling.target_wait_ms,
                "target_ongoing_requests": scaling.target_ongoing_requests,
            },
        }
    return {"autoscaling_config": bounds}


def _bundle_cache(config: AppConfig, registry: DeploymentHandle) -> BundleCache:
    return BundleCache(Path(config.registry.bundle_cache_dir), RemoteBundles(registry))


async def _live_digests(registry: DeploymentHandle) -> list[str]:
    """Bundles to hold, the champion's first."""
    routes: Routes = await registry.routes.remote()
    champion = routes.champion.digest
    return [champion, *sorted(routes.digests - {champion})]


def _remote_model(handle: DeploymentHandle) -> RunModel:
    score = by_value(handle).run

    async def run(batch: EncodingBatch) -> ScoreBatch:
        scores: ScoreBatch = await score.remote(batch)
        return scores

    return run
