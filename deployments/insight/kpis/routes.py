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

if TYPE_CHECKING:
    from deployments.insight.kpis.desk import KpiDesk

Percent = Annotated[float, Query(gt=0, lt=100, description="Percent of valid requests.")]
Milliseconds = Annotated[float, Query(gt=0, le=600_000, description="Milliseconds.")]


def add_kpi_routes(
    api: APIRouter,
    desk: "Callable[[], KpiDesk]",
    backend: Callable[[], str],
    quality: Callable[[], dict[str, Any]],
) -> None:
    """Adds the routes.

    Args:
        api: The router of ``/api/v1/monitoring``.
        desk: What does the work.
        backend: The champion's engine.
        quality: What feedback and drift know; blocks.
    """

    @api.get("/kpis/business")
    async def kpis_business() -> BusinessKpis:
        """How many texts were answered, and with what."""
        return await asyncio.to_thread(desk().business)

    @api.get("/kpis/quality")
    async def kpis_quality() -> QualityKpis:
        """How surely texts were answered, and how rightly."""
        asked = desk()
        return await asyncio.to_thread(lambda: asked.quality(**quality()))

    @api.get("/kpis/cost")
    async def kpis_cost() -> CostKpis:
        """What answers cost, and what caches saved."""
        return await asyncio.to_thread(desk().cost)

    @api.get("/kpis/performance")
    async def kpis_performance() -> PerformanceKpis:
        """How fast requests were answered."""
        return await asyncio.to_thread(desk().performance, backend())

    @api.get("/kpis/slo")
    async def kpis_slo(
        availability_target: Percent = 99.9,
        latency_p95_target_ms: Milliseconds = 100,
        latency_p99_target_ms: Milliseconds = 250,
    ) -> SloKpis:
        """Whether objectives are kept, what is left of their budgets, how fast that goes."""
        return await asyncio.to_thread(
            desk().slo, availability_target, latency_p95_target_ms, latency_p99_target_ms
        )
