"""The registry's HTTP application: its routes, and its errors in the one error body.

It runs in the Registry deployment, behind ``asgi/proxy.py``. The ingress builds it as well, for
its OpenAPI document only.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI, Request, Response
from starlette.routing import BaseRoute

from configs.schema.app import AppConfig
from deployments.asgi.error_handlers import add_error_handlers, error_answer
from deployments.asgi.json_body import PLAIN_BODY
from deployments.asgi.operation_ids import operation_id
from deployments.rollout.change_feed import ChangeFeed
from registry.api.dependencies import Backend, Changes
from registry.api.router import build_router
from registry.catalog.uploads import Uploads
from registry.errors import BackendUnavailable, LedgerDamaged, RegistryError
from registry.model_registry import ModelRegistry

_log = logging.getLogger("ray.serve")


def build_registry_app(config: AppConfig, registry: ModelRegistry, changes: Changes) -> FastAPI:
    """The application of all routes below ``/api/v1/models``."""
    uploads = Uploads(
        registry.store,
        registry.lifecycle,
        Path(config.registry.bundle_cache_dir),
        config.registry.max_artifact_bytes,
        config.registry.max_stored_bytes,
    )
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        dependencies=[PLAIN_BODY],
    )
    app.include_router(build_router(Backend(registry, uploads, changes, config.model.name)))
    add_error_handlers(app)
    app.add_exception_handler(RegistryError, _on_registry_error)
    return app


def registry_routes(config: AppConfig) -> Sequence[BaseRoute]:
    """The routes for the OpenAPI document; opens nothing."""
    registry = ModelRegistry(config.registry.tracking_uri, config.registry.artifact_root)
    return build_registry_app(config, registry, ChangeFeed()).routes


async def _on_registry_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RegistryError)
    if error.status < 500:
        return error_answer(error.status, error.code, error.message)
    # Addresses and paths belong in the log, not in the answer.
    _log.error("registry request failed: %s", error.message)
    if isinstance(error, LedgerDamaged):
        message = (
            "the audit ledger of this model is damaged, so no model is changed; predictions go on, "
            "and the log of the Registry deployment names what to restore"
        )
        return error_answer(503, error.code, message, headers={"retry-after": "60"})
    if isinstance(error, BackendUnavailable):
        message = "the model registry does not answer; predictions go on with what is loaded"
        return error_answer(503, error.code, message, headers={"retry-after": "5"})
    message = "the stored files are not those that were registered"
    return error_answer(error.status, error.code, message)
