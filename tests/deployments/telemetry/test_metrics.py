"""Counters whose labels are known are there from the start: a first event is a rise then."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

import deployments
from configs.schema.dependencies import VaultConfig
from deployments.clients.vault import SecretWatch
from deployments.telemetry.metrics import Metrics

SOURCES = Path(deployments.__file__).parent
# The attribute that code counts with → the series.
COUNTERS = {
    "dropped_texts": "sentiment_dropped_texts_total",
    "cache_writes": "sentiment_cache_writes_total",
    "_refusals": "sentiment_access_refusals_total",
    "shadow_predictions": "sentiment_shadow_predictions_total",
    "feedback": "sentiment_feedback_total",
    "jobs.texts": "sentiment_job_texts_total",
    "jobs.webhooks": "sentiment_job_webhooks_total",
}


def fresh(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Value by label value, of the counters with one label."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            if len(sample.labels) == 1:
                found.setdefault(sample.name, {})[next(iter(sample.labels.values()))] = sample.value
    return found


@pytest.mark.parametrize("attribute", COUNTERS)
def test_what_the_code_counts_is_there_at_0(attribute: str) -> None:
    counted = {
        value
        for path in SOURCES.rglob("*.py")
        for call in re.findall(
            rf"\.{re.escape(attribute)}\.labels\(([^)]*)\)", path.read_text(encoding="utf-8")
        )
        for value in re.findall(r'"(\w+)"', call)
    }
    born = fresh(Metrics())[COUNTERS[attribute]]
    assert counted <= set(born)
    assert counted
    assert set(born.values()) == {0.0}


def test_the_secrets_that_vault_may_replace_are_there_at_0() -> None:
    metrics = Metrics()
    SecretWatch(VaultConfig(), {"access.api_keys": lambda _: None}, metrics)
    born = fresh(metrics)
    assert born["sentiment_vault_rotations_total"] == {"access.api_keys": 0.0}
    assert born["sentiment_vault_reads_total"] == {"ok": 0.0, "error": 0.0}
