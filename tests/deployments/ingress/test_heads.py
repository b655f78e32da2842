"""Every kind of head has the same right answer at every HTTP entry, over gRPC and in the facts."""

import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from front import with_front
from grpc_front import served
from head_models import KINDS, TEXTS, bundle_of, expected, stages_of

from configs.schema.app import AppConfig
from deployments.oip.grpc_messages import (
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataRequest,
    ModelMetadataResponse,
)
from registry.records import Bundle

ONE, BATCH, OIP = "/api/v1/predict", "/api/v1/predict/batch", "/v2/models/m"
CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})
EACH_KIND = pytest.mark.parametrize("name", KINDS)


def check_answer(bundle: Bundle, text: str, answer: dict[str, Any]) -> None:
    """The fields of an answer that the head decides."""
    scores = expected(bundle, text)
    assert list(answer["scores"]) == list(bundle.labels)
    assert answer["scores"] == pytest.approx(scores, abs=2e-6)
    best = max(scores, key=scores.__getitem__)
    assert answer["label"] == best
    assert answer["score"] == answer["scores"][best]
    if bundle.head.task == "multi_label":
        thresholds = dict(zip(bundle.labels, bundle.head.thresholds, strict=True))
        assert answer["labels"] == [each for each in scores if scores[each] >= thresholds[each]]
    else:
        assert "labels" not in answer


@EACH_KIND
def test_single_batch_and_remembered_answers(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(name, tmp_path)

    async def body(client: httpx.AsyncClient) -> None:
        for text in TEXTS[:3]:
            first = (await client.post(ONE, json={"text": text})).json()
            check_answer(bundle, text, first)
            again = (await client.post(ONE, json={"text": text})).json()
            assert (first["cached"], again["cached"]) == (False, True)
            check_answer(bundle, text, again)
        answer = (await client.post(BATCH, json={"texts": list(TEXTS)})).json()
        assert answer["failed"] == 0
        for text, item in zip(TEXTS, answer["results"], strict=True):
            check_answer(bundle, text, item["prediction"])
        page = (await client.get("/metrics")).text
        observed = "sentiment_prediction_score_count 12.0"
        assert (observed in page) == (bundle.head.activation != "none")

    with_front(CONFIG, body, stages=stages_of(bundle, tmp_path))


@EACH_KIND
def test_open_inference_has_an_output_for_labels_that_apply(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(name, tmp_path)
    texts = {"name": "text", "shape": [len(TEXTS)], "datatype": "BYTES", "data": list(TEXTS)}

    async def body(client: httpx.AsyncClient) -> None:
        answer = (await client.post(f"{OIP}/infer", json={"inputs": [texts]})).json()
        outputs = {each["name"]: each for each in answer["outputs"]}
        shape = (len(TEXTS), len(bundle.labels))
        wanted = np.array([list(expected(bundle, text).values()) for text in TEXTS])
        assert np.reshape(outputs["scores"]["data"], shape) == pytest.approx(wanted, abs=2e-6)
        labels = [bundle.labels[column] for column in wanted.argmax(axis=1)]
        assert outputs["label"]["data"] == labels
        assert ("applies" in outputs) == (bundle.head.task == "multi_label")
        if "applies" in outputs:
            applies = wanted >= np.array(bundle.head.thresholds)
            assert outputs["applies"]["shape"] == list(shape)
            assert np.reshape(outputs["applies"]["data"], shape).tolist() == applies.tolist()
            assert applies.any()
        facts = (await client.get(OIP)).json()
        assert {each["name"] for each in facts["outputs"]} == set(outputs)
        assert facts["parameters"]["task"] == bundle.head.task

    with_front(CONFIG, body, stages=stages_of(bundle, tmp_path))


@EACH_KIND
def test_the_facts_of_the_live_version_say_what_its_scores_mean(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(name, tmp_path)
    head = bundle.head

    async def body(client: httpx.AsyncClient) -> None:
        live = (await client.get("/api/v1/models/live")).json()["champion"]
        facts = (await client.get("/api/v1/model-info")).json()
        for found in (live, facts):
            assert (found["task"], found["activation"]) == (head.task, head.activation)
            assert found["thresholds"] == list(head.thresholds)

    with_front(CONFIG, body, stages=stages_of(bundle, tmp_path))


def test_grpc_gives_the_labels_that_apply_and_names_the_head(tmp_path: Path) -> None:
    bundle = bundle_of("multi_label", tmp_path)
    with (
        served(CONFIG, stages_of(bundle, tmp_path)) as (_, address),
        grpc.insecure_channel(address) as channel,
    ):
        service = "/inference.GRPCInferenceService/"
        request = ModelInferRequest(model_name="m")
        given = request.inputs.add(name="text", datatype="BYTES", shape=[2])
        given.contents.bytes_contents.extend(text.encode() for text in TEXTS[:2])
        infer = channel.unary_unary(
            f"{service}ModelInfer",
            request_serializer=ModelInferRequest.SerializeToString,
            response_deserializer=ModelInferResponse.FromString,
        )
        answer = infer(request, timeout=10)
        facts = channel.unary_unary(
            f"{service}ModelMetadata",
            request_serializer=ModelMetadataRequest.SerializeToString,
            response_deserializer=ModelMetadataResponse.FromString,
        )(ModelMetadataRequest(name="m"), timeout=10)
    outputs = {each.name: each for each in answer.outputs}
    wanted = np.array([list(expected(bundle, text).values()) for text in TEXTS[:2]])
    applies = (wanted >= np.array(bundle.head.thresholds)).ravel().tolist()
    assert list(outputs["applies"].contents.bool_contents) == applies
    assert list(outputs["applies"].shape) == [2, 4]
    assert facts.properties["task"] == "multi_label"
    assert json.loads(facts.properties["thresholds_json"]) == [0.3, 0.5, 0.9, 0.99]
