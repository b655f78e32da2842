"""The OpenAPI document: FastAPI's, with the routes that it does not serve itself."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema
from starlette.routing import BaseRoute

from configs.schema.app import LimitsConfig
from deployments.asgi.schemas import (
    BatchPrediction,
    BatchPredictRequest,
    ErrorBody,
    Prediction,
    PredictRequest,
)

_ERRORS = (400, 413, 415, 422, 429, 500, 503, 504)


def openapi_document(
    app: FastAPI,
    limits: LimitsConfig,
    documented: Sequence[BaseRoute],
    *,
    predict: str,
    predict_batch: str,
) -> dict[str, Any]:
    """The document of ``app``, of ``documented`` and of the two prediction paths, made once."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    routes = [*app.routes, *documented]
    document = get_openapi(title=app.title, version=app.version, routes=routes)
    bodies = (PredictRequest, BatchPredictRequest, Prediction, BatchPrediction, ErrorBody)
    names, definitions = models_json_schema(
        [(body, "serialization") for body in bodies], ref_template="#/components/schemas/{model}"
    )
    schemas = definitions["$defs"]
    schemas["PredictRequest"]["properties"]["text"] |= {
        "minLength": 1,
        "maxLength": limits.max_text_chars,
        # What Python takes for white space, and regular expressions elsewhere do not.
        "pattern": r"[^\s\x1c-\x1f\x85]",
    }
    schemas["BatchPredictRequest"]["properties"]["texts"] |= {
        "minItems": 1,
        "maxItems": limits.max_batch_texts,
    }
    document["components"]["schemas"].update(schemas)
    refs = {body: names[body, "serialization"] for body in bodies}
    for path, request, answer in (
        (predict, PredictRequest, Prediction),
        (predict_batch, BatchPredictRequest, BatchPrediction),
    ):
        document["paths"][path] = {"post": _operation(refs, request, answer)}
    other = {"description": "Any other failure.", "content": _content(refs[ErrorBody])}
    for item in document["paths"].values():
        for operation in item.values():
            operation["responses"].setdefault("default", other)
    app.openapi_schema = document
    return document


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _operation(refs: dict[Any, Any], request: Any, answer: Any) -> dict[str, Any]:
    def content(model: Any) -> dict[str, Any]:
        return _content(refs[model])

    deadline = {
        "name": "X-Deadline-Ms",
        "in": "header",
        "required": False,
        "schema": {"type": "integer", "minimum": 1},
        "description": "Milliseconds after which the answer is worthless.",
    }
    priority = {
        "name": "X-Priority",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "enum": ["interactive", "bulk"]},
        "description": "Interactive texts go first. Default: interactive for one text, bulk for "
        "a batch.",
    }
    errors = {
        str(status): {"description": "See `error_code`.", "content": content(ErrorBody)}
        for status in _ERRORS
    }
    return {
        "tags": ["predict"],
        "summary": (answer.__doc__ or "").strip(),
        "operationId": request.__name__,
        "parameters": [deadline, priority],
        "requestBody": {"required": True, "content": content(request)},
        "responses": {
            "200": {"description": "Classified.", "content": content(answer)},
            **errors,
        },
    }
