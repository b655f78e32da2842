"""Everything but predicting: health, metrics, what is live, the OpenAPI document.

Plain FastAPI. The OpenAPI document also describes the two prediction routes, which the
ingress answers itself.
"""

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Path
from pydantic import BaseModel, Field
from starlette.routing import BaseRoute
from starlette.types import Scope

from configs.schema.app import AppConfig
from deployments.asgi.error_handlers import add_error_handlers
from deployments.asgi.json_body import PLAIN_BODY
from deployments.asgi.operation_ids import operation_id
from deployments.asgi.schemas import (
    PREFIX,
    ErrorBody,
    FeedbackReceipt,
    FeedbackRequest,
    Health,
    LiveModels,
    LiveVersion,
    MonitoringHealth,
    ServiceInfo,
)
from deployments.errors import InvalidInput, UnknownPrediction
from deployments.ingress.chaos import chaos_routes
from deployments.ingress.compat_routes import compatible_routes, metrics_routes
from deployments.ingress.console_page import CONSOLE, console_routes
from deployments.ingress.docs_page import docs_routes
from deployments.ingress.openapi import openapi_document
from deployments.versions import BACKENDS, ServedVersion

if TYPE_CHECKING:
    from deployments.ingress.deployment import Ingress

PREDICT = f"{PREFIX}/predict"
PREDICT_BATCH = f"{PREFIX}/predict/batch"
DOCS = f"{PREFIX}/docs"
# Their files are named relative to them: a slash more is another folder.
_PAGES = ("", CONSOLE, DOCS)


def without_last_slash(scope: Scope) -> Scope:
    """Returns the request as if no slash ended its path; pages redirect by themselves."""
    path = scope["path"]
    raw = scope.get("raw_path") or path.encode("utf-8")
    # An escaped slash is part of a name.
    if not (path.endswith("/") and raw.endswith(b"/")) or path[:-1] in _PAGES:
        return scope
    return {**scope, "path": path[:-1], "raw_path": raw[:-1]}


def build_app(
    config: AppConfig, ingress: "Ingress", documented: Sequence[BaseRoute] = ()
) -> FastAPI:
    """The FastAPI application of everything but predicting.

    Args:
        config: Names, switches, limits and whether callers need a credential.
        ingress: The replica that the routes belong to.
        documented: Routes that are answered elsewhere and belong into the OpenAPI document.
    """
    server, limits = config.server, config.limits
    docs = DOCS if server.docs_enabled else None
    schema = f"{PREFIX}/openapi.json" if server.docs_enabled else None
    release = version("sentigraph")
    app = FastAPI(
        title=server.app_name,
        version=release,
        docs_url=None,
        redoc_url=None,
        openapi_url=schema,
        # The redirect would name the host that the client sent.
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        dependencies=[PLAIN_BODY],
    )
    add_error_handlers(app)

    @app.get("/", tags=["service"])
    async def service_info() -> ServiceInfo:
        """What this is and where to look."""
        return ServiceInfo(
            service=server.app_name,
            version=release,
            status="operational",
            docs_url=docs,
            console_url=CONSOLE if server.console_enabled else None,
            health_url=f"{PREFIX}/health/ready",
        )

    if docs is not None:
        app.include_router(docs_routes(docs))
    if server.console_enabled:
        app.include_router(console_routes())
    app.include_router(_routes(config.topology, ingress))
    if server.metrics_enabled:
        app.include_router(metrics_routes(PREFIX, ingress))
    app.include_router(cache_routes(PREFIX, ingress))
    app.include_router(chaos_routes(PREFIX, config.chaos, ingress))
    app.include_router(
        compatible_routes(
            PREFIX, server.app_name, release, max_text_chars=limits.max_text_chars, ingress=ingress
        )
    )
    app.openapi = lambda: openapi_document(  # type: ignore[method-assign]
        app,
        limits,
        documented,
        predict=PREDICT,
        predict_batch=PREDICT_BATCH,
        guarded=config.access.required,
    )
    return app


