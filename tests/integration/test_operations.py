"""``sentigraph status`` and ``sentigraph doctor`` on the running stack."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.harness.servers import KafkaServer, RedisServer
from cli.__main__ import main
from operations.local_stack.stack import Stack

# A replica copies its series to Ray every ten seconds, and Ray passes them on as often.
SERIES_WAIT_S = 40.0


def status(
    stack: Stack, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, Mapping[str, Any]]:
    place = ["--url", stack.url, "--dashboard-url", stack.dashboard_url]
    token = ["--ray-token-file", stack.environ["RAY_AUTH_TOKEN_PATH"]]
    code = main(["status", *place, *token, "--json", *options])
    found: Mapping[str, Any] = json.loads(capsys.readouterr().out)
    return code, found


def test_status_tells_what_runs_where_and_which_version_answers(
    stack: Stack, client: httpx.Client, capsys: pytest.CaptureFixture[str]
) -> None:
    client.post("/predict", json={"text": "Seen by status."}).raise_for_status()
    until_s = time.monotonic() + SERIES_WAIT_S
    while True:
        code, found = status(stack, capsys)
        copied = found["versions"]["by_ingress"] and "2xx" in found["work"]["answered"]
        if copied or time.monotonic() > until_s:
            break
        time.sleep(1)
    assert (code, found["problems"], found["notes"]) == (0, [], [])
    deployments = {each["name"]: each for each in found["application"]["deployments"]}
    assert set(deployments) >= {"Ingress", "Tokenizer", "Model", "Registry", "Stream", "Jobs"}
    [node] = found["nodes"]
    for each in deployments.values():
        assert len(each["replicas"]) >= each["wanted"]
        assert {replica["node"] for replica in each["replicas"]} == {node["address"]}
    live = client.get("/models/live").json()["champion"]["version"]
    ingresses = {replica["id"] for replica in deployments["Ingress"]["replicas"]}
    assert found["versions"]["by_ingress"] == dict.fromkeys(ingresses, live)
    assert found["versions"]["aliases"]["champion"] == live
    assert found["dependencies"]["kafka"] == "ok"
    assert found["streams"]["replicas"] == 1
    assert found["jobs"]["texts"] == 0
    assert found["work"]["answered"]["2xx"] >= 1
    assert found["change"] is not None


def test_status_without_the_token_still_asks_the_server(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "token").write_text("of somebody else")
    _, found = status(stack, capsys, "--ray-token-file", str(tmp_path / "token"))
    assert found["ready"] is True
    assert found["application"] is None
    assert any("refuses the token" in note for note in found["notes"])


def test_doctor_asks_every_server_that_the_configuration_names(
    stack: Stack,
    kafka: KafkaServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with RedisServer(tmp_path) as redis:
        for name, value in {
            "STREAM__ENABLED": "true",
            "STREAM__BOOTSTRAP_SERVERS": kafka.address,
            "CACHE__L2": "redis",
            "REDIS__HOST": "127.0.0.1",
            "REDIS__PORT": str(redis.port),
            "REGISTRY__TRACKING_URI": stack.mlflow_url,
        }.items():
            monkeypatch.setenv(f"MLOPS_{name}", value)
        main(["doctor", "--url", stack.url, "--json"])
        found = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
        assert found["server"]["level"] == "OK"
        assert found["bundle"]["level"] == "OK"
        assert (found["Kafka"]["level"], "4 partitions" in found["Kafka"]["said"]) == ("OK", True)
        assert found["MLflow"]["said"].startswith("server 3.17")
        assert found["clock"]["level"] == "OK"
        assert (found["Redis"]["level"], "maxmemory 0" in found["Redis"]["said"]) == ("WARN", True)

        kafka_of_nobody = "127.0.0.1:9"
        monkeypatch.setenv("MLOPS_STREAM__BOOTSTRAP_SERVERS", kafka_of_nobody)
        redis.client().config_set("maxmemory", "8mb")
        assert main(["doctor", "--url", stack.url]) == 1
        out = capsys.readouterr().out
        assert f"at {kafka_of_nobody}" in out
        assert "set maxmemory-policy volatile-lru" in out
