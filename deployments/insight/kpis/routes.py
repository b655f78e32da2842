"""Routes of KPIs below ``/api/v1/monitoring``."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from deployments.insight.kpis.schemas import (
    BusinessKpis,
    CostKpis,
    PerformanceKpis,
    QualityKpis,
    SloKpis,
)
from deployments.insight.model_name import ModelName, named

if TYPE_CHECKING:
    from deployments.insight.kpis.desk import KpiDesk

Percent = Annotated[float, Query(gt=0, lt=100, description="Percent of valid requests.")]
Milliseconds = Annotated[float, Query(gt=0, le=600_000, description="Milliseconds.")]


def add_kpi_routes(
    api: APIRouter,
    desk: "Callable[[], KpiDesk]",
    served: Callable[[], str],
    backend: Callable[[], str],
    quality: Callable[[], dict[str, Any]],
) -> None:
    """Adds the routes.

    Args:
        api: The router of ``/api/v1/monitoring``.
        desk: What does the work.
        served: Name of the model that is meant when none is named.
        backend: The champion's engine.
        quality: What feedback and drift know; blocks.
    """

    async def meant(model: str | None) -> str:
        return await named(model, served(), desk().check_name)

    @api.get("/kpis/business")
    async def kpis_business(model: ModelName = None) -> BusinessKpis:
        """How many texts were answered, and with what."""
        return await asyncio.to_thread(desk().business, await meant(model))

    @api.get("/kpis/quality")
    async def kpis_quality(model: ModelName = None) -> QualityKpis:
        """How surely texts were answered, and how rightly."""
        asked, name = desk(), await meant(model)
        more = quality if name == served() else _nothing_known
        return await asyncio.to_thread(lambda: asked.quality(name, **more()))

    @api.get("/kpis/cost")
    async def kpis_cost(model: ModelName = None) -> CostKpis:
        """What answers cost, and what caches saved."""
        return await asyncio.to_thread(desk().cost, await meant(model))

    @api.get("/kpis/performance")
    async def kpis_performance(model: ModelName = None) -> PerformanceKpis:
        """How fast requests were answered."""
        name = await meant(model)
        engine = backend() if name == served() else ""
        return await asyncio.to_thread(desk().performance, name, engine)

    @api.get("/kpis/slo")
    async def kpis_slo(
        availability_target: Percent = 99.9,
        latency_p95_target_ms: Milliseconds = 100,
        latency_p99_target_ms: Milliseconds = 250,
    ) -> SloKpis:
        """Whether the service keeps objectives, what is left of their budgets, how fast that goes.

        Requests count whichever model answered: who waited did not ask for one.
        """
        return await asyncio.to_thread(
            desk().slo, availability_target, latency_p95_target_ms, latency_p99_target_ms
        )


def _nothing_known() -> dict[str, Any]:
    return {"live_accuracy": None, "drift_levels": {}}
