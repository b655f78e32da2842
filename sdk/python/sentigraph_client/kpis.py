"""Figures: what was answered, how surely, how fast, at what cost; objectives; models; health."""

from sentigraph_client._call import AsyncResource, Call, SyncResource, filled, given, operation
from sentigraph_client._models import (
    BusinessKpis,
    CostKpis,
    MonitoredModels,
    MonitoredVersions,
    MonitoringHealth,
    PerformanceKpis,
    ProductionVersion,
    QualityKpis,
    SloKpis,
)

_MONITORING = "/api/v1/monitoring"


class _Kpis:
    @operation("kpis_business")
    def business(self, *, model: str | None = None) -> Call[BusinessKpis]:
        """How many texts were answered, and with what."""
        query = given(model=model)
        return Call("GET", f"{_MONITORING}/kpis/business", BusinessKpis, query=query)

    @operation("kpis_quality")
    def quality(self, *, model: str | None = None) -> Call[QualityKpis]:
        """How surely texts were answered, and how rightly."""
        query = given(model=model)
        return Call("GET", f"{_MONITORING}/kpis/quality", QualityKpis, query=query)

    @operation("kpis_cost")
    def cost(self, *, model: str | None = None) -> Call[CostKpis]:
        """What answers cost, and what caches saved."""
        query = given(model=model)
        return Call("GET", f"{_MONITORING}/kpis/cost", CostKpis, query=query)

    @operation("kpis_performance")
    def performance(self, *, model: str | None = None) -> Call[PerformanceKpis]:
        """How fast requests were answered."""
        query = given(model=model)
        return Call("GET", f"{_MONITORING}/kpis/performance", PerformanceKpis, query=query)

    @operation("kpis_slo")
    def slo(
        self,
        *,
        availability_target: float | None = None,
        latency_p95_target_ms: float | None = None,
        latency_p99_target_ms: float | None = None,
    ) -> Call[SloKpis]:
        """Whether objectives are kept, what is left of their budgets, how fast that goes."""
        query = given(
            availability_target=availability_target,
            latency_p95_target_ms=latency_p95_target_ms,
            latency_p99_target_ms=latency_p99_target_ms,
        )
        return Call("GET", f"{_MONITORING}/kpis/slo", SloKpis, query=query)

    @operation("monitoring_health")
    def health(self) -> Call[MonitoringHealth]:
        """Of each part that watches: whether it is on, and whether it works."""
        return Call("GET", f"{_MONITORING}/health", MonitoringHealth)

    @operation("monitored_models")
    def models(
        self, *, filter_string: str | None = None, max_results: int | None = None
    ) -> Call[MonitoredModels]:
        """Registered models with all versions and their stages."""
        query = given(filter_string=filter_string, max_results=max_results)
        return Call("GET", f"{_MONITORING}/models", MonitoredModels, query=query)

    @operation("production_version")
    def production(self, model_name: str) -> Call[ProductionVersion]:
        """The version of a model that serves."""
        path = filled(f"{_MONITORING}/models/{{}}/production", model_name)
        return Call("GET", path, ProductionVersion)

    @operation("monitored_versions")
    def versions(self, model_name: str) -> Call[MonitoredVersions]:
        """Every version of a model, and those in production."""
        path = filled(f"{_MONITORING}/models/{{}}/versions", model_name)
        return Call("GET", path, MonitoredVersions)


class Kpis(_Kpis, SyncResource):
    """Figures, for the sync client."""


class AsyncKpis(_Kpis, AsyncResource):
    """Figures, for the async client."""
