"""``POST /feedback`` at the front door, and what canary and feedback leave to be counted."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from front import LIVE, Stages, make_front, with_front

from configs.schema.app import AppConfig
from deployments.payloads import AGAIN, NO_CANDIDATE, FeedbackResult
from deployments.versions import RoutingTable, TrafficSlot

OTHER = replace(LIVE, version=4, digest="cd" * 32)
FEEDBACK = "/api/v1/feedback"


def config(**rollout: Any) -> AppConfig:
    return AppConfig.model_validate({"cache": {"l2": "none"}, "rollout": rollout})


async def judged(client: httpx.AsyncClient, prediction_id: str, label: str) -> httpx.Response:
    body = {"prediction_id": prediction_id, "corrected_label": label, "comments": "not kept"}
    return await client.post(FEEDBACK, json=body)


def test_a_correction_is_recorded_once_and_counted() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        one = (await client.post("/api/v1/predict", json={"text": "fine"})).json()
        texts = {"texts": ["good", " ", "bad"]}
        many = (await client.post("/api/v1/predict/batch", json=texts)).json()["results"]
        assert one["label"] == "POS"
        for prediction, label, correct in (
            (one, "pos", True),
            (many[0]["prediction"], "NEG", False),
            (many[2]["prediction"], "NEG", False),
        ):
            answer = await judged(client, prediction["prediction_id"], label)
            assert answer.status_code == 201
            told = answer.json()
            assert (told["status"], told["correct"]) == ("recorded", correct)
            assert told["model_version"] == LIVE.version
            assert told["not_counted"] == NO_CANDIDATE
        again = (await judged(client, one["prediction_id"], "NEG")).json()
        assert (again["status"], again["not_counted"]) == ("known", AGAIN)
        page = (await client.get("/api/v1/metrics")).text
        assert 'sentiment_feedback_total{result="correct"} 1.0' in page
        assert 'sentiment_feedback_total{result="wrong"} 2.0' in page
        assert stages.asked == []

    stages = Stages()
    with_front(config(), body, stages=stages)


def test_what_another_replica_answered_is_judged_there() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        prediction_id = str(uuid4())
        assert (await judged(client, prediction_id, "POS")).status_code == 404
        stages.elsewhere = FeedbackResult(9, ("NEG", "POS"), True, False)
        assert (await judged(client, prediction_id, "POS")).json()["model_version"] == 9
        stages.elsewhere = FeedbackResult(9, ("NEG", "POS"), None, False)
        refused = await judged(client, prediction_id, "sad")
        assert refused.status_code == 422
        assert "it has NEG, POS" in refused.json()["error_message"]
        assert stages.asked == [prediction_id] * 3

    stages = Stages()
    with_front(config(), body, stages=stages)


@pytest.mark.parametrize(
    "wrong",
    [
        {"prediction_id": "no uuid", "corrected_label": "POS"},
        {"prediction_id": str(uuid4())},
        {"prediction_id": str(uuid4()), "corrected_label": ""},
        {"prediction_id": str(uuid4()), "corrected_label": "POS", "score": 2},
    ],
)
def test_what_is_no_correction_is_refused(wrong: dict[str, Any]) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        assert (await client.post(FEEDBACK, json=wrong)).status_code == 422

    with_front(config(), body)


def test_nothing_is_remembered_when_the_setting_says_so() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        one = (await client.post("/api/v1/predict", json={"text": "fine"})).json()
        assert (await judged(client, one["prediction_id"], "POS")).status_code == 404

    with_front(config(max_remembered_predictions=0), body)


def test_a_canary_is_counted_from_answers_and_corrections() -> None:
    class Canary(Stages):
        async def routes(self) -> RoutingTable:
            return RoutingTable(1, LIVE, challenger=TrafficSlot(OTHER, 0.5))

    async def body() -> None:
        async with make_front(config(), Canary()) as app:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                for number in range(40):
                    sent = {"text": f"text {number}"}
                    one = (await client.post("/api/v1/predict", json=sent)).json()
                    told = (await judged(client, one["prediction_id"], "POS")).json()
                    assert told["not_counted"] is None
                for _ in range(2):
                    told = (await judged(client, one["prediction_id"], "POS")).json()
                    assert told["message"].endswith(f"counts for no release: {AGAIN}")
            ingress = app.__closure__[0].cell_contents.__self__
            counts = await ingress.observed(OTHER.digest)
            assert set(counts) == {
                "challenger.errors",
                "challenger.latency",
                "challenger.accuracy",
                f"missed.{AGAIN}",
            }
            assert counts[f"missed.{AGAIN}"] == (2, 0, 0)
            assert 5 < counts["challenger.errors"][1] <= 20
            assert counts["challenger.accuracy"][1] == counts["challenger.errors"][1]

    asyncio.run(asyncio.wait_for(body(), 20))
