"""Settings of different parts that contradict each other. ``AppConfig`` refuses what is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from configs.errors import ConfigError
from configs.schema.api_keys import is_strong, read_keys

if TYPE_CHECKING:
    from configs.schema.app import AppConfig

NO_WAY_IN = (
    "access.required=True and there is no way in: set access.api_keys (`sentigraph secrets new NAME` "
    "makes a key), access.api_key, access.jwt.jwks, or vault.enabled; access.required=False "
    "serves anybody who reaches the server"
)


def conflicts(config: AppConfig) -> Iterator[str]:
    """One sentence for each contradiction, with both dotted names and both values."""
    yield from _sizes(config)
    yield from _replicas(config)
    yield from _gpus(config)
    yield from _model(config)
    yield from _jobs(config)
    yield from _access(config)
    yield from _vault(config)
    yield from _stream(config)
    if config.profile == "production" and config.chaos.enabled:
        yield "chaos.enabled=True with profile=production: no faults are made there on purpose"


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
    if config.level_two != "none" and cache.l2_timeout_ms >= limits.default_deadline_ms:
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
    for name in ("cache", "registry", "jobs", "insight"):
        if name == "cache" and config.cache.l2 == "redis":
            continue
        count = getattr(config.replicas, name).num_replicas
        most = getattr(config.replicas, name).max_replicas
        if most > 1:
            yield (
                f"replicas.{name}.max_replicas={most} is above 1, and this deployment keeps its "
                "state in the memory of one replica"
            )
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
    if num_gpus > 1:
        yield (
            f"replicas.model.num_gpus={num_gpus:g}: an engine computes on one card and would leave "
            "the others idle: set it to 1, and replicas.model.num_replicas to the number of cards"
        )
    if replicas.num_replicas == 0 and num_gpus > 0:
        yield (
            "replicas.model.num_replicas=0 means one for each core, and cores do not tell how many "
            f"have replicas.model.num_gpus={num_gpus:g}: set the number"
        )


def _model(config: AppConfig) -> Iterator[str]:
    name, allowed = config.model.name, config.model.allowed_names
    if allowed and name not in allowed:
        yield f"model.name={name} is not among model.allowed_names={', '.join(allowed)}"


def _jobs(config: AppConfig) -> Iterator[str]:
    jobs, limits = config.jobs, config.limits
    under_way = jobs.chunk_texts * jobs.chunks_in_flight
    if jobs.enabled and under_way > limits.max_queued_texts:
        yield (
            f"jobs.chunk_texts={jobs.chunk_texts} times jobs.chunks_in_flight="
            f"{jobs.chunks_in_flight} is above limits.max_queued_texts={limits.max_queued_texts}, "
            "so chunks would refuse each other"
        )


def _access(config: AppConfig) -> Iterator[str]:
    access = config.access
    try:
        keys = read_keys(access.api_keys.get_secret_value())
    except ConfigError as error:
        yield f"access.api_keys: {error}"
        return
    single = access.api_key.get_secret_value()
    if single and not is_strong(single):
        yield "access.api_key must have at least 8 characters with a letter and a digit"
    some = bool(keys or single or access.jwt.jwks)
    if access.required and not (some or config.vault.enabled):
        yield NO_WAY_IN
    # Vault may hold keys for others than this server.
    given = bool((keys and not config.vault.enabled) or single or access.jwt.jwks)
    if given and not access.required:
        yield (
            "access.required=False, and access.api_key, access.api_keys or access.jwt.jwks is set: "
            "requests would be served without a key"
        )
    if access.jwt.jwks and not (access.jwt.issuer and access.jwt.audience):
        yield (
            "access.jwt.jwks needs access.jwt.issuer and access.jwt.audience: a provider signs "
            "tokens for others too"
        )


def _vault(config: AppConfig) -> Iterator[str]:
    vault = config.vault
    if not vault.enabled:
        if vault.redis_role:
            yield f"vault.redis_role={vault.redis_role} has no effect with vault.enabled=False"
        return
    needs = {
        "token": {"vault.token": vault.token.get_secret_value()},
        "approle": {
            "vault.role": vault.role,
            "vault.secret_id": vault.secret_id.get_secret_value(),
        },
        "kubernetes": {"vault.role": vault.role},
    }[vault.auth]
    for name, value in {"vault.address": vault.address, **needs}.items():
        if not value:
            yield f"vault.enabled=True with vault.auth={vault.auth} needs {name}"


def _stream(config: AppConfig) -> Iterator[str]:
    stream, limits = config.stream, config.limits
    if not stream.enabled:
        return
    if stream.max_in_flight > limits.max_queued_texts:
        yield (
            f"stream.max_in_flight={stream.max_in_flight} is above limits.max_queued_texts="
            f"{limits.max_queued_texts}, so the stream would refuse its own texts"
        )
    if stream.processing_timeout_ms > limits.max_deadline_ms:
        yield (
            f"stream.processing_timeout_ms={stream.processing_timeout_ms} is above "
            f"limits.max_deadline_ms={limits.max_deadline_ms}, and a version that leaves is let "
            "go after that time"
        )
    if stream.security_protocol.startswith("SASL") and not stream.username:
        yield f"stream.security_protocol={stream.security_protocol} needs stream.username"
