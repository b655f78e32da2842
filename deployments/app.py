"""The graph. Read ``build`` from its leaves to its root.

Ingress ─▶ Cache
   ├─────▶ Tokenizer ─▶ Model     topology: split (default)
   │       Tokenizer ── Model     topology: fused, inside each Ingress replica
   ├─────▶ Registry  ◀─ Tokenizer, Model: bundles at start-up, never per request
   ├─────▶ Stream                 with stream.enabled; calls Tokenizer and Cache as the Ingress
   ├─────▶ Jobs                   with jobs.enabled; calls the Tokenizer as the Ingress
   └─────▶ Insight                with drift, feedback, explanations, KPIs; Stream, Jobs call it
"""

from collections.abc import Mapping

from ray.serve import Application

from configs.load import load_config
from configs.schema.app import AppConfig
from deployments.asgi.schemas import PREFIX
from deployments.cache.deployment import bind as bind_cache
from deployments.errors import MonitoringOff
from deployments.fused import bind as bind_fused
from deployments.ingress.deployment import bind as bind_ingress
from deployments.ingress.mounts import D, Mount, Upstreams
from deployments.insight.routes import MONITORING, insight_routes
from deployments.jobs.routes import BATCH, batch_routes
from deployments.model.deployment import bind as bind_model
from deployments.rollout.deployment import bind as bind_registry
from deployments.rollout.registry_routes import registry_routes
from deployments.tokenizer.deployment import bind as bind_tokenizer
from deployments.tokenizer.replica import token_ids


def build(args: Mapping[str, object]) -> Application:
    """The application of ``serve_config.yaml``: ``import_path: deployments.app:build``.

    Args:
        args: The YAML's ``args``: settings that override the profile's.

    Raises:
        ConfigError: A setting is unknown, out of range, or contradicts another.
    """
    config = load_config(args)
    registry = bind_registry(config)
    cache = bind_cache(config)
    tokenizer = None
    if config.topology == "split":
        model = bind_model(config, registry, token_ids)
        tokenizer = bind_tokenizer(config, registry, model)
    stream = jobs = insight = None
    if config.insight:
        # Replicas that keep nothing need no database client.
        from deployments.insight.deployment import bind as bind_insight  # noqa: PLC0415

        insight = bind_insight(config, registry, tokenizer)
    if config.stream.enabled:
        # Replicas without streams need no Kafka client.
        from deployments.stream.deployment import bind as bind_stream  # noqa: PLC0415

        stream = bind_stream(
            config, registry=registry, tokenizer=tokenizer, cache=cache, insight=insight
        )
    if config.jobs.enabled:
        from deployments.jobs.deployment import bind as bind_jobs  # noqa: PLC0415

        jobs = bind_jobs(config, registry=registry, tokenizer=tokenizer, insight=insight)
    mounted = mounts(config, registry, jobs, insight)
    upstreams = Upstreams(registry, tokenizer, cache, stream, insight, mounted)
    if config.topology == "fused":
        return bind_fused(config, upstreams)
    return bind_ingress(config, upstreams)


def deployment_names(config: AppConfig) -> set[str]:
    """The deployments that ``build`` makes."""
    optional = {
        "Tokenizer": config.topology == "split",
        "Model": config.topology == "split",
        "Cache": config.level_two != "none",
        "Stream": config.stream.enabled,
        "Jobs": config.jobs.enabled,
        "Insight": config.insight,
    }
    return {"Registry", "Ingress", *(name for name, on in optional.items() if on)}


def mounts(
    config: AppConfig, registry: D, jobs: D | None, insight: D | None
) -> list[tuple[Mount, D | None]]:
    """The routes that other deployments answer below the ingress, each with its deployment."""
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
    watched = Mount(
        prefix=MONITORING,
        name="the Insight deployment",
        max_upload_bytes=0,
        routes=insight_routes,
        off=(
            "nothing is watched on this server; drift.enabled, feedback.enabled, "
            "explanations.enabled and kpis.enabled switch it on"
        ),
        off_error=MonitoringOff,
        own=frozenset({f"{MONITORING}/health"}),
    )
    # Its routes are documented with the registry's others.
    monitored = Mount(
        prefix=f"{MONITORING}/models",
        name="the model registry",
        max_upload_bytes=0,
        routes=lambda _: (),
    )
    return [(monitored, registry), (models, registry), (batch, jobs), (watched, insight)]
