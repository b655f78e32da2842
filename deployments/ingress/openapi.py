"""The OpenAPI document: FastAPI's, with the routes that it does not serve itself.

Every operation states who may call it (``access/roles.py``), the one error body, and the headers
of its answers. ``sentigraph openapi`` writes the same document without a server.
"""

from collections.abc import Sequence
from typing import Any, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.routing import BaseRoute

from configs.schema.access import Role
from configs.schema.app import LimitsConfig
from deployments.access.roles import needed
from deployments.asgi.schemas import ErrorBody
from deployments.ingress.raw_operations import PARAMETERS, raw_operations, schemas

_SECURITY = {
    "api_key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "A token of the identity provider of `access.jwt`.",
    },
}
_TEXT = {"type": "string"}
_HEADERS: dict[str, dict[str, Any]] = {
    "X-Correlation-ID": {
        "schema": _TEXT,
        "description": "The request's own, or a new UUID; log lines and error bodies have it.",
    },
    "X-Inference-Time-Ms": {
        "schema": {"type": "number"},
        "description": "Milliseconds from the request to the first byte of the answer.",
    },
    "Server-Timing": {"schema": _TEXT, "description": "Milliseconds of each stage."},
    "X-Model-Backend": {"schema": _TEXT, "description": "Engine that answered."},
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 0},
        "description": "Seconds after which the same request may be answered.",
    },
    "WWW-Authenticate": {"schema": _TEXT, "description": "What credentials there are."},
}
_EVERY_ANSWER = ("X-Correlation-ID", "X-Inference-Time-Ms")
_ANSWER_HEADERS = {
    "401": ("WWW-Authenticate",),
    "429": ("Retry-After",),
    "503": ("Retry-After",),
    "prediction": ("Server-Timing", "X-Model-Backend"),
}
# What FastAPI supposes of a 422; here it has the one error body as well.
_UNUSED_SCHEMAS = ("HTTPValidationError", "ValidationError")


def openapi_document(
    app: FastAPI,
    limits: LimitsConfig,
    documented: Sequence[BaseRoute],
    *,
    predict: str,
    predict_batch: str,
    guarded: bool,
) -> dict[str, Any]:
    """The document of ``app``, of ``documented`` and of the raw routes, made once.

    Args:
        app: What FastAPI serves here.
        limits: Stated with the prediction routes.
        documented: Routes that other deployments answer.
        predict: Path of one text.
        predict_batch: Path of several.
        guarded: Whether callers need a credential.
    """
    if app.openapi_schema is not None:
        return app.openapi_schema
    document = get_openapi(
        title=app.title,
        version=app.version,
        routes=[*app.routes, *documented],
        servers=[{"url": "/"}],
    )
    operations = raw_operations(predict, predict_batch)
    names, definitions = schemas(operations, limits)
    for operation in operations:
        item = document["paths"].setdefault(operation.path, {})
        item[operation.method] = operation.document(names)
    components = document["components"]
    components["schemas"].update(definitions)
    for name in _UNUSED_SCHEMAS:
        components["schemas"].pop(name, None)
    components["securitySchemes"] = _SECURITY
    components["headers"] = _HEADERS
    components["parameters"] = {
        name: {"name": name, "in": "header", "required": False, **facts}
        for name, facts in PARAMETERS.items()
    }
    components["responses"] = _failures(names[ErrorBody])
    for path, item in document["paths"].items():
        for method, operation in item.items():
            _state_access(operation, needed(method.upper(), path), guarded=guarded)
            _state_answers(operation, predicts=path in (predict, predict_batch))
    app.openapi_schema = document
    return document


def _failures(error_body: str) -> dict[str, Any]:
    """The answers that many operations share; ``error_body`` is the name of their schema."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{error_body}"}}}
    described = {
        "401": "No credential, or one that is not valid.",
        **{f"403-{role}": f"The caller lacks the role `{role}`." for role in get_args(Role)},
        "422": "Not what the route takes.",
        "429": "A limit of the caller or of the server.",
        "default": "Any other failure.",
    }
    return {
        name: {"description": why, "content": content, "headers": _headers(name)}
        for name, why in described.items()
    }


def _headers(status: str) -> dict[str, Any]:
    names = (*_EVERY_ANSWER, *_ANSWER_HEADERS.get(status, ()))
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _failure(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/responses/{name}"}


def _state_access(operation: dict[str, Any], need: str, *, guarded: bool) -> None:
    """Adds who may call, and how others are refused."""
    credentials: list[dict[str, list[str]]] = [{name: []} for name in _SECURITY]
    public = need not in get_args(Role)
    operation["security"] = credentials if guarded and not public else [{}, *credentials]
    operation["responses"]["401"] = _failure("401")
    if not public:
        operation["responses"] |= {"403": _failure(f"403-{need}"), "429": _failure("429")}


def _state_answers(operation: dict[str, Any], *, predicts: bool) -> None:
    """Adds the error body where none is stated, and the headers of each answer."""
    answers = operation["responses"]
    if "HTTPValidationError" in str(answers.get("422")):
        answers["422"] = _failure("422")
    answers["default"] = _failure("default")
    for status, answer in answers.items():
        if "$ref" not in answer:
            answer["headers"] = _headers(status)
    if predicts:
        answers["200"]["headers"] |= _headers("prediction")
    operation["responses"] = dict(sorted(answers.items()))
