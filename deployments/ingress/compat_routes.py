"""Paths of the specification beside our own: probes without the prefix, health and model facts.

Plain FastAPI, nothing of its own: every fact comes from where ``routes.py`` gets it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from deployments.asgi.schemas import ErrorBody
from deployments.errors import FeatureOff, NotReady
from deployments.payloads import StreamStatus
from deployments.versions import BACKENDS
from registry.records import Activation, Task

if TYPE_CHECKING:
    from deployments.ingress.deployment import Ingress

METRICS_TYPE = "text/plain; version=1.0.0; charset=utf-8"


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class HealthSummary(_Answer):
    """Answer to `GET /api/v1/health`; always 200, the status is in it."""

    status: str = Field(description="`healthy` or `unhealthy`.")
    service: str
    model_status: str = Field(description="`available` or `unavailable`.")
    version: str
    backend: str
    timestamp: datetime


class Dependency(_Answer):
    """One component and how it is."""

    component_name: str
    details: dict[str, str | None] = Field(description="`status` and `error`.")


class HealthDetails(_Answer):
    """Answer to `GET /api/v1/health/details`; always 200."""

    status: str
    version: str
    timestamp: datetime
    dependencies: list[Dependency]


class Readiness(_Answer):
    """Answer to `GET /api/v1/ready`."""

    status: str


class ModelFacts(_Answer):
    """Answer to `GET /api/v1/model-info`."""

    model_name: str
    model_version: int
    model_digest: str
    backend: str
    precision: str
    is_loaded: bool
    is_quantized: bool
    labels: list[str]
    task: Task
    activation: Activation
    thresholds: list[float]
    max_tokens: int
    max_text_length: int = Field(description="Characters; `limits.max_text_chars`.")


class KafkaFigures(_Answer):
    """Answer to `GET /api/v1/kafka-metrics`: all stream replicas together since they started."""

    messages_consumed: int
    messages_processed: int = Field(description="Results that are acknowledged.")
    messages_failed: int = Field(description="Attempts that failed.")
    messages_retried: int
    messages_sent_to_dlq: int
    total_processing_time_ms: float = Field(description="Of each message, poll to acknowledgement.")
    avg_processing_time_ms: float
    throughput_tps: float
    consumer_group_lag: int = Field(description="Messages not yet acknowledged.")
    running: bool = Field(description="Whether a broker answers every replica.")
    consumer_threads: int = Field(description="Stream replicas; each has one consumer.")
    pending_batches: int
    batch_queue_size: int = Field(description="Messages read and not acknowledged.")


def compatible_routes(
    prefix: str, name: str, release: str, *, max_text_chars: int, ingress: "Ingress"
) -> APIRouter:
    """The routes, with and without the prefix."""
    api = APIRouter(tags=["compatibility"])
    unready: dict[int | str, dict[str, Any]] = {503: {"model": ErrorBody}}

    async def health() -> HealthSummary:
        """Whether predictions can be made now."""
        checks = await _checks(ingress)
        return HealthSummary(
            status="healthy" if checks else "unhealthy",
            service=name,
            model_status="available" if checks else "unavailable",
            version=release,
            backend=BACKENDS[ingress.routes().champion.kind],
            timestamp=datetime.now(UTC),
        )

    async def health_details() -> HealthDetails:
        """Each component that predictions need or use."""
        checks = await _checks(ingress)
        found = checks or {"model": "the model stage does not answer"}
        return HealthDetails(
            status="healthy" if checks else "unhealthy",
            version=release,
            timestamp=datetime.now(UTC),
            dependencies=[
                Dependency(
                    component_name=name,
                    details={
                        "status": "healthy" if said == "ok" else "unhealthy",
                        "error": None if said == "ok" else said,
                    },
                )
                for name, said in found.items()
            ],
        )

    async def ready() -> Readiness:
        """200 when a text can be classified now."""
        await ingress.ready()
        return Readiness(status="ready")

    async def model_info() -> ModelFacts:
        """What is known of the live version."""
        live = ingress.routes().champion
        return ModelFacts(
            model_name=live.name,
            model_version=live.version,
            model_digest=live.digest,
            backend=BACKENDS[live.kind],
            precision=live.precision,
            is_loaded=True,
            is_quantized=live.precision == "int8",
            labels=list(live.labels),
            task=live.head.task,
            activation=live.head.activation,
            thresholds=list(live.head.thresholds),
            max_tokens=live.max_tokens,
            max_text_length=max_text_chars,
        )

    async def kafka_metrics() -> KafkaFigures:
        """What comes and goes over Kafka."""
        replicas = await ingress.streams()
        if replicas is None:
            raise FeatureOff("streams are off on this server; stream.enabled switches them on")
        return _figures(replicas)

    for start in ("", prefix):
        api.add_api_route(f"{start}/health", health, include_in_schema=bool(start))
        api.add_api_route(f"{start}/ready", ready, responses=unready, include_in_schema=bool(start))
    api.add_api_route(f"{prefix}/health/details", health_details)
    api.add_api_route(f"{prefix}/kafka-metrics", kafka_metrics, responses=unready)
    api.add_api_route(f"{prefix}/kafka/metrics", kafka_metrics, include_in_schema=False)
    api.add_api_route(f"{prefix}/model-info", model_info)
    api.add_api_route(f"{prefix}/model/info", model_info, include_in_schema=False)
    return api


def metrics_routes(prefix: str, ingress: "Ingress") -> APIRouter:
    """The metrics page, with and without the prefix."""
    api = APIRouter(tags=["service"], default_response_class=Response)

    async def metrics() -> Response:
        """Prometheus text page of the ingress replica that answers."""
        return Response(ingress.metrics_page(), media_type=METRICS_TYPE)

    api.add_api_route(f"{prefix}/metrics", metrics)
    api.add_api_route("/metrics", metrics, include_in_schema=False)
    return api


async def _checks(ingress: "Ingress") -> dict[str, str]:
    try:
        return await ingress.ready()
    except NotReady:
        return {}


def _figures(replicas: Sequence[StreamStatus]) -> KafkaFigures:
    def total(name: str) -> int:
        return sum(replica.counts[name] for replica in replicas)

    acknowledged = total("processed") + total("dead_letters")
    time_ms = sum(replica.processing_s for replica in replicas) * 1_000
    return KafkaFigures(
        messages_consumed=total("consumed"),
        messages_processed=total("processed"),
        messages_failed=total("failed"),
        messages_retried=total("retried"),
        messages_sent_to_dlq=total("dead_letters"),
        total_processing_time_ms=round(time_ms, 3),
        avg_processing_time_ms=round(time_ms / max(1, acknowledged), 3),
        throughput_tps=round(sum(replica.rate for replica in replicas), 3),
        consumer_group_lag=sum(sum(replica.lag.values()) for replica in replicas),
        running=all(replica.connected for replica in replicas),
        consumer_threads=len(replicas),
        pending_batches=sum(replica.batches for replica in replicas),
        batch_queue_size=sum(replica.in_flight for replica in replicas),
    )
