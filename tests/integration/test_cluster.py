"""The running graph seen from the cluster: what replicas hold, redeploying, losing one.

These tests change the deployment and put it back.
"""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from load import traffic
from versions import staged, wait_for

from operations.clients.ray_dashboard import RayDashboard
from operations.local_stack.stack import Stack
from registry.model_registry import ModelRegistry

INSPECT = Path(__file__).with_name("inspect_replicas.py")


def inspect(stack: Stack) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(INSPECT), stack.ray_address],
        env=stack.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(done.stdout.splitlines()[-1])  # type: ignore[no-any-return]


def serve_cli(stack: Stack, *arguments: str) -> str:
    command = [str(Path(sys.executable).parent / "serve"), *arguments, "-a", stack.dashboard_url]
    done = subprocess.run(
        command, env=stack.environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return done.stdout


def status(stack: Stack) -> dict[str, Any]:
    application = yaml.safe_load(serve_cli(stack, "status"))["applications"]["sentigraph"]
    return application  # type: ignore[no-any-return]


def deployed_config(stack: Stack) -> dict[str, Any]:
    """The repository's file, with this stack's ports."""
    file = stack.logs.parent / "serve_config.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def deploy(stack: Stack, config: dict[str, Any], folder: Path) -> None:
    file = folder / f"{uuid.uuid4()}.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    serve_cli(stack, "deploy", str(file))
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        now = status(stack)
        states = {d["status"] for d in now["deployments"].values()}
        if now["status"] == "RUNNING" and states == {"HEALTHY"}:
            return
        assert now["status"] != "DEPLOY_FAILED", now
        time.sleep(1)
    pytest.fail(f"not running after four minutes: {status(stack)}")


def test_serve_status_is_healthy_for_the_whole_graph(stack: Stack) -> None:
    now = status(stack)
    assert now["status"] == "RUNNING"
    graph = {"Ingress", "Stream", "Jobs", "Insight", "Cache", "Tokenizer", "Model", "Registry"}
    assert set(now["deployments"]) == graph
    assert {d["status"] for d in now["deployments"].values()} == {"HEALTHY"}


def test_replicas_that_serve_import_neither_torch_nor_mlflow(
    stack: Stack, client: httpx.Client
) -> None:
    client.post("/predict/batch", json={"texts": ["good", "bad"]})
    replicas = inspect(stack)["replicas"]
    for name in ("Ingress", "Stream", "Cache", "Tokenizer", "Model"):
        for replica in replicas[name]:
            heavy = {"torch", "transformers", "mlflow", "sklearn"} & set(replica["modules"])
            assert not heavy, name
            assert replica["peak_rss_mb"] < 450, (name, replica["peak_rss_mb"])
    assert "mlflow" in replicas["Registry"][0]["modules"]


def test_a_lost_model_replica_fails_no_request(stack: Stack) -> None:
    model = inspect(stack)["replicas"]["Model"]
    with traffic(stack, clients=4) as threads:
        time.sleep(1)
        os.kill(model[0]["pid"], signal.SIGKILL)
        time.sleep(12)
        statuses = [code for thread in threads for code in thread.stop()]
    assert len(statuses) > 50
    assert set(statuses) == {200}


def test_the_same_config_again_is_no_downtime(stack: Stack, tmp_path: Path) -> None:
    config = deployed_config(stack)
    before = {r["pid"] for r in inspect(stack)["replicas"]["Ingress"]}
    with traffic(stack, clients=2) as threads:
        deploy(stack, config, tmp_path)
        time.sleep(2)
        statuses = [code for thread in threads for code in thread.stop()]
    assert set(statuses) == {200}
    assert {r["pid"] for r in inspect(stack)["replicas"]["Ingress"]} == before


def replica_ids(stack: Stack) -> dict[str, set[str]]:
    token = Path(stack.environ["RAY_AUTH_TOKEN_PATH"]).read_text(encoding="utf-8").strip()
    application = RayDashboard(stack.dashboard_url, token).application("sentigraph")
    assert application is not None
    return {
        d.name: {replica.id for replica in d.replicas if replica.state == "RUNNING"}
        for d in application.deployments
    }


def test_another_number_of_replicas_replaces_none(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    original = deployed_config(stack)
    before = replica_ids(stack)
    changed = json.loads(json.dumps(original))
    # Together no more CPUs than before: a machine of two cores has none left for another Model.
    counts = {"Ingress": len(before["Ingress"]) + 1, "Tokenizer": len(before["Tokenizer"]) - 1}
    changed["applications"][0]["deployments"] = [
        {"name": name, "num_replicas": count} for name, count in counts.items()
    ]
    text = {"text": "The cache keeps this while counts change."}
    client.post("/predict", json=text).raise_for_status()
    try:
        with traffic(stack, clients=2) as threads:
            deploy(stack, changed, tmp_path)
            statuses = [code for thread in threads for code in thread.stop()]
        after = replica_ids(stack)
    finally:
        deploy(stack, original, tmp_path)
    assert set(statuses) == {200}
    assert {name: len(ids) for name, ids in after.items() if name in counts} == counts
    assert before["Ingress"] < after["Ingress"]
    assert after["Tokenizer"] < before["Tokenizer"]
    assert all(before[name] == after[name] for name in before.keys() - counts.keys())
    assert client.post("/predict", json=text).json()["cached"]


def test_other_topologies_answer_the_same_and_four_replicas_share_one_gpu(
    stack: Stack, client: httpx.Client, tmp_path: Path
) -> None:
    original = deployed_config(stack)
    text = {"text": "The food was okay but the service ruined the evening."}
    expected = client.post("/predict", json=text).json()["scores"]
    try:
        deploy(stack, with_args(original, {"topology": "fused"}), tmp_path)
        assert client.get("/models/live").json()["topology"] == "fused"
        assert {"Model", "Tokenizer"}.isdisjoint(status(stack)["deployments"])
        fused = client.post("/predict", json={"text": text["text"] + " "}).json()
        assert fused["scores"] == pytest.approx(expected, abs=1e-5)
        follows_its_alias(stack, client, tmp_path)

        shares = {"num_replicas": 4, "num_gpus": 0.25, "num_cpus": 0.2}
        deploy(stack, with_args(original, {"replicas": {"model": shares}}), tmp_path)
        seen = inspect(stack)
        assert len(seen["replicas"]["Model"]) == 4
        assert {tuple(r["gpu_ids"]) for r in seen["replicas"]["Model"]} == {(0,)}
        assert seen["gpus_free"] == 0
        shared = client.post("/predict", json=text).json()
        assert shared["scores"] == pytest.approx(expected, abs=1e-5)
    finally:
        deploy(stack, original, tmp_path)
    assert client.get("/models/live").json()["topology"] == "split"


def follows_its_alias(stack: Stack, client: httpx.Client, folder: Path) -> None:
    """Another version goes live where the ingress itself holds the models, and leaves again."""
    config = stack.config.registry
    registry = ModelRegistry(config.tracking_uri, config.artifact_root)
    second = staged(registry, folder, temperature=3.0)
    registry.lifecycle.transition("sentiment", second, "production", actor="ana", reason="test")
    wait_for(client, second)
    text = {"text": "The soup was warm and the room was cold."}
    flat = client.post("/predict", json=text).json()
    registry.lifecycle.rollback("sentiment", to=1, actor="ana", reason="test")
    wait_for(client, 1)
    sharp = client.post("/predict", json=text).json()
    assert (flat["model_version"], sharp["model_version"]) == (second, 1)
    assert flat["score"] < sharp["score"]


def with_args(config: dict[str, Any], args: dict[str, Any]) -> dict[str, Any]:
    """With other settings, and a consumer group of its own.

    Of one group, the new replica would join while the old one leaves, as rolling updates do;
    tansu then can be left waiting for a leader that is gone, for ever.
    """
    changed: dict[str, Any] = json.loads(json.dumps(config))
    application = changed["applications"][0]
    group = {"stream": {"group": f"group-{uuid.uuid4()}"}}
    application["args"] = {**application["args"], **group, **args}
    return changed
