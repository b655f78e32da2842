"""Operations of the OpenAPI document that FastAPI does not serve: predictions and ``/v2``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from configs.schema.app import LimitsConfig
from deployments.asgi.schemas import (
    BatchPrediction,
    BatchPredictRequest,
    ErrorBody,
    Prediction,
    PredictRequest,
)
from deployments.oip.routes import OIP
from deployments.oip.schemas import (
    InferenceAnswer,
    InferenceRequest,
    ModelMetadata,
    OipError,
    Ready,
    ServerLive,
    ServerMetadata,
)

_ERRORS = (400, 413, 415, 422, 500, 503, 504)
_HEADERS = ("X-Deadline-Ms", "X-Priority", "X-Routing-Key")
# Headers that a prediction honours, as components of the document.
PARAMETERS: dict[str, dict[str, Any]] = {
    "X-Deadline-Ms": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "Milliseconds after which the answer is worthless.",
    },
    "X-Priority": {
        "schema": {"type": "string", "enum": ["interactive", "bulk"]},
        "description": "Interactive texts go first. Default: interactive for one text, bulk for "
        "several.",
    },
    "X-Routing-Key": {
        "schema": {"type": "string", "minLength": 1},
        "description": "Requests with the same key are answered by the same version while a "
        "challenger has a share of them. Default: the texts themselves.",
    },
}


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation as the document needs it.

    Attributes:
        id: Never changes.
        path: With its parameters in braces.
        tag: Section of the document.
        answer: Body of a 200.
        request: Body of a POST; None for a GET.
        error: Body of a failure.
        statuses: Failures that are named.
    """

    id: str
    path: str
    tag: str
    answer: type[BaseModel]
    request: type[BaseModel] | None = None
    error: type[BaseModel] = ErrorBody
    statuses: tuple[int, ...] = _ERRORS

    def document(self, names: Mapping[type[BaseModel], str]) -> dict[str, Any]:
        """The operation in the document's words; ``names`` are those of the schemas."""

        def content(model: type[BaseModel]) -> dict[str, Any]:
            return {"application/json": {"schema": {"$ref": _ref(names[model])}}}

        parts = [part[1:-1] for part in self.path.split("/") if part.startswith("{")]
        parameters: list[dict[str, Any]] = [
            {"name": part, "in": "path", "required": True, "schema": {"type": "string"}}
            for part in parts
        ]
        operation: dict[str, Any] = {
            "tags": [self.tag],
            "summary": (self.answer.__doc__ or "").strip(),
            "operationId": self.id,
            "responses": {
                "200": {"description": "Answered.", "content": content(self.answer)},
                **{
                    str(status): {
                        "description": "See `error_code`.",
                        "content": content(self.error),
                    }
                    for status in self.statuses
                },
            },
        }
        if self.request is not None:
            parameters += [{"$ref": f"#/components/parameters/{name}"} for name in _HEADERS]
            operation["requestBody"] = {"required": True, "content": content(self.request)}
        return operation | ({"parameters": parameters} if parameters else {})

    @property
    def method(self) -> str:
        """Lower-case HTTP method."""
        return "get" if self.request is None else "post"


def _oip(id: str, path: str, answer: type[BaseModel], *statuses: int) -> Operation:
    return Operation(f"oip_{id}", f"{OIP}{path}", "oip", answer, None, OipError, statuses)


def raw_operations(predict: str, predict_batch: str) -> list[Operation]:
    """All of them; the two prediction routes have the given paths."""
    found = [
        Operation("predict", predict, "predict", Prediction, PredictRequest),
        Operation("predict_batch", predict_batch, "predict", BatchPrediction, BatchPredictRequest),
        _oip("server", "", ServerMetadata),
        _oip("live", "/health/live", ServerLive),
        _oip("ready", "/health/ready", Ready, 503),
    ]
    for start, path in (("", "/models/{name}"), ("version_", "/models/{name}/versions/{version}")):
        found += [
            _oip(f"{start}model", path, ModelMetadata, 404),
            _oip(f"{start}model_ready", f"{path}/ready", Ready, 404, 503),
            Operation(
                f"oip_{start}infer",
                f"{OIP}{path}/infer",
                "oip",
                InferenceAnswer,
                InferenceRequest,
                OipError,
                (*_ERRORS, 404),
            ),
        ]
    return found


def schemas(
    operations: list[Operation], limits: LimitsConfig
) -> tuple[dict[type[BaseModel], str], dict[str, Any]]:
    """Name of each body, and all schemas by name, with the limits that are set here."""
    bodies: set[type[BaseModel]] = {ErrorBody, OipError}
    for operation in operations:
        bodies |= {operation.answer, operation.request or operation.answer}
    ordered = sorted(bodies, key=lambda body: body.__name__)
    names, definitions = models_json_schema(
        [(body, "serialization") for body in ordered], ref_template=_ref("{model}")
    )
    found = definitions["$defs"]
    found["PredictRequest"]["properties"]["text"] |= {
        "minLength": 1,
        "maxLength": limits.max_text_chars,
        # What Python takes for white space, and regular expressions elsewhere do not.
        "pattern": r"[^\s\x1c-\x1f\x85]",
    }
    found["BatchPredictRequest"]["properties"]["texts"] |= {
        "minItems": 1,
        "maxItems": limits.max_batch_texts,
    }
    refs = {body: names[body, "serialization"]["$ref"].rpartition("/")[2] for body in ordered}
    return refs, found


def _ref(name: str) -> str:
    return f"#/components/schemas/{name}"
