"""Every metric moves when what it counts happens."""

import re
import time
import uuid

import httpx

FAMILY = re.compile(r"^# TYPE (sentiment_\w+) (\w+)$", re.MULTILINE)


def page(client: httpx.Client) -> dict[str, float]:
    lines = client.get("/metrics").text.splitlines()
    return {
        line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1])
        for line in lines
        if not line.startswith("#")
    }


def test_each_family_moves(ingress: httpx.Client) -> None:
    before = page(ingress)
    text = f"What a lovely morning {uuid.uuid4()}"
    assert ingress.post("/predict", json={"text": text}).json()["label"] == "POSITIVE"
    assert ingress.post("/predict", json={"text": text}).json()["cached"] is True
    ingress.post("/predict/batch", json={"texts": [text + "!", text + "!", text + "?"]})
    ingress.post("/predict", json={"text": text + "late"}, headers={"X-Deadline-Ms": "1"})
    after = page(ingress)

    def moved(sample: str) -> float:
        return after.get(sample, 0) - before.get(sample, 0)

    requests = 'sentiment_requests_total{endpoint="/api/v1/predict",method="POST",status_code="%s"}'
    assert moved(requests % 200) == 2
    assert moved(requests % 504) == 1
    assert moved('sentiment_predictions_total{cached="true",label="POSITIVE"}') >= 1
    assert moved('sentiment_predictions_total{cached="false",label="POSITIVE"}') >= 1
    assert moved("sentiment_text_length_characters_count") == 6
    assert moved("sentiment_prediction_score_count") == 5
    assert moved("sentiment_inference_duration_seconds_count") >= 3
    assert moved("sentiment_tokens_total") > 30
    assert moved("sentiment_hop_texts_count") >= 2
    assert moved('sentiment_cache_lookups_total{level="l1",result="hit"}') == 1
    assert moved('sentiment_cache_lookups_total{level="l1",result="miss"}') == 5
    # Level two is skipped while it does not pay.
    level_two = 'sentiment_cache_lookups_total{level="l2",result="%s"}'
    assert moved(level_two % "miss") + moved(level_two % "skipped") >= 3
    # The two texts of the batch may share an engine batch.
    assert moved("sentiment_batch_rows_count") >= 2
    assert moved("sentiment_batch_padding_ratio_count") >= 2
    assert moved("sentiment_cost_surface_error_ratio_count") >= 2
    assert after["sentiment_cache_break_even_ratio"] > 0
    assert "sentiment_predicted_wait_seconds" in after
    assert moved("sentiment_cache_bytes") > 0
    for stage in ("queue", "tokenize", "window", "rpc"):
        assert moved(f'sentiment_stage_duration_seconds_count{{stage="{stage}"}}') >= 1
    assert (
        moved('sentiment_request_duration_seconds_count{endpoint="/api/v1/predict",method="POST"}')
        == 3
    )
    assert after["sentiment_active_requests"] == 1  # the one that reads the page
    assert after["sentiment_model_loaded"] == 1
    # The text whose deadline has passed may still be with its tokenizer; no other comes after it.
    ends_s = time.monotonic() + 30
    while page(ingress)["sentiment_queued_texts"] > 0:
        assert time.monotonic() < ends_s
        time.sleep(0.1)


def test_labels_are_bounded(ingress: httpx.Client) -> None:
    for i in range(20):
        ingress.get(f"/no/such/route/{i}")
    endpoints = set(re.findall(r'endpoint="([^"]*)"', ingress.get("/metrics").text))
    assert not [endpoint for endpoint in endpoints if "such" in endpoint]
    assert "unmatched" in endpoints


def test_the_live_version_is_shown(client: httpx.Client) -> None:
    live = client.get("/models/live").json()["champion"]
    shown = (
        f'sentiment_model_version_info{{digest="{live["digest"]}",name="{live["name"]}",'
        f'version="{live["version"]}"}}'
    )
    assert page(client)[shown] == 1


def test_every_family_is_named_and_documented(client: httpx.Client) -> None:
    text = client.get("/metrics").text
    families = [name for name, _ in FAMILY.findall(text)]
    assert len(families) >= 18
    for name in families:
        assert re.search(rf"^# HELP {name} \S", text, re.MULTILINE)
