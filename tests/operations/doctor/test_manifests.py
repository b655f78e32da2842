"""The settings of Ray pods, and what is deployed, read from rendered charts and running pods."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from operations.doctor.manifests import environments
from operations.local_stack.stack import ROOT

WORKER = {"RAY_SERVE_ENABLE_HA_PROXY": "1", "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}


def pod(name: str, kind: str, **env: str) -> dict[str, object]:
    items = [{"name": key, "value": value} for key, value in env.items()]
    spec = {"containers": [{"name": "sidecar", "env": []}, {"name": kind, "env": items}]}
    return {"kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_environments_are_read_from_running_pods() -> None:
    pods = [
        pod("head-x", "ray-head", **WORKER, RAY_ADDRESS="127.0.0.1:6379", PATH="/bin"),
        pod("worker-y", "ray-worker", **WORKER, RAY_ADDRESS="10.0.0.7:6379", PATH="/usr/bin"),
        pod("mlflow", "mlflow", RAY_SERVE_ENABLE_HA_PROXY="0"),
    ]
    found = environments([{"kind": "List", "metadata": {}, "items": pods}])
    assert found == {"head-x": WORKER, "worker-y": WORKER}


def test_environments_are_read_from_a_rendered_chart() -> None:
    def template(kind: str) -> dict[str, object]:
        return {"template": {"spec": pod("", kind, **WORKER)["spec"]}}

    cluster = {
        "headGroupSpec": template("ray-head"),
        "workerGroupSpecs": [{"groupName": "gpu", **template("ray-worker")}],
    }
    service = {
        "kind": "RayService",
        "metadata": {"name": "sentigraph"},
        "spec": {"rayClusterConfig": cluster},
    }
    assert set(environments([None, service])) == {"sentigraph/head", "sentigraph/gpu"}


def test_files_of_a_mounted_secret_are_settings_as_well() -> None:
    found = {}
    for place in ("/secrets", "/elsewhere"):
        one = pod("head-x", "ray-head", SENTIGRAPH_SECRETS_DIR="/secrets")
        spec: dict[str, Any] = one["spec"]  # type: ignore[assignment]
        items = [{"key": "api-keys", "path": "MLOPS_ACCESS__API_KEYS"}]
        spec["volumes"] = [{"name": "s", "secret": {"secretName": "s", "items": items}}]
        spec["containers"][1]["volumeMounts"] = [{"name": "s", "mountPath": place}]
        found[place] = environments([one])["head-x"]
    assert found["/secrets"]["MLOPS_ACCESS__API_KEYS"] == "from a secret"
    assert "MLOPS_ACCESS__API_KEYS" not in found["/elsewhere"]


def doctor(file: Path) -> tuple[int, list[dict[str, str]]]:
    """Its exit status and findings; whatever else is wrong with this machine is its own matter."""
    command = [sys.executable, "-m", "cli", "doctor", "--json", "--manifests", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    found = [one for one in json.loads(done.stdout) if one["check"] == "Serve config"]
    return done.returncode, found


@pytest.mark.slow
def test_doctor_lints_the_serve_config_of_a_ray_service(tmp_path: Path) -> None:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["applications"][0]["args"]["replica"] = {"model": {"num_replicas": 2}}
    pod = {"spec": {"containers": [{"name": "ray-head", "env": []}]}}
    service = {
        "kind": "RayService",
        "metadata": {"name": "sentigraph"},
        "spec": {
            "serveConfigV2": yaml.safe_dump(config),
            "rayClusterConfig": {"headGroupSpec": {"template": pod}},
        },
    }
    file = tmp_path / "pods.yaml"
    file.write_text(yaml.safe_dump({"kind": "List", "items": [service]}), encoding="utf-8")
    status, [found] = doctor(file)
    assert status == 1
    assert found["level"] == "FAIL"
    assert "RayService sentigraph" in found["said"]
    assert "replica" in found["said"]
    assert "replicas" in found["said"], "what was meant"

    del config["applications"][0]["args"]["replica"]
    service["spec"]["serveConfigV2"] = yaml.safe_dump(config)
    file.write_text(yaml.safe_dump(service), encoding="utf-8")
    assert [one["level"] for one in doctor(file)[1]] == ["OK"]
