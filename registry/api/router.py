"""All routes of the registry, in the order in which they are matched."""

from fastapi import APIRouter

from registry.api.aliases import alias_routes
from registry.api.artifacts import artifact_routes
from registry.api.comparisons import comparison_routes
from registry.api.dependencies import Backend
from registry.api.evaluations import evaluation_routes
from registry.api.models import model_routes
from registry.api.monitoring import monitoring_routes
from registry.api.releases import release_routes
from registry.api.stages import stage_routes
from registry.api.versions import version_routes


def build_router(backend: Backend) -> APIRouter:
    """The registry's routes, below ``/api/v1/models`` and ``/api/v1/monitoring/models``."""
    api = APIRouter(tags=["models"])
    parts = (
        model_routes,
        version_routes,
        stage_routes,
        release_routes,
        alias_routes,
        evaluation_routes,
        comparison_routes,
        artifact_routes,
    )
    for routes in parts:
        api.include_router(routes(backend))
    whole = APIRouter()
    whole.include_router(api)
    whole.include_router(monitoring_routes(backend))
    return whole
