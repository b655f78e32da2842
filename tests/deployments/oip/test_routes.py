"""The Open Inference Protocol: a stock Triton client, the same answers, and bytes of all kinds."""

import asyncio
import json
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
import uvicorn
from front import LIVE, Stages, make_front, with_front
from hypothesis import given
from hypothesis import strategies as st

from configs.schema.app import AppConfig
from deployments.errors import RequestError
from deployments.oip.codec import read_request

INFER = "/v2/models/m/infer"
CONFIG = AppConfig.model_validate({"cache": {"l2": "none"}})


def ask(*texts: str, **more: Any) -> dict[str, Any]:
    tensor = {"name": "text", "shape": [len(texts)], "datatype": "BYTES", "data": list(texts)}
    return {"inputs": [tensor], **more}


@contextmanager
def served(config: AppConfig) -> Iterator[str]:
    """The ingress on a real socket, for clients that bring their own HTTP."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    async def body() -> None:
        async with make_front(config, Stages()) as app:
            server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error"))
            serving = asyncio.create_task(server.serve([listening]))
            await asyncio.to_thread(stop.wait)
            server.should_exit = True
            await serving

    thread = threading.Thread(target=asyncio.run, args=(body(),))
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stop.set()
        thread.join(20)
        listening.close()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_stock_triton_client_works() -> None:
    with served(CONFIG) as address, triton.InferenceServerClient(address) as client:
        deadline = time.monotonic() + 10
        while not client.is_server_live():
            assert time.monotonic() < deadline
        assert client.is_server_ready()
        assert client.is_model_ready("m", "3")
        assert not client.is_model_ready("m", "4")
        assert client.get_server_metadata()["extensions"] == ["binary_tensor_data"]
        metadata = client.get_model_metadata("m")
        assert metadata["versions"] == ["3"]
        assert [tensor["name"] for tensor in metadata["outputs"]][:2] == ["label", "score"]
        texts = np.array(["fine", "grün ✓"], dtype=np.object_)
        for binary in (True, False):
            tensor = triton.InferInput("text", [2], "BYTES")
            tensor.set_data_from_numpy(texts, binary_data=binary)
            names = ("label", "score", "scores", "n_tokens", "truncated")
            wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]
            result = client.infer("m", [tensor], outputs=wanted, request_id="seven")
            assert result.get_response()["id"] == "seven"
            label, score, scores, n_tokens, truncated = map(result.as_numpy, names)
            assert [str(item, "utf-8") if isinstance(item, bytes) else item for item in label] == [
                "POS",
                "POS",
            ]
            assert score.tolist() == [0.75, 0.75]
            assert scores.tolist() == [[0.25, 0.75]] * 2
            assert (n_tokens.dtype, n_tokens.tolist()) == (np.int32, [5, 5])
            assert truncated.tolist() == [False, False]
        unnamed = client.infer("m", [tensor], model_version="3")
        assert unnamed.as_numpy("score").tolist() == [0.75, 0.75]
        blank = triton.InferInput("text", [1], "BYTES")
        blank.set_data_from_numpy(np.array([" "], dtype=np.object_))
        with pytest.raises(triton.InferenceServerException, match="only white space"):
            client.infer("m", [blank])


GOLDEN = ["fine", " stripped ", "grün ✓", "x" * 5_000, "a\x00b", "fine"]


def test_every_door_gives_the_same_answers() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        single = [(await client.post("/api/v1/predict", json={"text": t})).json() for t in GOLDEN]
        batch = (await client.post("/api/v1/predict/batch", json={"texts": GOLDEN})).json()
        oip = (await client.post(INFER, json=ask(*GOLDEN))).json()
        columns = {output["name"]: output["data"] for output in oip["outputs"]}
        assert (oip["model_name"], oip["model_version"]) == (LIVE.name, str(LIVE.version))
        for i, answer in enumerate(single):
            twin = batch["results"][i]["prediction"]
            for name in ("label", "score", "n_tokens", "truncated"):
                assert answer[name] == twin[name] == columns[name][i]
            own = columns["scores"][2 * i : 2 * i + 2]
            assert list(answer["scores"].values()) == list(twin["scores"].values()) == own

    with_front(CONFIG, body)


def test_limits_and_refusals_are_those_of_every_door() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        async def refused(body: Any, path: str = INFER) -> tuple[int, str]:
            answer = await client.post(path, json=body)
            assert answer.json()["error"] == answer.json()["error_message"]
            return answer.status_code, answer.json()["error_code"]

        assert await refused(ask()) == (422, "E1006")
        assert await refused(ask(*"abc")) == (422, "E1005")
        assert await refused(ask("x" * 21)) == (422, "E1002")
        assert await refused(ask("a", " ")) == (422, "E1003")
        assert await refused(ask("a", outputs=[{"name": "secret"}])) == (422, "E1001")
        assert await refused({"inputs": []}) == (422, "E1001")
        assert await refused(ask("a"), "/v2/models/other/infer") == (404, "E1001")
        assert await refused(ask("a"), "/v2/models/m/versions/4/infer") == (404, "E1001")
        assert await refused(ask("a"), "/v2/nothing") == (404, "E1001")
        assert (await client.get(INFER)).status_code == 405
        late = await client.post(INFER, json=ask("a"), headers={"X-Deadline-Ms": "nope"})
        assert late.status_code == 422
        nested = {**ask("a", "b")["inputs"][0], "shape": [2, 1], "data": [["a"], ["b"]]}
        assert (await client.post(INFER, json={"inputs": [nested]})).status_code == 200

    limits = {"max_text_chars": 20, "max_batch_texts": 2}
    with_front(AppConfig.model_validate({"cache": {"l2": "none"}, "limits": limits}), body)


def binary(*texts: bytes, size: int | None = None, shape: list[int] | None = None) -> bytes:
    data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
    tensor = {"name": "text", "datatype": "BYTES", "shape": shape or [len(texts)]}
    tensor["parameters"] = {"binary_data_size": len(data) if size is None else size}
    return json.dumps({"inputs": [tensor]}).encode() + data


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_binary_texts_come_back(texts: list[str]) -> None:
    encoded = [text.encode("utf-8", "replace") for text in texts]
    body = binary(*encoded)
    head = body.index(b"}}]}") + 4
    assert read_request(body, str(head)).texts == [text.decode() for text in encoded]


@given(st.binary(max_size=400), st.one_of(st.none(), st.integers(-5, 500).map(str), st.text()))
def test_any_bytes_are_read_or_refused(body: bytes, head: str | None) -> None:
    try:
        read_request(body, head)
    except RequestError as error:
        assert 400 <= error.status < 500


@pytest.mark.parametrize(
    "tail",
    [b"", b"\x01", b"\x05\x00\x00\x00a", b"\xff\xff\xff\xffa", b"\x01\x00\x00\x00\xff", b"\0" * 8],
)
def test_cut_or_wrong_binary_data_is_refused(tail: bytes) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [1]}
    tensor["parameters"] = {"binary_data_size": len(tail)}
    head = json.dumps({"inputs": [tensor]}).encode()
    with pytest.raises(RequestError):
        read_request(head + tail, str(len(head)))


@pytest.mark.parametrize(
    "more",
    [
        {"id": None},
        {"outputs": None},
        {"outputs": []},
        {"parameters": None},
        {"id": None, "outputs": [], "parameters": None, "unknown": None},
    ],
)
def test_null_is_absent_and_no_outputs_are_all(more: dict[str, Any]) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        plain = (await client.post(INFER, json=ask("fine"))).json()
        answer = await client.post(INFER, json=ask("fine", **more))
        assert answer.status_code == 200
        assert answer.json() == plain
        assert len(plain["outputs"]) == 5
        assert "id" not in plain

    with_front(CONFIG, body)


def test_null_is_absent_in_inputs_and_outputs() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        asked = ask("fine", outputs=[{"name": "label", "parameters": None}])
        asked["inputs"][0]["parameters"] = None
        answer = await client.post(INFER, json=asked)
        assert [output["name"] for output in answer.json()["outputs"]] == ["label"]
        for odd in ({"parameters": []}, {"parameters": "x"}, {"outputs": {}}, {"id": 7}):
            assert (await client.post(INFER, json=ask("fine", **odd))).status_code == 422

    with_front(CONFIG, body)
