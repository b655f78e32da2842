"""The OpenAPI document describes what really comes back."""

from typing import Any

import httpx
import jsonschema
import pytest

from operations.local_stack.stack import Stack


@pytest.fixture(scope="module")
def document(client: httpx.Client) -> dict[str, Any]:
    return client.get("/openapi.json").json()  # type: ignore[no-any-return]


UNKNOWN = "6f1d1f5e-6b0c-4b5e-9d57-0a4f6f3f1d10"
ELSEWHERE = ("/api/v1/models", "/api/v1/batch")
CALLS = [
    ("POST", "/api/v1/predict", {"text": "a fine day"}, 200),
    ("POST", "/api/v1/predict", {"text": ""}, 422),
    ("POST", "/api/v1/predict", [], 422),
    ("POST", "/api/v1/predict/batch", {"texts": ["a fine day", ""]}, 200),
    ("POST", "/api/v1/predict/batch", {"texts": []}, 422),
    ("POST", "/api/v1/feedback", {"prediction_id": UNKNOWN, "corrected_label": "POSITIVE"}, 404),
    ("GET", "/api/v1/models/live", None, 200),
    ("GET", "/api/v1/health/live", None, 200),
    ("GET", "/api/v1/health/ready", None, 200),
    ("GET", "/api/v1/health", None, 200),
    ("GET", "/api/v1/health/details", None, 200),
    ("GET", "/api/v1/ready", None, 200),
    ("GET", "/api/v1/model-info", None, 200),
    ("GET", "/", None, 200),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), CALLS)
def test_answers_match_their_schema_without_extra_fields(
    stack: Stack,
    client: httpx.Client,
    document: dict[str, Any],
    method: str,
    path: str,
    body: object,
    status: int,
) -> None:
    answer = client.request(method, f"{stack.url}{path}", json=body)
    assert answer.status_code == status
    operation = document["paths"][path][method.lower()]
    schema = operation["responses"][str(status)]["content"]["application/json"]["schema"]
    closed = _closed({**schema, "components": document["components"]})
    jsonschema.validate(answer.json(), closed, cls=jsonschema.Draft202012Validator)


def test_a_recorded_correction_matches_its_schema(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    answered = client.post("/predict", json={"text": "a fine day"}).json()
    body = {"prediction_id": answered["prediction_id"], "corrected_label": answered["label"]}
    answer = client.post("/feedback", json=body)
    assert (answer.status_code, answer.json()["correct"]) == (201, True)
    operation = document["paths"]["/api/v1/feedback"]["post"]
    schema = operation["responses"]["201"]["content"]["application/json"]["schema"]
    closed = _closed({**schema, "components": document["components"]})
    jsonschema.validate(answer.json(), closed, cls=jsonschema.Draft202012Validator)


def test_every_documented_path_is_called_above(document: dict[str, Any]) -> None:
    called = {(path, method.lower()) for method, path, _, _ in CALLS}
    documented = {(path, m) for path, item in document["paths"].items() for m in item}
    elsewhere = {call for call in documented - called if call[0].startswith(ELSEWHERE)}
    assert documented - called - elsewhere == {
        ("/api/v1/metrics", "get"),
        ("/api/v1/cache/{digest}", "delete"),  # tests/integration/test_cache_verbs.py
        ("/api/v1/kafka-metrics", "get"),  # tests/integration/test_stream.py
    }
    # They are called in tests/deployments/rollout/test_registry_routes.py and test_jobs.py.
    assert len(elsewhere) == 39 + 8


def test_no_route_takes_parameters_that_it_does_not_need(document: dict[str, Any]) -> None:
    names = {
        parameter["name"]
        for path, item in document["paths"].items()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
        if not path.startswith(ELSEWHERE)
    }
    assert names == {"X-Deadline-Ms", "X-Priority", "digest"}


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every object of fixed fields closed against further ones."""
    for value in schema.values():
        if isinstance(value, dict):
            _closed(value)
    if "properties" in schema and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    return schema
