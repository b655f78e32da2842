"""What a caller gets for good input, through the whole graph."""

import json
import math
import time
import urllib.request
import uuid

import httpx
import pytest
from ingresses import pages

from operations.local_stack.stack import Stack

PLAIN = [
    ("I love this phone, the battery lasts for days.", "POSITIVE"),
    ("The delivery was late and the box was broken.", "NEGATIVE"),
    ("Absolutely wonderful film, I laughed the whole evening.", "POSITIVE"),
    ("I would not recommend this to anyone.", "NEGATIVE"),
    ("Support solved my problem in five minutes, thank you!", "POSITIVE"),
    ("Worst purchase of the year.", "NEGATIVE"),
]


def fresh() -> str:
    """A text that no cache has seen."""
    return f"A good day, number {uuid.uuid4()}"


@pytest.mark.parametrize(("text", "label"), PLAIN)
def test_plain_sentences_get_the_right_label(client: httpx.Client, text: str, label: str) -> None:
    answer = client.post("/predict", json={"text": text})
    assert answer.status_code == 200
    assert answer.json()["label"] == label


def test_every_field_of_the_answer(client: httpx.Client) -> None:
    text = f"  {fresh()}  "
    answer = client.post("/predict", json={"text": text})
    body = answer.json()
    uuid.UUID(body["prediction_id"])
    assert body["score"] == max(body["scores"].values()) == body["scores"][body["label"]]
    assert math.isclose(sum(body["scores"].values()), 1, abs_tol=1e-5)
    assert body["n_tokens"] > 5
    assert (body["truncated"], body["cached"]) == (False, False)
    assert body["text_length"] == len(text.strip())
    assert body["inference_time_ms"] > 0
    assert body["backend"] == "onnx" == answer.headers["x-model-backend"]
    assert float(answer.headers["x-inference-time-ms"]) > 0
    uuid.UUID(answer.headers["x-correlation-id"])
    stages = {part.split(";")[0].strip() for part in answer.headers["server-timing"].split(",")}
    assert {"queue", "tokenize", "window", "infer", "rpc", "total"} <= stages


def test_the_second_time_comes_from_the_cache_with_the_same_scores(ingress: httpx.Client) -> None:
    text = fresh()
    first = ingress.post("/predict", json={"text": text}).json()
    second = ingress.post("/predict", json={"text": f" {text}\n"}).json()
    assert (first["cached"], second["cached"]) == (False, True)
    assert first["scores"] == second["scores"]
    assert first["n_tokens"] == second["n_tokens"]
    assert first["prediction_id"] != second["prediction_id"]


def test_the_same_text_comes_back_to_the_ingress_that_knows_it(client: httpx.Client) -> None:
    texts = [fresh() for _ in range(8)]
    assert not any(client.post("/predict", json={"text": t}).json()["cached"] for t in texts)
    assert all(client.post("/predict", json={"text": t}).json()["cached"] for t in texts)


def test_texts_travel_on_sockets_between_replicas(stack: Stack, client: httpx.Client) -> None:
    def sent(road: str) -> float:
        name = f'sentiment_stage_messages_total{{road="{road}",stage='
        lines = [line for page in pages(stack) for line in page.splitlines()]
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = {road: sent(road) for road in ("socket", "handle")}
    for _ in range(10):
        client.post("/predict", json={"text": fresh()}).raise_for_status()
    # A page is kept for some seconds.
    deadline_s = time.monotonic() + 15
    while sent("socket") < before["socket"] + 20:
        assert time.monotonic() < deadline_s
        time.sleep(0.5)
    assert sent("handle") == before["handle"]


def test_a_long_text_is_truncated_and_says_so(client: httpx.Client) -> None:
    live = client.get("/models/live").json()["champion"]
    body = client.post("/predict", json={"text": "good " * 2_000}).json()
    assert body["truncated"] is True
    assert body["n_tokens"] == live["max_tokens"]


@pytest.mark.parametrize("text", ["好极了，非常喜欢", "😀😀😀", "a\x00b", "é" * 500, "?"])
def test_any_script_is_answered(client: httpx.Client, text: str) -> None:
    assert client.post("/predict", json={"text": text}).status_code == 200


def test_a_batch_keeps_order_and_fails_texts_one_by_one(client: httpx.Client) -> None:
    texts = [PLAIN[0][0], "   ", PLAIN[1][0], "x" * 10_001, PLAIN[0][0], ""]
    answer = client.post("/predict/batch", json={"texts": texts})
    body = answer.json()
    assert answer.status_code == 200
    assert [result["index"] for result in body["results"]] == list(range(6))
    assert [
        (result["prediction"] or {}).get("label") or result["error"]["error_code"]
        for result in body["results"]
    ] == ["POSITIVE", "E1003", "NEGATIVE", "E1002", "POSITIVE", "E1003"]
    assert (body["total"], body["failed"]) == (6, 3)
    assert body["results"][0]["prediction"]["scores"] == body["results"][4]["prediction"]["scores"]


def test_a_thousand_texts_equal_the_single_answers(ingress: httpx.Client) -> None:
    marker = uuid.uuid4()
    texts = [f"{PLAIN[i % 6][0]} {'very ' * (i % 7)} {marker} {i}" for i in range(1_000)]
    body = ingress.post(
        "/predict/batch", json={"texts": texts}, headers={"X-Deadline-Ms": "60000"}, timeout=60
    ).json()
    assert (body["total"], body["failed"]) == (1_000, 0)
    for index in (0, 1, 499, 998, 999):
        single = ingress.post("/predict", json={"text": texts[index]}).json()
        assert single["cached"] is True
        assert single["scores"] == body["results"][index]["prediction"]["scores"]


def test_a_well_formed_correlation_id_comes_back_and_another_does_not(
    client: httpx.Client,
) -> None:
    good = client.get("/health/live", headers={"X-Correlation-ID": "order-17:a.b"})
    assert good.headers["x-correlation-id"] == "order-17:a.b"
    bad = client.get("/health/live", headers={"X-Correlation-ID": "<script>"})
    uuid.UUID(bad.headers["x-correlation-id"])
    refused = client.post("/predict", json={}, headers={"X-Correlation-ID": "order-18"})
    assert refused.json()["correlation_id"] == "order-18" == refused.headers["x-correlation-id"]


def test_what_is_live_is_what_mlflow_says(client: httpx.Client, stack: Stack) -> None:
    live = client.get("/models/live").json()["champion"]
    url = (
        f"{stack.mlflow_url}/api/2.0/mlflow/registered-models/alias"
        f"?name={live['name']}&alias=champion"
    )
    with urllib.request.urlopen(url, timeout=10) as response:
        version = json.load(response)["model_version"]
    tags = {tag["key"]: tag["value"] for tag in version["tags"]}
    assert (int(version["version"]), tags["digest"]) == (live["version"], live["digest"])
    assert live["source"] == "registry"
    predicted = client.post("/predict", json={"text": fresh()}).json()
    assert predicted["model_digest"] == live["digest"]
    assert sorted(predicted["scores"]) == sorted(live["labels"])


def test_health_says_what_is_checked(client: httpx.Client) -> None:
    assert client.get("/health/live").json()["status"] == "alive"
    ready = client.get("/health/ready")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "checks": {"model": "ok", "registry": "ok", "cache": "ok", "kafka": "ok"},
    }


def test_the_root_tells_where_to_look(client: httpx.Client, stack: Stack) -> None:
    body = client.get(f"{stack.url}/").json()
    assert client.get(f"{stack.url}{body['docs_url']}").status_code == 200
    assert client.get(f"{stack.url}{body['health_url']}").status_code == 200
