"""Alias moves while requests come: every answer from one version, none failed, live at once."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from ingresses import pages
from load import traffic
from versions import ANA, BUNDLE, staged, wait_for

from operations.local_stack.stack import Stack
from registry.bundles.bundle import MODEL_FILE, TOKENIZER_FILE, open_bundle
from registry.model_registry import ModelRegistry
from tests.system.rollout_log import steps_of


@pytest.fixture(scope="module")
def registry(stack: Stack) -> ModelRegistry:
    config = stack.config.registry
    return ModelRegistry(config.tracking_uri, config.artifact_root)


@pytest.fixture(autouse=True)
def _ends_with_the_first_version(client: httpx.Client, registry: ModelRegistry) -> Iterator[None]:
    yield
    state = registry.lifecycle.state("sentiment")
    if state.champion != 1:
        registry.lifecycle.rollback("sentiment", to=1, **ANA)
    wait_for(client, 1)


def test_alias_moves_under_load_fail_no_request(
    stack: Stack, client: httpx.Client, registry: ModelRegistry, tmp_path: Path
) -> None:
    second = staged(registry, tmp_path, temperature=1.5)
    digests = {v: registry.store.resolve("sentiment", v).digest for v in (1, second)}
    mlflow = registry.store.mlflow.client()
    started_s = time.time()
    with traffic(stack, clients=3) as threads:
        time.sleep(1)
        path = f"/models/sentiment/versions/{second}/promote"
        assert client.post(path, json={"to_status": "production"}).status_code == 200
        assert wait_for(client, second) < 10
        answer = client.post("/predict", json={"text": "What a lovely day"}).json()
        assert (answer["model_version"], answer["model_digest"]) == (second, digests[second])
        mlflow.set_registered_model_alias("sentiment", "champion", "1")
        assert wait_for(client, 1) < 10
        registry.lifecycle.rollback("sentiment", **ANA)
        assert wait_for(client, second) < 10
        time.sleep(1)
        statuses = [code for thread in threads for code in thread.stop()]
    steps = steps_of(stack.logs, second, started_s)["steps_s"]
    assert set(steps) == {"look", "judge", "open", "load", "probe", "route"}
    assert len(statuses) > 50
    assert set(statuses) == {200}
    actions = [e.action for e in registry.ledger.events("sentiment")][-3:]
    assert actions == ["promote", "outside_move", "rollback"]


def test_a_challenger_answers_its_share_and_a_shadow_never(
    stack: Stack, client: httpx.Client, registry: ModelRegistry, tmp_path: Path
) -> None:
    version = staged(registry, tmp_path, temperature=1.7)
    registry.lifecycle.set_slot("sentiment", "challenger", version, weight=0.5, **ANA)
    wait_for(client, version, "challenger")
    sticky = {
        client.post(
            "/predict", json={"text": f"a fine day {i}"}, headers={"X-Routing-Key": "ana"}
        ).json()["model_version"]
        for i in range(10)
    }
    assert len(sticky) == 1
    spread = [
        client.post("/predict", json={"text": f"day {i}"}).json()["model_version"]
        for i in range(60)
    ]
    assert 15 < spread.count(version) < 45
    registry.lifecycle.set_slot("sentiment", "challenger", None, **ANA)
    registry.lifecycle.set_slot("sentiment", "shadow", version, **ANA)
    wait_for(client, version, "shadow")
    assert client.get("/models/live").json()["challenger"] is None
    answers = [client.post("/predict", json={"text": f"mild {i}"}).json() for i in range(10)]
    assert version not in {answer["model_version"] for answer in answers}
    time.sleep(1)
    lines = [line for page in pages(stack) for line in page.splitlines()]
    compared = [line for line in lines if "shadow_predictions_total" in line]
    assert any('result="compared"' in line and float(line.split()[-1]) > 0 for line in compared)
    registry.lifecycle.set_slot("sentiment", "shadow", None, **ANA)


def test_bad_versions_are_rolled_back_before_a_request_sees_them(
    stack: Stack, client: httpx.Client, registry: ModelRegistry, tmp_path: Path
) -> None:
    labels = open_bundle(BUNDLE).labels
    flipped = staged(registry, tmp_path, labels=tuple(reversed(labels)))
    broken_file = tmp_path / "broken.onnx"
    broken_file.write_bytes(b"\x08\x08\x3a\x02\x0a\x00")
    crashing = staged(registry, tmp_path, files={MODEL_FILE["onnx"]: broken_file})
    corrupt = staged(registry, tmp_path, temperature=1.9)
    found = registry.store.resolve("sentiment", corrupt)
    location = registry.store.mlflow.client().get_model_version_download_uri(
        "sentiment", str(corrupt)
    )
    _overwrite(registry, location)
    assert found.digest
    before = len(registry.ledger.events("sentiment"))
    with traffic(stack, clients=2) as threads:
        for version in (flipped, crashing, corrupt):
            registry.lifecycle.transition("sentiment", version, "production", **ANA)
            deadline_s = time.monotonic() + 40
            while registry.lifecycle.state("sentiment").champion != 1:
                assert time.monotonic() < deadline_s, version
                time.sleep(0.2)
            assert client.get("/models/live").json()["champion"]["version"] == 1
        statuses = [code for thread in threads for code in thread.stop()]
    assert set(statuses) == {200}
    events = registry.ledger.events("sentiment")[before:]
    rollbacks = [e for e in events if e.action == "rollback"]
    assert [e.actor for e in rollbacks] == ["rollout"] * 3
    reasons = [e.reason for e in rollbacks]
    assert "golden texts" in reasons[0]
    assert "a replica failed with it" in reasons[1]
    assert TOKENIZER_FILE in reasons[2]


def test_a_release_goes_through_or_back_by_itself(
    stack: Stack, client: httpx.Client, registry: ModelRegistry, tmp_path: Path
) -> None:
    # How fast the candidate is says nothing here: other processes use the same two cores.
    policy = {
        "canary_weights": [0.5],
        "min_texts": 20,
        "min_step_s": 0,
        "max_error_increase": 0.2,
        "max_slower": 0.9,
    }
    before = client.get("/models/sentiment").json()["policy"]
    changed = client.patch("/models/sentiment", json={"policy": {**before, "release": policy}})
    assert changed.status_code == 200
    labels = open_bundle(BUNDLE).labels
    flipped = staged(registry, tmp_path, labels=tuple(reversed(labels)), temperature=1.11)
    good = staged(registry, tmp_path, temperature=0.72)
    with traffic(stack, clients=3) as threads:
        for version, stage in ((flipped, "archived"), (good, "production")):
            path = f"/models/sentiment/versions/{version}/release"
            assert client.post(path, json={"reason": "test"}).status_code == 202
            ends_s = time.monotonic() + 90
            while registry.lifecycle.state("sentiment").stage(version) != stage:
                assert time.monotonic() < ends_s, registry.ledger.events("sentiment")[-4:]
                time.sleep(0.3)
        statuses = [code for thread in threads for code in thread.stop()]
    assert set(statuses) == {200}
    told = client.get(f"/models/sentiment/versions/{flipped}").json()["rolled_back"]
    assert told.startswith("beyond the limit: agreement 1.0000")
    assert registry.ledger.events("sentiment")[-1].action == "promote"
    registry.lifecycle.rollback("sentiment", to=1, **ANA)
    assert client.patch("/models/sentiment", json={"policy": before}).status_code == 200


def _overwrite(registry: ModelRegistry, location: str) -> None:
    folder = Path(location.removeprefix("file://"))
    assert folder.is_dir(), location
    (folder / TOKENIZER_FILE).write_text(json.dumps({}))
