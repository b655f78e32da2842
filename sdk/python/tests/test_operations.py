"""Every operation of the document has a method of both clients, with its path and its headers."""

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sentigraph_client import AsyncClient, Client, _models
from sentigraph_client._call import AsyncResource, Call, Operation, SyncResource

DOCUMENT: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "openapi.json").read_text(encoding="utf-8")
)
OPERATIONS = {
    operation["operationId"]: (method.upper(), path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
# Arguments that a method cannot do without, by the parameter's name.
ARGUMENTS: dict[str, Any] = {
    "metadata": {},
    "metrics": {"accuracy": 0.9},
    "texts": ["a"],
    "approve": True,
    "format": "bundle",
    "slot": "shadow",
    "into": "file",
    "file": "file",
}


def resources(client: Any) -> Iterator[Any]:
    yield client
    for value in vars(client).values():
        if isinstance(value, (SyncResource, AsyncResource)) and value is not client:
            yield value


def methods(client: Any) -> dict[str, tuple[Any, Operation[..., Any]]]:
    found = {}
    for resource in resources(client):
        for name in dir(type(resource)):
            member = getattr(type(resource), name)
            if isinstance(member, Operation) and member.id is not None:
                assert member.id not in found, f"two methods for {member.id}"
                found[member.id] = (resource, member)
    return found


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_every_operation_has_a_method(kind: Any) -> None:
    assert set(methods(kind())) == set(OPERATIONS)


def call_of(id: str) -> Call[Any]:
    resource, member = methods(Client())[id]
    signature = inspect.signature(member.function)
    needed = {
        name: ARGUMENTS.get(name, "x")
        for name, parameter in list(signature.parameters.items())[1:]
        if parameter.default is parameter.empty
    }
    flow = member.function(resource, **needed)
    step = next(flow)
    assert isinstance(step, Call)
    return step


@pytest.mark.parametrize("id", OPERATIONS)
def test_a_method_sends_what_the_document_says(id: str) -> None:
    method, pattern, operation = OPERATIONS[id]
    call = call_of(id)
    assert call.method == method
    sent, wanted = call.path.strip("/").split("/"), pattern.strip("/").split("/")
    assert len(sent) == len(wanted)
    assert all(a == b or b.startswith("{") for a, b in zip(sent, wanted, strict=True))
    parameters = {
        parameter.get("name") or parameter["$ref"].rpartition("/")[2]
        for parameter in operation.get("parameters", [])
    }
    assert set(call.query) <= parameters
    assert set(call.headers) <= parameters
    assert call.keyed is ("Idempotency-Key" in parameters)
    assert call.deadline is ("X-Deadline-Ms" in parameters)
    assert (call.json is not None or call.upload is not None) is ("requestBody" in operation)


def test_the_models_are_those_of_the_document() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert set(schemas) <= set(vars(_models)), "run `make sdk-models`"
    for name, schema in schemas.items():
        fields = getattr(_models, name).model_fields
        aliases = {field.alias or key for key, field in fields.items()}
        assert aliases == set(schema.get("properties", {})), f"{name}: run `make sdk-models`"
