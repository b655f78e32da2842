"""From answers over HTTP to levels over HTTP: the whole way but the RPCs."""

import asyncio
import base64
import hashlib
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
from front import LIVE, Stages, with_front
from insight_front import drift_config, with_insight

from configs.schema.app import AppConfig
from deployments.insight.replica import InsightReplica
from deployments.payloads import (
    AGAIN,
    BY_REVIEWERS,
    FORGOTTEN,
    FeedbackResult,
    ModelAnswer,
    TextBatch,
)
from deployments.telemetry.metrics import Metrics
from deployments.versions import RoutingTable

DRIFT = "/monitoring/drift"


class Labelled(Stages):
    """Answers negative to texts that begin so, positive to others."""

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        answer = await super().classify(batch)
        for row, text in enumerate(batch.texts):
            if text.startswith("nope"):
                answer.scores.scores[row] = (0.75, 0.25)
        return answer


async def say(client: httpx.AsyncClient, texts: list[str]) -> None:
    for start in range(0, len(texts), 500):
        answer = await client.post("/predict/batch", json={"texts": texts[start : start + 500]})
        assert answer.status_code == 200, answer.text


def half(n: int, name: str) -> list[str]:
    return [f"{'nope' if i % 2 else 'yeah'} {name} {i:05}" for i in range(n)]


async def summary_when(client: httpx.AsyncClient, **wanted: object) -> dict[str, Any]:
    """The summary once these fields are so."""
    while True:
        answer = await client.get(DRIFT)
        body: dict[str, Any] = answer.json()
        if answer.status_code == 200 and wanted.items() <= body.items():
            return body
        await asyncio.sleep(0.05)


async def learn(client: httpx.AsyncClient) -> None:
    await say(client, half(1_000, "first"))
    await summary_when(client, baseline_established=True, pending_texts=0)


def test_answers_drift_and_are_accepted(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: InsightReplica, metrics: Metrics) -> None:
        assert (await client.get(DRIFT)).status_code == 404
        await learn(client)
        check = (await client.get(f"{DRIFT}/check")).json()
        assert check["verdict"] == "none"
        assert check["statistical_tests"]["label"]["level"] == "none"

        await say(client, [f"nope later {i:05}" for i in range(400)])
        summary = await summary_when(client, pending_texts=0, drifts_last_24h=1)
        assert summary["levels"]["label"] == "drifted"
        assert summary["model_digest"] == LIVE.digest
        assert summary["since"].keys() == {"label"}
        assert summary["latest_drift_score"] > 1
        assert summary["false_alarm_rate"] == {"alpha": 0.05, "horizon_days": 28, "tests": 32}
        check = (await client.get(f"{DRIFT}/check")).json()
        assert check["prediction_drift_detected"]
        assert not check["data_drift_detected"]
        assert check["feature_drifts"]["prediction_distribution"]
        assert (await client.get(f"{DRIFT}/check")).json()["statistical_tests"] == check[
            "statistical_tests"
        ]
        await asyncio.sleep(0.3)
        shown = metrics.page().decode()
        assert 'sentiment_drift_level{signal="label"} 2.0' in shown
        assert 'sentiment_drift_level{signal="length"} 0.0' in shown

        refused = await client.post(f"{DRIFT}/update-baseline")
        assert (refused.status_code, refused.json()["error_code"]) == (409, "E8004")
        taken = await client.post(
            f"{DRIFT}/update-baseline",
            json={"force": True, "reason": "winter"},
            headers={"If-Match": f'"{summary["reference"]["id"]}"'},
        )
        assert taken.status_code == 200
        after = await summary_when(client, drifts_last_24h=1)
        assert set(after["levels"].values()) == {"none"}
        assert after["reference"]["kind"] == "accepted"
        events = (await client.get(f"{DRIFT}/events")).json()["events"]
        assert [event["kind"] for event in events] == ["reference", "level", "reference"]
        assert events[0]["reason"] == "winter"
        reset = await client.post(f"{DRIFT}/reset", json={"relearn": True})
        assert reset.json()["reference"]["kind"] == "learning"

    with_insight(drift_config(tmp_path), body, Labelled())


