"""Everything but predicting: health, metrics, what is live, the OpenAPI document.

Plain FastAPI. The OpenAPI document also describes the two prediction routes, which the
ingress answers itself.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from configs.schema import LimitsConfig, ServerConfig
from deployments.cache_routes import cache_routes
from deployments.compatible_routes import compatible_routes, metrics_routes
from deployments.errors import (
    InternalError,
    InvalidInput,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    RequestError,
    UnknownPrediction,
)
from deployments.live import BACKENDS, LiveModel
from deployments.openapi import openapi_document
from deployments.schemas import (
    ErrorBody,
    FeedbackReceipt,
    FeedbackRequest,
    Health,
    LiveModels,
    LiveVersion,
    ServiceInfo,
)
from deployments.service import Service

PREFIX = "/api/v1"
PREDICT = f"{PREFIX}/predict"
PREDICT_BATCH = f"{PREFIX}/predict/batch"


def build_app(
    config: ServerConfig,
    limits: LimitsConfig,
    topology: str,
    service: Service,
    documented: Sequence[BaseRoute] = (),
) -> FastAPI:
    """The FastAPI application of everything but predicting.

    Args:
        config: Names and switches.
        limits: Stated in the OpenAPI document.
        topology: Shown with the live versions.
        service: The ingress.
        documented: Routes that are answered elsewhere and belong into the OpenAPI document.
    """
    docs = f"{PREFIX}/docs" if config.docs_enabled else None
    schema = f"{PREFIX}/openapi.json" if config.docs_enabled else None
    release = version("sentigraph")
    app = FastAPI(
        title=config.app_name, version=release, docs_url=docs, redoc_url=None, openapi_url=schema
    )
    add_error_handlers(app)

    @app.get("/", tags=["service"])
    async def root() -> ServiceInfo:
        """What this is and where to look."""
        return ServiceInfo(
            service=config.app_name,
            version=release,
            status="operational",
            docs_url=docs,
            health_url=f"{PREFIX}/health/ready",
        )

    app.include_router(_routes(topology, service))
    if config.metrics_enabled:
        app.include_router(metrics_routes(PREFIX, service))
    app.include_router(cache_routes(PREFIX, service))
    app.include_router(
        compatible_routes(
            PREFIX, config.app_name, release, max_text_chars=limits.max_text_chars, service=service
        )
    )
    app.openapi = lambda: openapi_document(  # type: ignore[method-assign]
        app, limits, documented, predict=PREDICT, predict_batch=PREDICT_BATCH
    )
    return app


def _routes(topology: str, service: Service) -> APIRouter:
    api = APIRouter(prefix=PREFIX)

    @api.get("/models/live", tags=["models"])
    async def models_live() -> LiveModels:
        """The model versions that serve now."""
        routes = service.routes()
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
        found = await service.feedback(str(body.prediction_id), body.corrected_label)
        if found is None:
            raise UnknownPrediction(
                f"no answer {body.prediction_id} is remembered; only the latest ones are"
            )
        if found.correct is None:
            raise InvalidInput(
                f"version {found.version} has no such label; it has {', '.join(found.labels)}",
                {"field": "corrected_label"},
            )
        return FeedbackReceipt(
            status="known" if found.again else "recorded",
            message=f"counted for version {found.version}, once",
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
        return Health(status="ready", checks=await service.ready())

    return api


def _live_version(live: LiveModel) -> LiveVersion:
    return LiveVersion(
        name=live.name,
        version=live.version,
        digest=live.digest,
        labels=list(live.labels),
        backend=BACKENDS[live.kind],
        precision=live.precision,
        max_tokens=live.max_tokens,
        source=live.source,
    )


def error_answer(
    request: Request,
    status: int,
    code: str,
    message: str,
    *,
    headers: Mapping[str, str] | None = None,
    context: Mapping[str, object] | None = None,
) -> Response:
    """The one error body as an answer."""
    body = ErrorBody(
        error_code=code,
        error_message=message,
        status_code=status,
        correlation_id=request.scope["sentigraph.exchange"].correlation_id,
        context=dict(context or {}),
    )
    return JSONResponse(body.model_dump(mode="json"), status, headers)


def add_error_handlers(app: FastAPI) -> None:
    """Makes every failure of an application end in the one error body."""

    async def on_request_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        return error_answer(
            request,
            error.status,
            error.code,
            error.message,
            headers=error.headers(),
            context=error.context,
        )

    def via(convert: Callable[[Any, Request], RequestError]) -> Callable[..., Awaitable[Response]]:
        async def on_error(request: Request, error: Exception) -> Response:
            return await on_request_error(request, convert(error, request))

        return on_error

    app.add_exception_handler(RequestError, on_request_error)
    app.add_exception_handler(HTTPException, via(_from_http))
    app.add_exception_handler(RequestValidationError, via(_from_validation))


def _from_http(error: HTTPException, request: Request) -> RequestError:
    if error.status_code == 404:
        return NotFound("no such route; see the OpenAPI document for those that exist")
    if error.status_code == 405:
        allow = ", ".join(sorted(_allowed(request)))
        return MethodNotAllowed(f"{request.method} is not allowed here", {"allow": allow})
    if 400 <= error.status_code < 500:
        # Bytes that are no UTF-8, a form that is none.
        return MalformedBody("the body cannot be read as what its Content-Type says")
    return InternalError("the request could not be answered")


def _allowed(request: Request) -> set[str]:
    """Methods of the path; Starlette itself names those of its first route only.

    Those of a pattern that matches too are left out: nothing answers to `/models/search` as a name.
    """
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    routes = [
        route for route in iter_route_contexts(request.app.routes) if route.path_regex.match(path)
    ]
    return {
        method for route in routes if route.path == routes[0].path for method in route.methods or ()
    }


def _from_validation(error: RequestValidationError, request: Request) -> RequestError:
    problems = [
        {"field": ".".join(map(str, item["loc"])), "problem": item["msg"]}
        for item in error.errors()[:5]
    ]
    return InvalidInput("; ".join(f"{p['field']}: {p['problem']}" for p in problems))
