"""A text has one answer, one log row and the same part in a release, however it comes."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow.dataset as ds
import pytest
from front import LIVE, Stages, made_ingress
from jobs_front import jobs_front, until_ended

from configs.schema.app import AppConfig
from deployments.canary.observer import CandidateObserver
from deployments.inference.classifier import Classifier
from deployments.inference.predictor import Predictor
from deployments.oip.grpc_messages import ModelInferRequest
from deployments.payloads import ModelAnswer, TextBatch
from deployments.prediction_log import open_log
from deployments.stream.messages import Message, Outgoing
from deployments.stream.offsets import Delivery, PartitionOffsets
from deployments.stream.processor import Processor
from deployments.stream.producer import Answers
from deployments.telemetry.metrics import Metrics
from deployments.versions import CurrentRoutes, RoutingTable, TrafficSlot

OTHER = replace(LIVE, version=4, digest="cd" * 32)
SENT, TEXT = "  not bad at all ", "not bad at all"
SCORES = {"NEG": 0.333333, "POS": 0.666667}


class Thirds(Stages):
    """Scores that have to be rounded."""

    async def classify(self, batch: TextBatch) -> ModelAnswer:
        answer = await super().classify(batch)
        scores = np.tile(np.array([1 / 3, 2 / 3], dtype=np.float32), (len(batch.texts), 1))
        return replace(answer, scores=replace(answer.scores, scores=scores))


@dataclass(frozen=True, slots=True)
class Seen:
    """What a caller got, and what the replica that answered has kept."""

    label: str
    scores: dict[str, float]
    metrics: Metrics
    observer: CandidateObserver


@asynccontextmanager
async def ingress_client(config: AppConfig, stages: Stages) -> AsyncIterator[tuple[Any, Any]]:
    async with made_ingress(config, stages) as ingress:
        transport = httpx.ASGITransport(ingress.__serve_build_asgi_app__())
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield ingress, client


def shown(prediction: dict[str, Any], replica: Any) -> Seen:
    label, scores = prediction["label"], prediction["scores"]
    return Seen(label, scores, replica._metrics, replica._observer)


async def http_single(config: AppConfig, stages: Stages) -> Seen:
    async with ingress_client(config, stages) as (ingress, client):
        answer = await client.post("/api/v1/predict", json={"text": SENT})
        return shown(answer.json(), ingress)


async def http_batch(config: AppConfig, stages: Stages) -> Seen:
    async with ingress_client(config, stages) as (ingress, client):
        answer = await client.post("/api/v1/predict/batch", json={"texts": [SENT]})
        return shown(answer.json()["results"][0]["prediction"], ingress)


async def open_inference(config: AppConfig, stages: Stages) -> Seen:
    async with ingress_client(config, stages) as (ingress, client):
        tensor = {"name": "text", "shape": [1], "datatype": "BYTES", "data": [SENT]}
        answer = await client.post("/v2/models/m/infer", json={"inputs": [tensor]})
        outputs = {output["name"]: output["data"] for output in answer.json()["outputs"]}
        scores = dict(zip(LIVE.labels, outputs["scores"], strict=True))
        return shown({"label": outputs["label"][0], "scores": scores}, ingress)


class Context:
    """What Ray Serve gives with a gRPC call."""

    def invocation_metadata(self) -> list[tuple[str, str]]:
        return []

    def peer(self) -> str:
        return "ipv4:127.0.0.1:5000"

    def set_trailing_metadata(self, trailing_metadata: list[tuple[str, str]]) -> None:
        pass


async def open_inference_grpc(config: AppConfig, stages: Stages) -> Seen:
    async with made_ingress(config, stages) as ingress:
        request = ModelInferRequest(model_name="m")
        tensor = request.inputs.add(name="text", datatype="BYTES", shape=[1])
        tensor.contents.bytes_contents.append(SENT.encode())
        answer = await ingress.ModelInfer(request, grpc_context=Context())
        outputs = {output.name: output.contents for output in answer.outputs}
        label = outputs["label"].bytes_contents[0].decode()
        # Single precision on the wire.
        rounded = [round(score, 6) for score in outputs["scores"].fp32_contents]
        scores = dict(zip(LIVE.labels, rounded, strict=True))
        return shown({"label": label, "scores": scores}, ingress)


async def kafka(config: AppConfig, stages: Stages) -> Seen:
    metrics, routes = Metrics(), CurrentRoutes(stages.table)
    classifier = Classifier(config, stages.classify, None, metrics, hops_in_flight=1, engines=1)
    observer = CandidateObserver(config, stages.classify, metrics, routes)
    log = open_log(config, metrics)
    predictor = Predictor(
        classifier, routes, observer, config.limits, metrics, source="kafka", log=log
    )
    written: list[Outgoing] = []

    async def send(records: Any) -> Answers:
        written.extend(records)
        return [None] * len(records)

    processor = Processor(
        config.stream, predictor, send=send, acknowledge=lambda _: None, metrics=metrics.stream
    )
    value = json.dumps({"id": "a", "text": SENT}).encode()
    message = Message("sentiment_requests", 0, 0, 0, b"a", value)
    processor.take([Delivery(message, PartitionOffsets(), time.monotonic())])
    assert await processor.drain(10)
    if log is not None:
        log.close()
    (record,) = written
    result = json.loads(record.value)
    return Seen(result["label"], result["scores"], metrics, observer)


async def job(config: AppConfig, stages: Stages) -> Seen:
    async with jobs_front(config, stages) as (client, replica):
        accepted = (await client.post("/predict", json={"texts": [SENT]})).json()
        await until_ended(client, accepted["job_id"])
        page = (await client.get(f"/results/{accepted['job_id']}")).json()
        return shown(page["results"][0]["prediction"], replica)


Way = Callable[[AppConfig, Stages], Awaitable[Seen]]
WAYS: dict[Way, str] = {
    http_single: "http",
    http_batch: "http",
    open_inference: "http",
    open_inference_grpc: "http",
    kafka: "kafka",
    job: "job",
}


def ask(way: Way, folder: Path, **slots: TrafficSlot) -> tuple[Seen, dict[str, Any]]:
    """What the caller got and the only row of the prediction log."""
    log = {"enabled": True, "text": "plain", "flush_s": 0.1}
    config = AppConfig.model_validate(
        {
            "cache": {"l2": "none"},
            "jobs": {"enabled": True, "database": f"sqlite:///{folder}/jobs.db"},
            "prediction_log": log | {"buffer_dir": f"{folder}/buffer", "uri": f"{folder}/lake"},
        }
    )
    stages = Thirds()
    stages.table = RoutingTable(1, LIVE, **slots)
    seen = asyncio.run(asyncio.wait_for(_to_the_end(way, config, stages), 30))
    rows = ds.dataset(folder / "lake", format="parquet", partitioning="hive").to_table()
    (row,) = rows.to_pylist()
    return seen, row


async def _to_the_end(way: Way, config: AppConfig, stages: Stages) -> Seen:
    seen = await way(config, stages)
    await asyncio.sleep(0.1)  # the shadow version is asked after the answer
    return seen


@pytest.mark.parametrize("way", WAYS)
def test_every_way_gives_the_same_answer_row_and_counts(way: Way, tmp_path: Path) -> None:
    seen, row = ask(way, tmp_path, challenger=TrafficSlot(OTHER, 1.0))
    assert (seen.label, seen.scores) == ("POS", SCORES)
    assert (row["source"], row["text"], row["text_length"]) == (WAYS[way], TEXT, len(TEXT))
    assert (row["label"], row["score"]) == ("POS", SCORES["POS"])
    assert dict(zip(row["labels"], row["scores"], strict=True)) == SCORES
    # The challenger has all traffic here.
    assert row["model_version"] == OTHER.version
    totals = seen.metrics.totals()
    assert totals["sentiment_text_length_characters_sum"] == len(TEXT)
    assert totals["sentiment_text_length_characters_count"] == 1
    assert seen.metrics.predictions.labels("POS", "false")._value.get() == 1
    judged = seen.observer.judge(row["prediction_id"], "NEG")
    assert judged is not None
    assert (judged.version, judged.correct) == (OTHER.version, False)


@pytest.mark.parametrize("way", WAYS)
def test_every_way_has_the_shadow_version_asked(way: Way, tmp_path: Path) -> None:
    seen, row = ask(way, tmp_path, shadow=TrafficSlot(OTHER, 1.0))
    assert row["model_version"] == LIVE.version
    assert seen.metrics.shadow_predictions.labels("compared")._value.get() == 1
    assert seen.observer.take(OTHER.digest)["shadow.agreement"] == (0, 1, 0)


def test_a_text_without_a_coroutine_is_answered_logged_and_observed_as_any_other() -> None:
    async def body() -> None:
        table = RoutingTable(1, LIVE, challenger=TrafficSlot(OTHER, 0.5))
        stages, metrics, seen = Stages(), Metrics(), []

        class Noted:
            def answered(self, model: Any, answers: Any, keys: Any) -> None:
                seen.append((model, [answer.label for answer in answers], tuple(keys)))

        config = AppConfig()
        classifier = Classifier(config, stages.classify, None, metrics, hops_in_flight=1, engines=1)
        predictor = Predictor(
            classifier, CurrentRoutes(table), Noted(), config.limits, metrics, source="http"
        )
        for key in "abcdefgh":
            got: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            options = {"deadline_s": time.monotonic() + 5, "bulk": False, "key": key}
            predictor.start(f"{SENT}{key}", done=got.set_result, caller="", **options)
            started, (answer,) = await got, (await got).answers
            awaited = await predictor.predict([f"{SENT}{key}"], **options)
            assert (started.model, started.classified) == (awaited.model, awaited.classified)
            assert {**answer.body(), "prediction_id": "", "cached": True} == {
                **awaited.answers[0].body(),
                "prediction_id": "",
            }
        assert seen[::2] == seen[1::2]
        assert {model.version for model, *_ in seen} == {3, 4}

    asyncio.run(asyncio.wait_for(body(), 20))
