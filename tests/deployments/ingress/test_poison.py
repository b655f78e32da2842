"""A text that the model has no answer for, at each HTTP entry: it fails alone, with E2002."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from front import with_front
from poison_model import GOOD, LONG, NAN, NO_ROW, POISON, PoisonStages

from configs.schema.app import AppConfig
from deployments.cache.memory import CacheReplica

ONE, BATCH, OIP = "/api/v1/predict", "/api/v1/predict/batch", "/v2/models/m/infer"
CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})


async def metric(client: httpx.AsyncClient, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


@pytest.mark.parametrize("poison", POISON)
def test_a_single_text_fails_with_the_error_body_and_is_neither_kept_nor_counted(
    tmp_path: Path, poison: str
) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for _ in range(2):
            answer = await client.post(ONE, json={"text": poison})
            assert answer.status_code == 500
            assert answer.json()["error_code"] == "E2002"
        assert await metric(client, "sentiment_failed_texts_total") == 2
        assert await metric(client, "sentiment_predictions_total") == 0
        assert await metric(client, "sentiment_prediction_score_sum") == 0
        assert (await client.post(ONE, json={"text": GOOD[0]})).status_code == 200

    with_front(CONFIG, body, stages=PoisonStages(tmp_path))


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("place", [0, 7, 12])
def test_in_a_batch_of_thirteen_only_the_poison_fails(
    tmp_path: Path, poison: str, place: int
) -> None:
    texts = [*GOOD[:place], poison, *GOOD[place:]]

    async def body(client: httpx.AsyncClient) -> None:
        answer = (await client.post(BATCH, json={"texts": texts})).json()
        assert (answer["total"], answer["failed"]) == (13, 1)
        for index, item in enumerate(answer["results"]):
            if index == place:
                assert item["prediction"] is None
                assert item["error"]["error_code"] == "E2002"
            else:
                assert 0 < item["prediction"]["score"] <= 1
                assert item["error"] is None

    with_front(CONFIG, body, stages=PoisonStages(tmp_path))


def test_44_callers_do_not_notice_four_with_poison(tmp_path: Path) -> None:
    poison = [NO_ROW, NAN, LONG, f"tea {NO_ROW}"]
    texts = [f"{'small ' * (1 + i % 9)}{GOOD[i % 12]}" for i in range(44)]

    async def body(client: httpx.AsyncClient) -> None:
        asked = [*texts[:20], *poison, *texts[20:]]
        answers = await asyncio.gather(*(client.post(ONE, json={"text": text}) for text in asked))
        for text, answer in zip(asked, answers, strict=True):
            assert answer.status_code == (500 if text in poison else 200), (text, answer.text)
            if text not in poison:
                assert None not in answer.json()["scores"].values()

    with_front(CONFIG, body, stages=PoisonStages(tmp_path), hops=2)


class _Noting(CacheReplica):
    def __init__(self) -> None:
        super().__init__(1 << 20, 60)
        self.put: list[bytes] = []

    async def put_many(self, entries: Sequence[tuple[bytes, bytes]]) -> None:
        self.put += [key for key, _ in entries]
        await super().put_many(entries)


def test_poison_is_kept_in_no_level_of_the_cache(tmp_path: Path) -> None:
    level_two = _Noting()

    async def body(client: httpx.AsyncClient) -> None:
        for again in (False, True):
            answer = await client.post(BATCH, json={"texts": [GOOD[0], NAN, NO_ROW]})
            good, *others = answer.json()["results"]
            assert good["prediction"]["cached"] is again
            assert [item["error"]["error_code"] for item in others] == ["E2002", "E2002"]
            await asyncio.sleep(0.05)
        assert len(level_two.put) == 1

    with_front(AppConfig(), body, stages=PoisonStages(tmp_path), cache=level_two)


@pytest.mark.parametrize("poison", POISON)
def test_open_inference_knows_no_error_of_one_text_and_refuses_the_request(
    tmp_path: Path, poison: str
) -> None:
    def request(*texts: str) -> dict[str, Any]:
        tensor = {"name": "text", "datatype": "BYTES", "shape": [len(texts)], "data": texts}
        return {"inputs": [tensor]}

    async def body(client: httpx.AsyncClient) -> None:
        refused = await client.post(OIP, json=request(GOOD[0], poison))
        assert refused.status_code == 500
        assert refused.json()["error_code"] == "E2002"
        assert "error" in refused.json()
        assert (await client.post(OIP, json=request(*GOOD))).status_code == 200

    with_front(CONFIG, body, stages=PoisonStages(tmp_path))
