"""The server: health, what is live, metrics, the cache."""

from sentigraph_client._call import AsyncResource, Call, SyncResource, filled, operation
from sentigraph_client._models import (
    FlushedEntries,
    Health,
    HealthDetails,
    HealthSummary,
    KafkaFigures,
    LiveModels,
    ModelFacts,
    Readiness,
    ServiceInfo,
)

_API = "/api/v1"


class _Server:
    @operation("service_info")
    def info(self) -> Call[ServiceInfo]:
        """What this is and where to look."""
        return Call("GET", "/", ServiceInfo)

    @operation("live_models")
    def live_models(self) -> Call[LiveModels]:
        """The model versions that serve now."""
        return Call("GET", f"{_API}/models/live", LiveModels)

    @operation("health_live")
    def alive(self) -> Call[Health]:
        """Returns while the process answers."""
        return Call("GET", f"{_API}/health/live", Health)

    @operation("health_ready")
    def checks(self) -> Call[Health]:
        """The state of each dependency; ``Unavailable`` while no text can be classified."""
        return Call("GET", f"{_API}/health/ready", Health)

    @operation("ready")
    def ready(self) -> Call[Readiness]:
        """Returns when a text can be classified now; else ``Unavailable``."""
        return Call("GET", f"{_API}/ready", Readiness)

    @operation("health")
    def health(self) -> Call[HealthSummary]:
        """Whether predictions can be made now."""
        return Call("GET", f"{_API}/health", HealthSummary)

    @operation("health_details")
    def health_details(self) -> Call[HealthDetails]:
        """Each component that predictions need or use."""
        return Call("GET", f"{_API}/health/details", HealthDetails)

    @operation("model_info")
    def model_info(self) -> Call[ModelFacts]:
        """What is known of the live version."""
        return Call("GET", f"{_API}/model-info", ModelFacts)

    @operation("metrics")
    def metrics(self) -> Call[str]:
        """Prometheus text page of the ingress replica that answers."""
        return Call("GET", f"{_API}/metrics", str)

    @operation("kafka_metrics")
    def kafka_metrics(self) -> Call[KafkaFigures]:
        """What comes and goes over Kafka."""
        return Call("GET", f"{_API}/kafka-metrics", KafkaFigures)

    @operation("flush_cache")
    def flush_cache(self, digest: str) -> Call[FlushedEntries]:
        """Forgets every remembered prediction of one bundle; needs the role `admin`."""
        path = filled(f"{_API}/cache/{{}}", digest)
        return Call("DELETE", path, FlushedEntries, repeatable=True)


class Server(_Server, SyncResource):
    """The server, for the sync client."""


class AsyncServer(_Server, AsyncResource):
    """The server, for the async client."""
