"""The Open Inference Protocol over gRPC: a stock Triton client, and the same answers and errors."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as triton
from front import LIVE, Stages
from grpc_front import served
from hypothesis import given
from hypothesis import strategies as st
from poison_model import GOOD, POISON, PoisonStages
from tritonclient.grpc import service_pb2, service_pb2_grpc

from configs.schema.api_keys import new_key, write_keys
from configs.schema.app import AppConfig
from deployments.errors import RequestError
from deployments.oip.grpc_codec import read_message, write_metadata
from deployments.oip.grpc_messages import ModelInferRequest
from deployments.oip.routes import metadata

GOLDEN = ["fine", " stripped ", "grün ✓", "x" * 5_000, "a\x00b", "fine"]
NAMES = ("label", "score", "scores", "n_tokens", "truncated")
CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})


def infer(address: str, texts: list[str], **more: Any) -> dict[str, Any]:
    with triton.InferenceServerClient(address) as client:
        tensor = triton.InferInput("text", [len(texts)], "BYTES")
        tensor.set_data_from_numpy(np.array(texts, dtype=np.object_))
        result = client.infer("m", [tensor], **more)
        return {name: result.as_numpy(name) for name in NAMES}


def test_a_stock_triton_client_works() -> None:
    with served(CONFIG) as (_, address), triton.InferenceServerClient(address) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("m")
        assert client.is_model_ready("m", "3")
        with pytest.raises(triton.InferenceServerException, match="no such model"):
            client.is_model_ready("m", "4")
        assert client.get_server_metadata().name == "sentigraph"
        metadata = client.get_model_metadata("m")
        assert list(metadata.versions) == ["3"]
        assert [tensor.name for tensor in metadata.outputs] == list(NAMES)
        assert list(metadata.outputs[2].shape) == [-1, 2]
        found = infer(address, ["fine", "grün ✓"], request_id="seven", model_version="3")
        assert found["label"].tolist() == [b"POS", b"POS"]
        assert found["scores"].tolist() == [[0.25, 0.75]] * 2
        assert (found["n_tokens"].dtype, found["n_tokens"].tolist()) == (np.int32, [5, 5])
        assert found["truncated"].tolist() == [False, False]


def test_this_door_answers_as_http_does() -> None:
    with served(CONFIG) as (web, address):
        http = httpx.post(f"http://{web}/api/v1/predict/batch", json={"texts": GOLDEN}).json()
        found = infer(address, GOLDEN)
        for i, result in enumerate(http["results"]):
            answer = result["prediction"]
            assert answer["label"] == found["label"][i].decode()
            assert np.float32(answer["score"]) == found["score"][i]
            assert [np.float32(s) for s in answer["scores"].values()] == list(found["scores"][i])
            assert answer["n_tokens"] == found["n_tokens"][i]
            assert answer["truncated"] == found["truncated"][i]


def stub(channel: grpc.Channel) -> Any:
    return service_pb2_grpc.GRPCInferenceServiceStub(channel)


def request(*texts: bytes, **more: Any) -> Any:
    message = service_pb2.ModelInferRequest(model_name="m", **more)
    tensor = message.inputs.add(name="text", datatype="BYTES", shape=[len(texts)])
    tensor.contents.bytes_contents.extend(texts)
    return message


def test_contents_are_answered_with_contents() -> None:
    with served(CONFIG) as (_, address), grpc.insecure_channel(address) as channel:
        answer = stub(channel).ModelInfer(request(b"fine", id="seven"))
        assert (answer.id, answer.model_name, answer.model_version) == ("seven", "m", "3")
        outputs = {output.name: output.contents for output in answer.outputs}
        assert not answer.raw_output_contents
        assert list(outputs["label"].bytes_contents) == [b"POS"]
        assert list(outputs["scores"].fp32_contents) == [0.25, 0.75]
        assert list(outputs["n_tokens"].int_contents) == [5]
        assert list(outputs["truncated"].bool_contents) == [False]


def refusal(channel: grpc.Channel, message: Any, metadata: Any = ()) -> tuple[str, str, str]:
    with pytest.raises(grpc.RpcError) as refused:
        stub(channel).ModelInfer(message, metadata=metadata)
    error: Any = refused.value
    trailers = dict(error.trailing_metadata())
    assert trailers["x-correlation-id"]
    return error.code().name, trailers["x-error-code"], error.details()


def test_limits_and_refusals_are_those_of_every_door() -> None:
    limits = {"max_text_chars": 1_000, "max_batch_texts": 2, "max_body_bytes": 2_048}
    config = AppConfig.model_validate({"cache": {"l2": "none"}, "limits": limits})
    with served(config) as (_, address), grpc.insecure_channel(address) as channel:

        def refused(message: Any, *metadata: tuple[str, str]) -> tuple[str, str]:
            return refusal(channel, message, metadata)[:2]

        invalid = "INVALID_ARGUMENT"
        assert refused(request()) == (invalid, "E1006")
        assert refused(request(b"a", b"b", b"c")) == (invalid, "E1005")
        assert refused(request(b"x" * 1_001)) == (invalid, "E1002")
        assert refused(request(b"a", b" ")) == (invalid, "E1003")
        assert refused(request(b"\xff")) == (invalid, "E1001")
        assert refused(request(b"x" * 2_048)) == (invalid, "E1001")
        assert refused(service_pb2.ModelInferRequest(model_name="m")) == (invalid, "E1001")
        assert refused(request(b"a", model_version="4")) == ("NOT_FOUND", "E1001")
        assert refused(request(b"a"), ("x-deadline-ms", "nope")) == (invalid, "E1001")
        both = request(b"a")
        both.raw_input_contents.extend([b"", b""])
        assert refused(both) == (invalid, "E1001")
        unknown = request(b"a")
        unknown.outputs.add(name="secret")
        assert refused(unknown) == (invalid, "E1001")


def test_bytes_that_are_no_message_are_the_clients_fault() -> None:
    with served(CONFIG) as (_, address), grpc.insecure_channel(address) as channel:
        send: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as refused:
            send(b"\xff\xff\xff")
        error: Any = refused.value
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "no message of ModelInfer" in error.details()


def test_a_deadline_is_kept() -> None:
    with served(CONFIG, Stages(0.5)) as (_, address), grpc.insecure_channel(address) as channel:
        late = refusal(channel, request(b"a"), [("x-deadline-ms", "100")])
        assert late[:2] == ("DEADLINE_EXCEEDED", "E2003")


def test_the_gate_is_the_same() -> None:
    key, kept = new_key("shop", ["predict"])
    other, no_role = new_key("nobody", [])
    kept = kept.model_copy(update={"requests_per_s": 0.01})
    access = {"required": True, "api_keys": write_keys([kept, no_role])}
    config = AppConfig.model_validate({"cache": {"l2": "none"}, "access": access})
    with served(config) as (web, address), grpc.insecure_channel(address) as channel:
        ask = stub(channel).ModelInfer
        assert stub(channel).ServerLive(service_pb2.ServerLiveRequest()).live
        assert refusal(channel, request(b"a"))[:2] == ("UNAUTHENTICATED", "E3002")
        without = refusal(channel, request(b"a"), [("x-api-key", other)])
        assert without[:2] == ("PERMISSION_DENIED", "E3002")
        _, call = ask.with_call(request(b"a"), metadata=[("x-api-key", key)])
        assert dict(call.trailing_metadata())["x-correlation-id"]
        limited = refusal(channel, request(b"a"), [("x-api-key", key)])
        assert limited[:2] == ("RESOURCE_EXHAUSTED", "E4003")
        # One bucket for both doors.
        over_http = httpx.post(
            f"http://{web}/api/v1/predict", json={"text": "a"}, headers={"X-API-Key": key}
        )
        assert over_http.status_code == 429


def test_metrics_know_the_door() -> None:
    with served(CONFIG) as (web, address):
        infer(address, ["fine"])
        page = httpx.get(f"http://{web}/metrics").text
        endpoint = 'endpoint="/inference.GRPCInferenceService/ModelInfer"'
        assert any(endpoint in line and 'status_code="200"' in line for line in page.splitlines())


@given(
    st.lists(st.binary(max_size=40), max_size=3),
    st.lists(st.binary(max_size=40), max_size=3),
    st.lists(st.integers(-1, 3), max_size=3),
    st.sampled_from(["BYTES", "FP32", ""]),
)
def test_any_message_is_read_or_refused(
    texts: list[bytes], raw: list[bytes], shape: list[int], datatype: str
) -> None:
    message = ModelInferRequest(model_name=LIVE.name, raw_input_contents=raw)
    tensor = message.inputs.add(name="text", datatype=datatype, shape=shape)
    tensor.contents.bytes_contents.extend(texts)
    try:
        asked = read_message(message)
    except RequestError as error:
        assert error.status == 422
    else:
        assert len(asked.texts) == int(np.prod(shape))


@pytest.mark.parametrize("poison", POISON)
def test_a_text_without_an_answer_refuses_its_request_alone(tmp_path: Path, poison: str) -> None:
    with served(CONFIG, PoisonStages(tmp_path)) as (_, address):
        with pytest.raises(triton.InferenceServerException, match="no answer for this text"):
            infer(address, [GOOD[0], poison])
        assert len(infer(address, list(GOOD))["label"]) == len(GOOD)


@pytest.mark.parametrize(
    "labels",
    [
        ("NEG", "POS"),
        ("Yes, absolutely", "No"),
        ("", '"', "\\", "a\nb", "😀", "e\u0301", "é", "a,b", "a", "b"),
        (",", ",,"),
    ],
)
def test_labels_with_commas_are_told_apart(labels: tuple[str, ...]) -> None:
    model = dataclasses.replace(LIVE, labels=labels)
    message: Any = write_metadata(metadata(model))
    assert tuple(json.loads(message.properties["labels_json"])) == labels
    # As clients know it.
    assert message.properties["labels"] == ",".join(labels)
