"""Mistakes in the values that values.schema.json or a template refuses, with the value's name."""

from pathlib import Path
from typing import Any

import helm_python as helm
import pytest
from manifests import merged, render, values_of
from rules import all_problems

from configs.schema.dependencies import VaultConfig

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
    "more workers at least than at most": (
        {"workers": {"cpu": {"minReplicas": 9}}},
        "workers.cpu.minReplicas=9 is above workers.cpu.maxReplicas=3",
    ),
    "one port for two": ({"ports": {"serve": 8265}}, "ports.dashboard and ports.serve are both"),
    "a port that replicas may take": (
        {"ports": {"metrics": 30500}},
        "ports.metrics=30500 lies in ports.replicasHttp, 30000 to 31000",
    ),
    "Vault behind a closed door": (
        {"serve": {"application": {"args": {"vault": {"enabled": True}}}}},
        "reaches.vault is needed",
    ),
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


def test_replicas_that_log_in_to_vault_have_a_token_for_it_and_the_head_has_not() -> None:
    vault = {"enabled": True, "auth": "kubernetes", "role": "sentigraph", "address": "https://v"}
    change = {
        "serve": {"application": {"args": {"vault": vault}}},
        "networkPolicy": {"reaches": {"vault": {"cidrs": ["10.20.9.0/24"], "ports": [8200]}}},
    }
    for values, expected in ((values_of("staging"), set()), (change, {"cpu", "gpu"})):
        documents = render(merged(values_of("staging"), values))
        assert all_problems(documents) == []
        [service] = [d for d in documents if d["kind"] == "RayService"]
        cluster = service["spec"]["rayClusterConfig"]
        groups = {g["groupName"]: g["template"]["spec"] for g in cluster["workerGroupSpecs"]}
        groups["head"] = cluster["headGroupSpec"]["template"]["spec"]
        mounts = {
            name: {mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]}
            for name, spec in groups.items()
        }
        folder = Path(VaultConfig().jwt_file).parent
        assert {name for name, paths in mounts.items() if str(folder) in paths} == expected
