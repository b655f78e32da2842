"""Mistakes in the values that values.schema.json or a template refuses, with the value's name."""

from typing import Any

import helm_python as helm
import pytest
from manifests import merged, render, values_of

pytestmark = pytest.mark.slow

# What → (values over staging's, what Helm says).
IN_VALUES: dict[str, tuple[dict[str, Any], str]] = {
    "misspelt value": ({"worker": {}}, "worker"),
    "image tag latest": ({"image": {"tag": "latest"}}, "latest|not.*failed|tag"),
    "password in the environment": ({"environment": {"REDIS_PASSWORD": "x"}}, "REDIS_PASSWORD"),
    "throughput pair switched off": (
        {"environment": {"RAY_SERVE_ENABLE_HA_PROXY": "0"}},
        "RAY_SERVE_ENABLE_HA_PROXY",
    ),
    "password in an address": (
        {"gcsFaultTolerance": {"redisAddress": "redis://:secret@redis:6379"}},
        "redisAddress",
    ),
    "network of everybody": ({"networkPolicy": {"httpsCidrs": ["0.0.0.0/0"]}}, "httpsCidrs"),
    "two registries on one sqlite file": (
        {"mlflow": {"replicas": 2, "artifactsDestination": ""}},
        "mlflow.replicas must be 1",
    ),
    "ingress around the gateway": (
        {
            "upgrade": {
                "type": "NewClusterWithIncrementalUpgrade",
                "incremental": {"gatewayClassName": "istio"},
            }
        },
        "goes around the Gateway",
    ),
    "incremental upgrade without a gateway": (
        {"ingress": {"enabled": False}, "upgrade": {"type": "NewClusterWithIncrementalUpgrade"}},
        "gatewayClassName is needed",
    ),
    "Vault without an address": ({"secrets": {"vault": {"server": ""}}}, "server is needed"),
    "a whole list of applications": ({"serve": {"applications": []}}, "applications"),
    "budget that blocks every drain": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "maxUnavailable",
    ),
}


@pytest.mark.parametrize("what", sorted(IN_VALUES))
def test_a_mistake_in_the_values_is_refused(what: str) -> None:
    change, said = IN_VALUES[what]
    with pytest.raises((helm.HelmValuesError, helm.HelmRenderError), match=said):
        render(merged(values_of("staging"), change))