def test_no_text_reaches_the_database(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        await say(client, [f"my secret word number {i}" for i in range(150)])
        await summary_when(client, pending_texts=0)

    with_insight(drift_config(tmp_path), body)
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"confidence" in stored
    assert b"secret" not in stored


def test_cached_answers_count_and_refused_texts_do_not(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, replica: InsightReplica, _: Metrics) -> None:
        for _ in range(2):
            assert (await client.post("/predict", json={"text": "again"})).status_code == 200
        assert (await client.post("/predict", json={"text": " "})).status_code == 422
        assert (await client.get("/ready")).status_code == 200
        await summary_when(client, pending_texts=2)

    with_insight(drift_config(tmp_path), body)


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)


def test_the_report_is_one_safe_page(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        early = await client.get(f"{DRIFT}/report")
        assert early.status_code == 404
        await say(client, half(150, "few"))
        await summary_when(client, pending_texts=0)
        early = await client.get(f"{DRIFT}/report")
        assert (early.status_code, early.json()["error_code"]) == (400, "E8003")
        await learn(client)
        page = await client.get(f"{DRIFT}/report")
        assert page.status_code == 200
        assert len(page.content) < 100_000
        assert "default-src 'none'" in page.headers["content-security-policy"]
        elements = Elements()
        elements.feed(page.text)
        assert elements.tags.isdisjoint({"script", "img", "link", "iframe", "a"})
        style = page.text.split("<style>")[1].split("</style>")[0]
        digest = hashlib.sha256(style.encode()).digest()
        assert base64.b64encode(digest).decode() in page.headers["content-security-policy"]

    with_insight(drift_config(tmp_path), body, Labelled())


def test_labels_in_the_page_are_escaped(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        await learn(client)
        page = (await client.get(f"{DRIFT}/report")).text
        assert "<script>" not in page
        assert "&lt;script&gt;" in page

    stages = Labelled()
    bad = replace(LIVE, labels=("NEG", "<script>"))
    stages.table = replace(stages.table, champion=bad)
    with_insight(drift_config(tmp_path), body, stages)


def test_off_says_so() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/v1/monitoring/drift")
        assert (answer.status_code, answer.json()["error_code"]) == (503, "E8001")
        assert "drift.enabled" in answer.json()["error_message"]

    with_front(AppConfig.model_validate({"cache": {"l2": "none"}}), body)


def keys_of(*roles: str) -> str:
    keys = [
        {
            "id": role,
            "sha256": hashlib.sha256(f"key-of-{role}-1".encode()).hexdigest(),
            "roles": [role],
        }
        for role in roles
    ]
    return json.dumps(keys)


def test_reading_and_changing_need_their_roles(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        for role, reading, changing in (
            ("predict", 403, 403),
            ("registry-read", 404, 403),
            ("admin", 404, 404),
        ):
            key = {"x-api-key": f"key-of-{role}-1"}
            assert (await client.get(DRIFT, headers=key)).status_code == reading
            reset = await client.post(f"{DRIFT}/reset", headers=key)
            assert reset.status_code == changing

    access = {"required": True, "api_keys": keys_of("predict", "registry-read", "admin")}
    with_insight(drift_config(tmp_path, access=access), body)


def feedback_config(folder: Path, **settings: Any) -> AppConfig:
    feedback = {"enabled": True, "audit_share": 1.0, **settings}
    return drift_config(folder, {"enabled": False}, feedback=feedback)


async def task_when(client: httpx.AsyncClient) -> dict[str, Any]:
    """The next answer to review, once one has arrived."""
    while True:
        found: dict[str, Any] = (await client.get("/monitoring/labels/next")).json()
        if found["task"] is not None:
            task: dict[str, Any] = found["task"]
            return task
        await asyncio.sleep(0.05)


def test_answers_are_drawn_reviewed_measured_and_exported(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, _: InsightReplica, metrics: Metrics) -> None:
        sent = {"text": "write to ann@example.org, it is fine"}
        one = (await client.post("/predict", json=sent)).json()
        task = await task_when(client)
        assert task["prediction_id"] == one["prediction_id"]
        assert task["text"] == "write to <email>, it is fine"
        assert (task["drawn"], task["label"]) == ("random", None)
        said = {"prediction_id": one["prediction_id"], "label": "NEG", "comment": "irony"}
        receipt = await client.post("/monitoring/labels", json=said)
        assert receipt.status_code == 201
        assert receipt.json() == {
            "prediction_id": one["prediction_id"],
            "label": "NEG",
            "status": "single",
            "predicted": "POS",
            "correct": False,
            "again": False,
        }
        assert stages.counted == [(one["prediction_id"], "NEG")]
        found = (await client.get("/monitoring/accuracy")).json()
        assert (found["accuracy"]["value"], found["drawn"], found["complete"]) == (0.0, 1, True)
        rows = (await client.get("/monitoring/labels/export")).text.splitlines()
        assert [json.loads(row)["label"] for row in rows] == ["NEG"]
        told = {"prediction_id": one["prediction_id"], "corrected_label": "POS"}
        answer = await client.post("/feedback", json=told)
        assert (answer.status_code, answer.json()["correct"]) == (201, True)
        assert stages.counted == [(one["prediction_id"], "NEG")]
        taken = await client.post("/monitoring/labels/import", json={"labels": [said]})
        assert taken.json() == {"taken": 1, "known": 0, "refused": {}}
        forged = one["prediction_id"][:-1] + ("0" if one["prediction_id"][-1] != "0" else "1")
        for path, wrong in (
            ("/feedback", {"prediction_id": forged, "corrected_label": "POS"}),
            ("/monitoring/labels", said | {"prediction_id": forged}),
        ):
            assert (await client.post(path, json=wrong)).status_code == 404
        unknown = await client.post("/monitoring/labels", json=said | {"label": "sad"})
        assert unknown.status_code == 422
        assert "it has NEG, POS" in unknown.json()["error_message"]
        page = metrics.page().decode()
        assert 'sentiment_feedback_events_total{result="correct"} 1.0' in page
        off = await client.get(DRIFT)
        assert (off.status_code, off.json()["error_code"]) == (503, "E8001")

    stages = Stages()
    with_insight(feedback_config(tmp_path), body, stages)


def test_callers_count_for_releases_only_where_nothing_is_drawn(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        one = (await client.post("/predict", json={"text": "fine"})).json()
        said = {"prediction_id": one["prediction_id"], "corrected_label": "NEG"}
        answer = await client.post("/feedback", json=said)
        while answer.status_code != 201:
            await asyncio.sleep(0.05)
            answer = await client.post("/feedback", json=said)
        assert stages.counted == [(one["prediction_id"], "NEG")]
        assert answer.json()["not_counted"] == FORGOTTEN
        assert (await client.post("/feedback", json=said)).json()["not_counted"] == AGAIN
        stages.elsewhere = FeedbackResult(3, ("NEG", "POS"), True, False)
        said["corrected_label"] = "POS"
        assert (await client.post("/feedback", json=said)).json()["not_counted"] is None
        assert stages.not_counted == []

    stages = Stages()
    with_insight(feedback_config(tmp_path, audit_share=0), body, stages)


def test_a_caller_is_told_that_reviewers_judge(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        one = (await client.post("/predict", json={"text": "fine"})).json()
        said = {"prediction_id": one["prediction_id"], "corrected_label": "NEG"}
        answer = await client.post("/feedback", json=said)
        assert answer.json()["not_counted"] == BY_REVIEWERS
        assert "counts for no release: a caller's word" in answer.json()["message"]
        await asyncio.sleep(0)
        assert (stages.counted, stages.not_counted) == ([], [BY_REVIEWERS])

    stages = Stages()
    with_insight(feedback_config(tmp_path, audit_share=0.5), body, stages)


def test_another_model_that_is_served_takes_over_nothing(tmp_path: Path) -> None:
    other = replace(LIVE, name="other", digest="ef" * 32, labels=("anger", "joy"))

    async def body(client: httpx.AsyncClient, replica: InsightReplica, _: Metrics) -> None:
        one = (await client.post("/predict", json={"text": "fine"})).json()
        await task_when(client)
        kpis: dict[str, Any] = {}
        while not kpis.get("total_predictions"):
            kpis = (await client.get("/monitoring/kpis/business")).json()
        await replica.route(RoutingTable(2, other))
        mine = {"model": "m"}
        found = (await client.get("/monitoring/labels/next")).json()
        assert (found["task"], found["model_name"]) == (None, "other")
        assert found["other_models"] == {"m": 1}
        found = (await client.get("/monitoring/labels/next", params=mine)).json()
        assert found["task"]["prediction_id"] == one["prediction_id"]
        for path, now, before in (("business", 0, 1), ("cost", None, 1e-05)):
            name = "total_predictions" if path == "business" else "cost_per_prediction_usd"
            shown = (await client.get(f"/monitoring/kpis/{path}")).json()
            assert (shown["model_name"], shown[name]) == ("other", now)
            shown = (await client.get(f"/monitoring/kpis/{path}", params=mine)).json()
            assert (shown["model_name"], shown[name]) == ("m", before)
        # A word on an answer of the model before is of that model.
        said = {"prediction_id": one["prediction_id"], "label": "NEG"}
        judged = await client.post("/monitoring/labels", json=said)
        assert (judged.status_code, judged.json()["predicted"]) == (201, "POS")

    with_insight(
        drift_config(
            tmp_path,
            {"enabled": False},
            feedback={"enabled": True, "audit_share": 1.0},
            kpis={"enabled": True},
        ),
        body,
    )


def test_margins_are_drawn_and_the_share_is_kept(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        await say(client, half(800, "drawn"))
        await task_when(client)
        waiting: dict[str, int] = {}
        # 80 are expected, and four standard deviations are 34.
        while sum(waiting.values()) < 46:
            waiting = (await client.get("/monitoring/labels/next")).json()["waiting"]
            await asyncio.sleep(0.05)
        assert 40 < waiting["random"] < 130
        assert "margin" not in waiting

    with_insight(feedback_config(tmp_path, audit_share=0.1, margin_share=1), body)


def test_no_more_than_the_limit_waits(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        await say(client, half(50, "many"))
        await task_when(client)
        for asked in ({}, {"model": "m"}):
            found = (await client.get("/monitoring/labels/next", params=asked)).json()
            assert (found["waiting"]["random"], found["model_name"]) == (10, "m")
        answer = await client.get("/monitoring/labels/next", params={"model": "third"})
        assert (answer.status_code, answer.json()["error_code"]) == (404, "E8003")

    with_insight(feedback_config(tmp_path, max_waiting=10), body)


def test_reviewing_needs_its_role_and_is_off_by_default(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient, *_: object) -> None:
        for role, wanted in (("predict", 403), ("registry-read", 403), ("review", 200)):
            key = {"x-api-key": f"key-of-{role}-1"}
            answer = await client.get("/monitoring/labels/next", headers=key)
            assert answer.status_code == wanted

    async def off(client: httpx.AsyncClient, *_: object) -> None:
        for path in ("labels/next", "labels/export", "accuracy"):
            answer = await client.get(f"/monitoring/{path}")
            assert (answer.status_code, answer.json()["error_code"]) == (503, "E8001")

    config = feedback_config(tmp_path)
    access = {"required": True, "api_keys": keys_of("predict", "registry-read", "review")}
    with_insight(config.model_validate(config.model_dump() | {"access": access}), body)
    with_insight(drift_config(tmp_path), off)
