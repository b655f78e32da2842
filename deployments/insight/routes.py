"""Routes below ``/api/v1/monitoring``, and the application that answers them.

It runs in the Insight deployment; ``asgi/proxy.py`` brings requests there. The ingress builds it
too, without ever calling it, for the OpenAPI document.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Header, Query
from fastapi.responses import HTMLResponse
from starlette.routing import BaseRoute

from configs.schema.app import AppConfig
from deployments.asgi.error_handlers import add_error_handlers
from deployments.asgi.json_body import PLAIN_BODY
from deployments.asgi.operation_ids import operation_id
from deployments.asgi.schemas import PREFIX
from deployments.insight.explanations.routes import add_explanation_routes
from deployments.insight.feedback.routes import add_feedback_routes
from deployments.insight.kpis.routes import add_kpi_routes
from deployments.insight.page import HEADERS, page
from deployments.insight.schemas import (
    BaselineRequest,
    Changed,
    DriftCheck,
    DriftSummary,
    Events,
    ResetRequest,
)

if TYPE_CHECKING:
    # The ingress has these routes in its document, and no database.
    from deployments.insight.explanations.explainer import Explainer
    from deployments.insight.feedback.desk import FeedbackDesk
    from deployments.insight.kpis.desk import KpiDesk
    from deployments.insight.monitor import DriftMonitor

MONITORING = f"{PREFIX}/monitoring"
DRIFT = f"{MONITORING}/drift"
Digest = Annotated[
    str | None,
    Query(
        alias="model_digest",
        pattern="^[0-9a-f]{64}$",
        description="The version; the champion by default.",
    ),
]
Actor = Annotated[str, Header(alias="X-Actor", max_length=255, include_in_schema=False)]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=64, description="The id of the reference to replace."),
]
_HTML: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {"schema": {"type": "string"}}}}
}


@dataclass(frozen=True, slots=True)
class Parts:
    """What answers the routes.

    Attributes:
        champion: Digest of the version that is meant when none is named.
        served: Name of the model that is meant when none is named.
        monitor: Drift.
        desk: Feedback.
        reviewed: Called with an answer's id and label that releases may count.
        explainer: Explanations.
        kpis: Figures.
        backend: The champion's engine.
        quality: What feedback and drift add to the KPIs of quality; blocks.
    """

    champion: Callable[[], str]
    served: Callable[[], str]
    monitor: "Callable[[], DriftMonitor]"
    desk: "Callable[[], FeedbackDesk]"
    reviewed: Callable[[str, str], None]
    explainer: "Callable[[], Explainer]"
    kpis: "Callable[[], KpiDesk]"
    backend: Callable[[], str]
    quality: Callable[[], dict[str, Any]]


def build_insight_app(parts: Parts) -> FastAPI:
    """The application of all routes below ``MONITORING``."""
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        dependencies=[PLAIN_BODY],
    )
    api = APIRouter(prefix=DRIFT, tags=["monitoring"])
    _add_reading(api, parts.monitor, parts.champion)
    _add_changing(api, parts.monitor, parts.champion)
    app.include_router(api)
    watched = APIRouter(prefix=MONITORING, tags=["monitoring"])
    add_feedback_routes(watched, parts.desk, parts.champion, parts.served, parts.reviewed)
    add_explanation_routes(watched, parts.explainer)
    add_kpi_routes(watched, parts.kpis, parts.served, parts.backend, parts.quality)
    app.include_router(watched)
    add_error_handlers(app)
    return app


def insight_routes(_config: AppConfig) -> list[BaseRoute]:
    """The routes for the OpenAPI document; nothing is opened for them."""

    def nobody(*_: object) -> Any:
        raise AssertionError("these routes are documented here and answered elsewhere")

    return build_insight_app(Parts(*(nobody,) * len(fields(Parts)))).routes


def _add_reading(
    api: APIRouter, monitor: "Callable[[], DriftMonitor]", champion: Callable[[], str]
) -> None:
    @api.get("")
    async def drift_summary(model_digest: Digest = None) -> DriftSummary:
        """Which signals have left their reference, and since when."""
        return await asyncio.to_thread(monitor().summary, model_digest or champion())

    @api.get("/check")
    async def drift_check(model_digest: Digest = None) -> DriftCheck:
        """The latest texts beside the reference; changes nothing."""
        return await asyncio.to_thread(monitor().check, model_digest or champion())

    @api.get("/report", response_class=HTMLResponse, responses=_HTML)
    async def drift_report(model_digest: Digest = None) -> HTMLResponse:
        """The same as one HTML page without scripts."""
        report = await asyncio.to_thread(monitor().report, model_digest or champion())
        return HTMLResponse(page(*report), headers=HEADERS)

    @api.get("/events")
    async def drift_events(model_digest: Digest = None) -> Events:
        """What was reached, ended, reset and replaced, by whom and why."""
        return Events(events=await asyncio.to_thread(monitor().events, model_digest or champion()))


def _add_changing(
    api: APIRouter, monitor: "Callable[[], DriftMonitor]", champion: Callable[[], str]
) -> None:
    @api.post("/reset")
    async def reset_drift(
        body: ResetRequest | None = None, model_digest: Digest = None, x_actor: Actor = ""
    ) -> Changed:
        """Acknowledges every level: evidence begins anew."""
        asked = body or ResetRequest()
        digest = model_digest or champion()
        return await asyncio.to_thread(
            monitor().reset, digest, x_actor, asked.reason, relearn=asked.relearn
        )

    @api.post("/update-baseline")
    async def update_drift_baseline(
        body: BaselineRequest | None = None,
        model_digest: Digest = None,
        x_actor: Actor = "",
        if_match: IfMatch = None,
    ) -> Changed:
        """Takes the texts of the last 24 hours as what is usual."""
        asked = body or BaselineRequest()
        digest = model_digest or champion()
        return await asyncio.to_thread(
            monitor().update_baseline,
            digest,
            x_actor,
            asked.reason,
            force=asked.force,
            if_match=if_match,
        )
