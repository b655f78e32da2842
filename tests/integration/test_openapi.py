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
ELSEWHERE = ("/api/v1/models", "/api/v1/batch", "/api/v1/monitoring")
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
    ("GET", "/v2", None, 200),
    ("GET", "/v2/health/live", None, 200),
    ("GET", "/v2/health/ready", None, 200),
]
TENSOR = {"name": "text", "shape": [2], "datatype": "BYTES", "data": ["a fine day", "a mess"]}


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
    _check(answer, document, path, method.lower())


@pytest.mark.parametrize("version", ["", "/versions/{version}"])
def test_answers_of_the_inference_protocol_match_their_schema(
    stack: Stack, client: httpx.Client, document: dict[str, Any], version: str
) -> None:
    live = client.get("/models/live").json()["champion"]
    for action, body in (("", None), ("/ready", None), ("/infer", {"id": "7", "inputs": [TENSOR]})):
        path = f"/v2/models/{{name}}{version}{action}"
        method = "get" if body is None else "post"
        url = stack.url + path.format(name=live["name"], version=live["version"])
        answer = client.request(method, url, json=body)
        assert answer.status_code == 200
        _check(answer, document, path, method)


def test_a_recorded_correction_matches_its_schema(
    client: httpx.Client, document: dict[str, Any]
) -> None:
    answered = client.post("/predict", json={"text": "a fine day"}).json()
    body = {"prediction_id": answered["prediction_id"], "corrected_label": answered["label"]}
    answer = client.post("/feedback", json=body)
    assert (answer.status_code, answer.json()["correct"]) == (201, True)
    _check(answer, document, "/api/v1/feedback", "post")


def test_every_documented_path_is_called_above(document: dict[str, Any]) -> None:
    called = {(path, method.lower()) for method, path, _, _ in CALLS}
    documented = {(path, m) for path, item in document["paths"].items() for m in item}
    protocol = {call for call in documented - called if call[0].startswith("/v2/models/")}
    assert len(protocol) == 6  # test_answers_of_the_inference_protocol_match_their_schema
    called |= protocol
    elsewhere = {call for call in documented - called if call[0].startswith(ELSEWHERE)}
    assert documented - called - elsewhere == {
        ("/api/v1/metrics", "get"),
        ("/api/v1/cache/{digest}", "delete"),  # tests/integration/test_cache_verbs.py
        ("/api/v1/kafka-metrics", "get"),  # tests/integration/test_stream.py
    }
    # They are called in tests/deployments: rollout/test_registry_routes.py, jobs/test_jobs.py,
    # insight/test_routes.py.
    assert len(elsewhere) == 40 + 8 + 22


def test_no_route_takes_parameters_that_it_does_not_need(document: dict[str, Any]) -> None:
    names = {
        _resolved(parameter, document)["name"]
        for path, item in document["paths"].items()
        for operation in item.values()
        for parameter in operation.get("parameters", [])
        if not path.startswith(ELSEWHERE)
    }
    headers = {"X-Deadline-Ms", "X-Priority", "X-Routing-Key"}
    assert names == headers | {"digest", "name", "version"}


def _check(answer: httpx.Response, document: dict[str, Any], path: str, method: str) -> None:
    responses = document["paths"][path][method]["responses"]
    response = _resolved(responses[str(answer.status_code)], document)
    schema = response["content"]["application/json"]["schema"]
    closed = _closed({**schema, "components": document["components"]})
    jsonschema.validate(answer.json(), closed, cls=jsonschema.Draft202012Validator)
    described = {name.lower() for name in response["headers"]}
    assert described - {"retry-after"} <= set(answer.headers)


def _resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    reference = part.get("$ref")
    if reference is None:
        return part
    found: Any = document
    for name in reference.removeprefix("#/").split("/"):
        found = found[name]
    return found  # type: ignore[no-any-return]


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with every object of fixed fields closed against further ones."""
    for value in schema.values():
        if isinstance(value, dict):
            _closed(value)
    if "properties" in schema and "additionalProperties" not in schema:
        schema["additionalProperties"] = False
    return schema
