"""A golden corpus through every door of the running graph: one set of answers."""

import struct
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from operations.local_stack.stack import Stack

CORPUS = [
    "The delivery was late, but support was wonderful.",
    "I would not buy this again.",
    "not bad at all",
    "Worst. Film. Ever.",
    "ok",
    "!!!",
    "7",
    "Ça m'a plu, même si c'était un peu long.",
    "素晴らしい",
    "🙂🙃",
    "  spaces around  ",
    "tabs\tand\nlines",
    "a\x00zero byte",
    "e\u0301 and é",
    '<b>html</b> &amp; {json: "yes"}',
    "\u202eright to left",
    "word " * 300,
    "x" * 9_999,
    "The delivery was late, but support was wonderful.",
]
NAMES = ("label", "score", "scores", "n_tokens", "truncated")
Row = tuple[str, float, tuple[float, ...], int, bool]
MODEL = "sentiment"


def row(answer: dict[str, Any]) -> Row:
    scores = tuple(float(np.float32(score)) for score in answer["scores"].values())
    score = float(np.float32(answer["score"]))
    return answer["label"], score, scores, answer["n_tokens"], answer["truncated"]


def one_by_one(client: httpx.Client) -> Iterator[Row]:
    for text in CORPUS:
        yield row(client.post("/predict", json={"text": text}).raise_for_status().json())


def together(client: httpx.Client) -> list[Row]:
    answer = client.post("/predict/batch", json={"texts": CORPUS}).raise_for_status().json()
    return [row(result["prediction"]) for result in answer["results"]]


def open_inference(stack: Stack, client: httpx.Client) -> list[Row]:
    tensor = {"name": "text", "shape": [len(CORPUS)], "datatype": "BYTES", "data": CORPUS}
    answer = client.post(f"{stack.url}/v2/models/{MODEL}/infer", json={"inputs": [tensor]})
    outputs = {o["name"]: o["data"] for o in answer.raise_for_status().json()["outputs"]}
    return columns(outputs)


def open_inference_binary(stack: Stack) -> list[Row]:
    triton = tritonclient.http
    with triton.InferenceServerClient(stack.url.removeprefix("http://")) as client:
        tensor = triton.InferInput("text", [len(CORPUS)], "BYTES")
        tensor.set_data_from_numpy(np.array(CORPUS, dtype=np.object_), binary_data=True)
        wanted = [triton.InferRequestedOutput(name, binary_data=True) for name in NAMES]
        result = client.infer(MODEL, [tensor], outputs=wanted)
        return columns({name: result.as_numpy(name) for name in NAMES})


def over_grpc(stack: Stack) -> list[Row]:
    triton = tritonclient.grpc
    with triton.InferenceServerClient(stack.grpc_address) as client:
        tensor = triton.InferInput("text", [len(CORPUS)], "BYTES")
        tensor.set_data_from_numpy(np.array(CORPUS, dtype=np.object_))
        result = client.infer(MODEL, [tensor])
        return columns({name: result.as_numpy(name) for name in NAMES})


def columns(outputs: dict[str, Any]) -> list[Row]:
    n = len(CORPUS)
    labels = [str(v, "utf-8") if isinstance(v, bytes) else v for v in outputs["label"]]
    score = np.asarray(outputs["score"], dtype=np.float32).tolist()
    scores = np.asarray(outputs["scores"], dtype=np.float32).reshape(n, -1).tolist()
    return [
        (labels[i], score[i], tuple(scores[i]), int(outputs["n_tokens"][i]), bool(cut))
        for i, cut in enumerate(outputs["truncated"])
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_golden_corpus_has_one_answer_at_every_door(stack: Stack, client: httpx.Client) -> None:
    golden = list(one_by_one(client))
    assert any(cut for *_, cut in golden)
    assert len({label for label, *_ in golden}) > 1
    assert together(client) == golden
    assert open_inference(stack, client) == golden
    assert open_inference_binary(stack) == golden
    assert over_grpc(stack) == golden


def test_a_stock_grpc_client_finds_the_live_model(stack: Stack, client: httpx.Client) -> None:
    live = client.get("/models/live").json()["champion"]
    with tritonclient.grpc.InferenceServerClient(stack.grpc_address) as triton:
        assert triton.is_server_live()
        assert triton.is_server_ready()
        assert triton.is_model_ready(MODEL, str(live["version"]))
        assert triton.get_model_metadata(MODEL).versions == [str(live["version"])]
        with pytest.raises(tritonclient.grpc.InferenceServerException, match="no such model"):
            triton.get_model_metadata("other")


def test_refusals_cross_the_proxy_with_their_codes(stack: Stack) -> None:
    with tritonclient.grpc.InferenceServerClient(stack.grpc_address) as triton:

        def refused(*texts: str, **headers: str) -> str:
            tensor = tritonclient.grpc.InferInput("text", [len(texts)], "BYTES")
            tensor.set_data_from_numpy(np.array(texts, dtype=np.object_))
            with pytest.raises(tritonclient.grpc.InferenceServerException) as error:
                triton.infer(MODEL, [tensor], headers=headers)
            return str(error.value.status())

        assert refused(" ") == "StatusCode.INVALID_ARGUMENT"
        assert refused("x" * 10_001) == "StatusCode.INVALID_ARGUMENT"
        assert refused("a", **{"x-priority": "never"}) == "StatusCode.INVALID_ARGUMENT"
        assert refused(f"new text {id(refused)}", **{"x-deadline-ms": "1"}) == (
            "StatusCode.DEADLINE_EXCEEDED"
        )


def test_a_message_beyond_every_limit_ends_its_call_alone(stack: Stack) -> None:
    with tritonclient.grpc.InferenceServerClient(stack.grpc_address) as triton:
        for size in (5 << 20, 20 << 20):  # ours; Ray Serve's
            raw = struct.pack("<I", size) + b"x" * size
            tensor = tritonclient.grpc.InferInput("text", [1], "BYTES")
            tensor._raw_content = raw
            with pytest.raises(tritonclient.grpc.InferenceServerException):
                triton.infer(MODEL, [tensor])
        assert triton.is_server_ready()
