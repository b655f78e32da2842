"""Settings of different parts that contradict each other. ``AppConfig`` refuses what is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from configs.schema import AppConfig


def conflicts(config: AppConfig) -> Iterator[str]:
    """One sentence for each contradiction, with both dotted names and both values."""
    yield from _sizes(config)
    yield from _replicas(config)
    yield from _gpus(config)


def _sizes(config: AppConfig) -> Iterator[str]:
    limits, batching, cache = config.limits, config.batching, config.cache
    if limits.max_batch_texts > limits.max_queued_texts:
        yield (
            f"limits.max_batch_texts={limits.max_batch_texts} is above limits.max_queued_texts="
            f"{limits.max_queued_texts}, so a full batch request could never be queued"
        )
    if batching.max_hop_texts > limits.max_queued_texts:
        yield (
            f"batching.max_hop_texts={batching.max_hop_texts} is above limits.max_queued_texts="
            f"{limits.max_queued_texts}, so no RPC could ever be full"
        )
    if limits.max_text_chars > limits.max_body_bytes:
        yield (
            f"limits.max_text_chars={limits.max_text_chars} is above limits.max_body_bytes="
            f"{limits.max_body_bytes}, so the longest text would not fit into a request"
        )
    if cache.l2 != "none" and cache.l2_timeout_ms >= limits.default_deadline_ms:
        yield (
            f"cache.l2_timeout_ms={cache.l2_timeout_ms} is not below limits.default_deadline_ms="
            f"{limits.default_deadline_ms}, so a slow cache would use up the whole request"
        )
    if cache.l2 == "redis" and cache.flight_wait_ms >= cache.l2_timeout_ms:
        yield (
            f"cache.flight_wait_ms={cache.flight_wait_ms} is not below cache.l2_timeout_ms="
            f"{cache.l2_timeout_ms}, so waiting for another ingress would lose what is found"
        )


def _replicas(config: AppConfig) -> Iterator[str]:
    for name in ("cache", "registry"):
        if name == "cache" and config.cache.l2 == "redis":
            continue
        count = getattr(config.replicas, name).num_replicas
        if count > 1:
            yield (
                f"replicas.{name}.num_replicas={count} is above 1, and this deployment keeps its "
                "state in the memory of one replica"
            )


def _gpus(config: AppConfig) -> Iterator[str]:
    provider, replicas = config.model.provider, config.replicas.model
    num_gpus = replicas.num_gpus
    if provider == "cuda" and num_gpus == 0:
        yield "model.provider=cuda needs replicas.model.num_gpus above 0; it is 0"
    if provider == "cpu" and num_gpus > 0:
        yield f"model.provider=cpu leaves replicas.model.num_gpus={num_gpus:g} unused"
    if replicas.num_replicas == 0 and num_gpus > 0:
        yield (
            "replicas.model.num_replicas=0 means one for each core, and cores do not tell how many "
            f"have replicas.model.num_gpus={num_gpus:g}: set the number"
        )
