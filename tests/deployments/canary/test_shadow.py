"""The shadow version is asked, counted, and never answers."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from front import LIVE, Stages, with_front

from configs.schema.app import AppConfig
from deployments.payloads import ModelAnswer, TextBatch
from deployments.versions import RoutingTable, TrafficSlot

OTHER = replace(LIVE, version=4, digest="cd" * 32)


class Mirrored(Stages):
    """Two versions; the other one has its labels the wrong way round, or is slow."""

    def __init__(self, weight: float = 1.0, shadow_delay_s: float = 0.0) -> None:
        super().__init__()
        self._weight = weight
        self._shadow_delay_s = shadow_delay_s

    async def routes(self) -> RoutingTable:
        return RoutingTable(1, LIVE, shadow=TrafficSlot(OTHER, self._weight))

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        answer = await super().classify(batch)
        if batch.digest == OTHER.digest:
            await asyncio.sleep(self._shadow_delay_s)
            scores = replace(answer.scores, scores=answer.scores.scores[:, ::-1].copy())
            return replace(answer, scores=scores)
        return answer


def counts(page: str) -> dict[str, float]:
    lines = (line.split(" ") for line in page.splitlines() if line.startswith("sentiment_shadow"))
    return {line[0]: float(line[1]) for line in lines if "bucket" not in line[0]}


def run(
    stages: Stages, texts: int, **rollout: Any
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    answers: list[dict[str, Any]] = []
    found: dict[str, float] = {}

    async def body(client: httpx.AsyncClient) -> None:
        for i in range(texts):
            sent = await client.post("/api/v1/predict", json={"text": f"text {i}"})
            answers.append(sent.json())
        await asyncio.sleep(0.3)
        found.update(counts((await client.get("/api/v1/metrics")).text))

    config = AppConfig.model_validate({"cache": {"l2": "none"}, "rollout": rollout})
    with_front(config, body, stages=stages)
    return answers, found


def test_answers_are_compared_and_never_returned() -> None:
    answers, found = run(Mirrored(), 10)
    assert {(a["model_version"], a["label"]) for a in answers} == {(3, "POS")}
    assert found['sentiment_shadow_predictions_total{result="compared"}'] == 10
    assert found["sentiment_shadow_prediction_mismatches_total"] == 10
    assert found["sentiment_shadow_prediction_matches_total"] == 0


@pytest.mark.parametrize(("limit", "skipped"), [(1, 9), (64, 0)])
def test_only_so_many_are_under_way(limit: int, skipped: int) -> None:
    answers, found = run(Mirrored(shadow_delay_s=5), 10, max_shadow_requests=limit)
    assert len(answers) == 10
    assert found.get('sentiment_shadow_predictions_total{result="skipped"}', 0) == skipped