def _routes(topology: str, ingress: "Ingress") -> APIRouter:
    api = APIRouter(prefix=PREFIX)

    @api.get("/models/live", tags=["models"])
    async def live_models() -> LiveModels:
        """The model versions that serve now."""
        routes = ingress.routes()
        challenger, shadow = routes.challenger, routes.shadow
        return LiveModels(
            champion=_live_version(routes.champion),
            challenger=None if challenger is None else _live_version(challenger.model),
            challenger_weight=0 if challenger is None else challenger.weight,
            shadow=None if shadow is None else _live_version(shadow.model),
            shadow_weight=0 if shadow is None else shadow.weight,
            epoch=routes.epoch,
            topology=topology,
        )

    @api.post("/feedback", tags=["predict"], status_code=201, responses={404: {"model": ErrorBody}})
    async def feedback(body: FeedbackRequest) -> FeedbackReceipt:
        """Says what would have been right; releases measure live accuracy by it."""
        found = await ingress.feedback(
            str(body.prediction_id), body.corrected_label, body.comments or ""
        )
        if found is None:
            raise UnknownPrediction(
                f"no answer {body.prediction_id} is known; it was made up, or is too old"
            )
        if found.correct is None:
            raise InvalidInput(
                f"version {found.version} has no such label; it has {', '.join(found.labels)}",
                {"field": "corrected_label"},
            )
        why = found.not_counted
        told = f"recorded for version {found.version}, and counts for no release: {why}"
        return FeedbackReceipt(
            status="known" if found.again else "recorded",
            message=told if why else f"counted for version {found.version}, once",
            not_counted=why or None,
            prediction_id=body.prediction_id,
            model_version=found.version,
            correct=found.correct,
        )

    @api.get("/health/live", tags=["health"])
    async def health_live() -> Health:
        """200 while the process answers."""
        return Health(status="alive")

    @api.get("/health/ready", tags=["health"], responses={503: {"model": ErrorBody}})
    async def health_ready() -> Health:
        """200 when a text can be classified now, tried on the real tokenizer and model."""
        return Health(status="ready", checks=await ingress.ready())

    @api.get("/monitoring/health", tags=["monitoring"])
    async def monitoring_health() -> MonitoringHealth:
        """Of each part that watches: whether it is on, and whether it works."""
        parts = await ingress.watching()
        return MonitoringHealth.model_validate(
            {name: {"enabled": on, "healthy": ok} for name, (on, ok) in parts.items()}
        )

    return api


def _live_version(live: ServedVersion) -> LiveVersion:
    return LiveVersion(
        name=live.name,
        version=live.version,
        digest=live.digest,
        labels=list(live.labels),
        task=live.head.task,
        activation=live.head.activation,
        thresholds=list(live.head.thresholds),
        backend=BACKENDS[live.kind],
        precision=live.precision,
        max_tokens=live.max_tokens,
        source=live.source,
    )


class FlushedEntries(BaseModel):
    """Answer to `DELETE /cache/{digest}`."""

    l1_entries: int = Field(ge=0, description="Removed from the memory of the ingress replicas.")
    l2_entries: int = Field(ge=0, description="Removed from the shared cache.")


def cache_routes(prefix: str, ingress: "Ingress") -> APIRouter:
    """The route; it needs the role `admin`."""
    api = APIRouter(prefix=prefix, tags=["cache"])
    unready: dict[int | str, dict[str, Any]] = {503: {"model": ErrorBody}}
    digest_of_bundle = Path(pattern="^[0-9a-f]{64}$", description="`model_digest` of its answers.")

    @api.delete("/cache/{digest}", responses=unready)
    async def flush_cache(digest: Annotated[str, digest_of_bundle]) -> FlushedEntries:
        """Forgets every remembered prediction of one bundle; the model answers again."""
        flushed = await ingress.flush(digest)
        return FlushedEntries(l1_entries=flushed.l1_entries, l2_entries=flushed.l2_entries)

    return api
