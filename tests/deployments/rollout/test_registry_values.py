"""Values that callers store, records that cannot be shown, and changes of a part."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from registry_api import ANA, META, MODELS, Api, promote, ready, version

from configs.schema.app import AppConfig
from deployments.rollout.registry_routes import registry_routes
from registry.backend.tags import METADATA_TAG
from registry.model_registry import ModelRegistry

pytestmark = pytest.mark.slow
NESTED = "[" * 300 + "]" * 300
BAD = {
    "nan": "NaN",
    "infinite": "1e999",
    "surrogate": r'"\ud83d"',
    "surrogate in a key": r'{"\ud83d": 1}',
    "nested": NESTED,
    "integer": "123456789012345678901234567890",
    "nul": r'"a\u0000"',
}
FIGURES = {"evaluation_name": "e", "dataset_name": "gold", "metrics": {"accuracy": 0.9}}


def sent(api: Api, method: str, path: str, body: dict[str, Any], bad: str) -> Any:
    content = json.dumps(body).replace('"BAD"', bad).encode()
    return api(method, path, content=content, headers={"content-type": "application/json", **ANA})


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_values_that_cannot_be_kept_are_422(api: Api, model: str, bad: str) -> None:
    version(api, model)
    metadata = {"metadata": {**META, "hyperparameters": {"x": "BAD"}}}
    evaluation = {**FIGURES, "metadata": {"x": ["BAD"]}}
    for method, path, body in (
        ("POST", f"/{model}/versions", {"version": "2.0.0", **metadata}),
        ("PATCH", f"/{model}/versions/1/metadata", metadata),
        ("POST", f"/{model}/versions/1/evaluations", evaluation),
    ):
        answer = sent(api, method, path, body, bad)
        assert (answer.status_code, answer.json()["error_code"]) == (422, "E1001"), answer.text
    assert api("GET", f"/{model}/versions/1/evaluations").json() == []


@pytest.mark.parametrize("bad", [r'"\ud83d"', "NaN"])
@pytest.mark.parametrize("field", ["description", "author", "unknown", "performance_metrics"])
def test_text_that_cannot_be_encoded_is_422(api: Api, model: str, field: str, bad: str) -> None:
    body = {"version": "1.0.0", "metadata": {**META, field: "BAD"}}
    answer = sent(api, "POST", f"/{model}/versions", body, bad)
    assert (answer.status_code, answer.json()["error_code"]) == (422, "E1001")
    odd = sent(api, "PATCH", f"/{model}", {"KEY": 1}, bad).request
    answer = api("PATCH", f"/{model}", content=odd.content.replace(b"KEY", rb"\ud83d"))
    assert answer.status_code == 422


def test_a_broken_record_hides_no_list_and_can_be_deleted(
    api: Api, model: str, registry: ModelRegistry
) -> None:
    version(api, model)
    version(api, model, "2.0.0")
    made = api("POST", f"/{model}/versions/1/evaluations", json=FIGURES).json()
    kept = {**FIGURES, "evaluation_name": "kept", "metrics": {"f1": 0.5}}
    api("POST", f"/{model}/versions/1/evaluations", json=kept)
    client = registry.store.mlflow.client()
    client.set_tag(made["id"], METADATA_TAG, f'{{"x": {NESTED}}}')
    client.set_model_version_tag(model, "1", "hyperparameters", f'{{"x": {NESTED}}}')
    client.set_model_version_tag(model, "1", "tags", r'["\ud83d"]')
    client.set_model_version_tag(model, "1", "performance_metrics", '{"accuracy": NaN}')

    for path in ("", f"/{model}", f"/{model}/versions", f"/search?text={model}", f"/{model}/slots"):
        assert api("GET", path).status_code == 200, path
    newer, broken = api("GET", f"/{model}").json()["versions"]
    assert (newer["broken"], broken["metadata"]["hyperparameters"]) == ([], {})
    assert broken["broken"] == [
        "tags: text has a lone surrogate, which is no character",
        "hyperparameters: values are nested deeper than 32 levels",
        "performance_metrics: numbers must be finite",
    ]
    evaluations = {e["id"]: e for e in broken["evaluations"]}
    assert evaluations[made["id"]]["broken"] == [
        "metadata: values are nested deeper than 32 levels"
    ]

    path = f"/{model}/versions/1/evaluations"
    assert api("DELETE", f"{path}/nosuch").status_code == 404
    assert api("DELETE", f"/{model}/versions/2/evaluations/{made['id']}").status_code == 404
    assert api("DELETE", f"{path}/{made['id']}").status_code == 204
    assert [e["evaluation_name"] for e in api("GET", path).json()] == ["kept"]
    measured = registry.evaluations.measurements(registry.catalog.version(model, "1"))
    assert [m.metric for m in measured] == ["f1"]
    assert registry.ledger.events(model)[-1].action == "delete_evaluation"
    assert api("DELETE", f"/{model}/versions/1").status_code == 204


@pytest.mark.parametrize("path", ["/a%00b", "/search?text=a%00b", "/{}/versions/%00"])
def test_nothing_is_asked_for_by_a_name_with_a_nul(api: Api, model: str, path: str) -> None:
    answer = api("GET", path.format(model))
    assert (answer.status_code, answer.json()["error_code"]) == (422, "E1001")


@pytest.mark.parametrize("number", [2**31, 2**63 - 1, 2**63, 10**99])
def test_a_number_that_no_version_has_is_404(api: Api, model: str, number: int) -> None:
    version(api, model)
    assert api("GET", f"/{model}/versions/{number}").status_code == 404
    assert promote(api, model, str(number), "staging").status_code == 404
    slot = {"version": str(number)}
    assert api("PUT", f"/{model}/slots/shadow", json=slot).status_code == 404


def test_every_patch_changes_what_it_names(
    api: Api, model: str, config: AppConfig, tmp_path: Path
) -> None:
    """Of the three PATCH routes one replaces by specification, and it says so."""
    app = FastAPI(routes=list(registry_routes(config)))
    paths = app.openapi()["paths"]
    assert {path for path, methods in paths.items() if "patch" in methods} == {
        f"{MODELS}/{{model_id}}",
        f"{MODELS}/{{model_id}}/versions/{{version}}/status",
        f"{MODELS}/{{model_id}}/versions/{{version}}/metadata",
    }
    rules = [{"metric": "accuracy", "threshold": 0.8}]
    first = {"rules": rules, "approvals": 1, "release": {"min_texts": 7, "canary_weights": [0.5]}}
    api("PATCH", f"/{model}", json={"policy": first})
    api("PATCH", f"/{model}", json={"policy": {"release": {"min_step_s": 5}}})
    found = api("GET", f"/{model}").json()
    policy, release = found["policy"], found["policy"]["release"]
    assert (policy["rules"][0]["threshold"], policy["approvals"]) == (0.8, 1)
    assert (release["min_texts"], release["canary_weights"], release["min_step_s"]) == (7, [0.5], 5)
    assert found["description"] == "Tells moods apart."
    api("PATCH", f"/{model}", json={"description": "new", "policy": {"rules": []}})
    found = api("GET", f"/{model}").json()
    assert (found["policy"]["rules"], found["policy"]["approvals"]) == ([], 1)
    reasons = [
        e["reason"] for e in api("GET", f"/{model}/audit?action=update_model").json()["entries"]
    ]
    assert reasons == [
        "changed: description, policy.rules",
        "changed: policy.release.min_step_s",
        "changed: policy.rules, policy.approvals, policy.release.canary_weights, "
        "policy.release.min_texts",
    ]

    ready(api, model, "1.0.0", tmp_path, b"one")
    before = api("GET", f"/{model}/versions/1").json()
    after = api("PATCH", f"/{model}/versions/1/status", json={"status": "archived"}).json()
    kept = ("metadata", "digest", "labels", "version")
    assert {key: after[key] for key in kept} == {key: before[key] for key in kept}
    replaced = api("PATCH", f"/{model}/versions/1/metadata", json={"metadata": {"author": "bo"}})
    assert (replaced.json()["metadata"]["author"], replaced.json()["metadata"]["tags"]) == (
        "bo",
        [],
    )


def test_a_staged_version_is_archived_before_it_is_deleted(
    api: Api, model: str, tmp_path: Path
) -> None:
    ready(api, model, "1.0.0", tmp_path, b"one")
    refused = api("DELETE", f"/{model}/versions/1")
    assert (refused.status_code, "archive it first" in refused.text) == (409, True)
    assert promote(api, model, "1.0.0", "archived").status_code == 200
    assert api("DELETE", f"/{model}/versions/1").status_code == 204


def test_an_approval_of_ones_own_version_says_that_it_may_not_count(
    api: Api, model: str, tmp_path: Path
) -> None:
    ready(api, model, "1.0.0", tmp_path, b"one")
    path, yes = f"/{model}/versions/1/approval", {"approve": True}
    own = api("POST", path, json=yes).json()
    assert "does not count for a promotion by ana" in own["note"]
    assert api("POST", path, json={"approve": False}).json()["note"] is None
    assert api("POST", path, json=yes, headers={"X-Actor": "bo"}).json()["note"] is None


def test_versions_are_found_by_algorithm_dataset_and_hyperparameter(api: Api, model: str) -> None:
    first = {"optimizer": "adam", "epochs": 3, "frozen": True, "odd name": 0.5}
    version(api, model, algorithm="bert", dataset_name="gold", hyperparameters=first)
    version(
        api, model, "2.0.0", algorithm="gru", hyperparameters={"epochs": 10, "optimizer": "sgd"}
    )

    def numbers(query: str) -> list[int]:
        answer = api("GET", f"/search?text={model}&{query}&sort=version")
        assert answer.status_code == 200, answer.text
        return [item["number"] for item in answer.json()["items"]]

    assert numbers("algorithm=bert") == [1]
    assert numbers("dataset_name=gold") == [1]
    assert numbers("hyperparameter=epochs>=3") == [1, 2]
    assert numbers("hyperparameter=epochs>3&hyperparameter=optimizer==sgd") == [2]
    assert numbers("hyperparameter=optimizer==adam&algorithm=gru") == []
    assert numbers("hyperparameter=frozen==true") == [1]
    assert numbers("hyperparameter=odd name<1") == [1]
    assert numbers("hyperparameter=optimizer>a") == []
    assert numbers("hyperparameter=epochs==many") == []
    assert numbers("hyperparameter=unknown==1") == []
    assert api("GET", "/search?hyperparameter=epochs").status_code == 422
