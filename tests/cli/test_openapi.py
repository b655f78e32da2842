"""docs/openapi.json is what the routes say, and keeps what clients are built on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from cli.__main__ import main
from cli.openapi import render
from configs.schema.app import AppConfig
from deployments.access.roles import needed
from deployments.ingress.routes import build_app

if TYPE_CHECKING:
    from deployments.ingress.deployment import Ingress

COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
# Clients have methods of these names: none is ever renamed or taken out of a release.
OPERATIONS = [
    "abort_release",
    "add_evaluation",
    "audit",
    "audit_champion",
    "cancel_job",
    "clear_slot",
    "compare",
    "compare_metric",
    "create_model",
    "create_version",
    "decide",
    "delete_artifact",
    "delete_evaluation",
    "delete_model",
    "delete_version",
    "download_artifact",
    "download_artifact_file",
    "drift_check",
    "drift_events",
    "drift_report",
    "drift_summary",
    "explain",
    "explain_html",
    "export_labels",
    "feedback",
    "flush_cache",
    "gate",
    "get_model",
    "get_slots",
    "get_version",
    "health",
    "health_details",
    "health_live",
    "health_ready",
    "hold_release",
    "import_labels",
    "job_metrics",
    "job_queue",
    "job_results",
    "job_results_file",
    "job_status",
    "kafka_metrics",
    "kpis_business",
    "kpis_cost",
    "kpis_performance",
    "kpis_quality",
    "kpis_slo",
    "latest_version",
    "list_evaluations",
    "list_models",
    "list_versions",
    "live_accuracy",
    "live_models",
    "metric_trend",
    "metric_trend_png",
    "metric_visualization",
    "metrics",
    "model_info",
    "monitored_models",
    "monitored_versions",
    "monitoring_health",
    "next_label",
    "oip_infer",
    "oip_live",
    "oip_model",
    "oip_model_ready",
    "oip_ready",
    "oip_server",
    "oip_version_infer",
    "oip_version_model",
    "oip_version_model_ready",
    "predict",
    "predict_batch",
    "production_version",
    "promote",
    "ready",
    "release_status",
    "reset_drift",
    "resume_release",
    "review_label",
    "rollback",
    "search_versions",
    "service_info",
    "set_slot",
    "start_release",
    "submit_job",
    "update_drift_baseline",
    "update_metadata",
    "update_model",
    "update_status",
    "upload_artifact",
    "upload_job",
    "watch_models",
]
DEADLINES = {"predict", "predict_batch", "oip_infer", "oip_version_infer"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(render())  # type: ignore[no-any-return]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_the_committed_document_is_the_generated_one(
    document: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["openapi"]) == 0
    printed = capsys.readouterr().out
    assert COMMITTED.read_text(encoding="utf-8") == printed, "run `make docs`"
    assert json.loads(printed) == document


def test_operation_ids_are_unique_and_never_change(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    assert set(OPERATIONS) <= set(ids), "an operation that clients call is gone"
    assert sorted(ids) == sorted(OPERATIONS), "add the new operation to the list above"


def test_every_operation_states_its_credentials_and_refusals(document: dict[str, Any]) -> None:
    assert document["servers"] == [{"url": "/"}]
    schemes = document["components"]["securitySchemes"]
    assert schemes["api_key"] == {"type": "apiKey", "in": "header", "name": "X-API-Key"}
    assert (schemes["bearer"]["type"], schemes["bearer"]["scheme"]) == ("http", "bearer")
    for path, method, operation in operations(document):
        public = needed(method.upper(), path) in ("service", "health", "metrics", "docs")
        credentials = [{"api_key": []}, {"bearer": []}]
        assert operation["security"] == ([{}, *credentials] if public else credentials), path
        assert "401" in operation["responses"], path
        assert ("403" in operation["responses"]) is not public, path


def test_open_servers_ask_for_no_credential() -> None:
    document = build_app(AppConfig(), cast("Ingress", None)).openapi()
    for _, _, operation in operations(document):
        assert {} in operation["security"]


def test_headers_are_named_where_they_are_honoured(document: dict[str, Any]) -> None:
    taken = {
        operation["operationId"]: {
            parameter.get("name") or parameter["$ref"].rpartition("/")[2]
            for parameter in operation.get("parameters", [])
        }
        for _, _, operation in operations(document)
    }
    for name in ("X-Deadline-Ms", "X-Priority", "X-Routing-Key"):
        also = {"explain", "explain_html"} if name == "X-Deadline-Ms" else set()
        assert {id for id, names in taken.items() if name in names} == DEADLINES | also
    keyed = {id for id, names in taken.items() if "Idempotency-Key" in names}
    assert keyed == {"submit_job", "upload_job"}


def test_every_answer_names_its_headers(document: dict[str, Any]) -> None:
    components = document["components"]
    for path, _, operation in operations(document):
        for status, answer in operation["responses"].items():
            found = answer
            if "$ref" in answer:
                found = components["responses"][answer["$ref"].rpartition("/")[2]]
            assert "X-Correlation-ID" in found["headers"], path
            assert ("Retry-After" in found["headers"]) is (status in ("429", "503")), path
            assert set(found["headers"]) <= set(components["headers"])
    for path in ("/api/v1/predict", "/api/v1/predict/batch"):
        answered = document["paths"][path]["post"]["responses"]["200"]
        assert "Server-Timing" in answered["headers"]


def test_every_reference_has_its_target(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for part in text.split('"$ref": "#/')[1:]:
        found: Any = document
        for name in part.partition('"')[0].split("/"):
            found = found[name]
    for name in document["components"]["schemas"]:
        assert "__" not in name, "two schemas have one name, so both get a long one"
        assert f'"#/components/schemas/{name}"' in text, f"{name} is used nowhere"
