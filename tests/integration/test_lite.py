"""A lite server gives the graph's answers, bit by bit, and its refusals."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from configs.schema.app import AppConfig
from operations.local_stack.stack import Stack
from serverless.app import LiteApp

TEXTS = [
    "I absolutely love this phone, the camera is stunning.",
    "The delivery was late and nobody answered my calls.",
    "x",
    "naïve café 😀 日本語 — “quotes”",
    "UPPER lower 123 !!!",
    "word " * 60,
    "far too long for the model " * 200,
    "  spaces around  ",
    *(f"sentence number {i} of some length {'and more ' * (i % 7)}" for i in range(60)),
]
ONE = ("prediction_id", "inference_time_ms", "cached", "model_version")
REQUESTS: list[tuple[str, str, bytes, dict[str, str]]] = [
    ("POST", "/predict", b'{"text": ""}', {}),
    ("POST", "/predict", b'{"text": "fine", "more": 1}', {}),
    ("POST", "/predict", b"\xff", {}),
    ("POST", "/predict", b'{"text": "fine"}', {"content-type": "text/plain"}),
    ("POST", "/predict", b'{"text": "fine"}', {"x-deadline-ms": "soon"}),
    ("POST", "/predict", b'{"text": "fine"}', {"x-priority": "first"}),
    ("POST", "/predict", json.dumps({"text": "x" * 10_001}).encode(), {}),
    ("POST", "/predict/batch", b'{"texts": []}', {}),
    ("POST", "/predict/batch", json.dumps({"texts": ["x"] * 1_001}).encode(), {}),
    ("GET", "/predict", b"", {}),
    ("POST", "/health/live", b"{}", {}),
]


@pytest.fixture(scope="module")
def lite(stack: Stack) -> Any:
    """Asks a lite server in this process, of the same bundle."""
    registry = {"bundled_model_dir": stack.config.registry.bundled_model_dir}
    config = AppConfig.model_validate({"cache": {"l2": "none"}, "registry": registry})
    loop = asyncio.new_event_loop()
    app = LiteApp(config)
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    client = httpx.AsyncClient(transport=transport, base_url="http://lite/api/v1", timeout=60)

    def ask(method: str, path: str, **more: Any) -> httpx.Response:
        return loop.run_until_complete(client.request(method, path, **more))

    yield ask
    loop.run_until_complete(client.aclose())
    loop.close()
    app.close()


def same(answer: dict[str, Any]) -> dict[str, Any]:
    """What has to be equal: all but ids, times and what a cache knew."""
    return {name: value for name, value in answer.items() if name not in ONE}


def test_scores_are_equal_bit_by_bit(client: httpx.Client, lite: Any) -> None:
    body = {"texts": TEXTS}
    patient = {"X-Deadline-Ms": "60000"}
    ours = lite("POST", "/predict/batch", json=body, headers=patient).json()
    graphs = client.post("/predict/batch", json=body, headers=patient, timeout=60).json()
    assert ours["failed"] == graphs["failed"] == 0
    assert ours["model_digest"] == graphs["model_digest"]
    for one, other in zip(ours["results"], graphs["results"], strict=True):
        assert same(one["prediction"]) == same(other["prediction"])
    for text in TEXTS[:8]:
        one = lite("POST", "/predict", json={"text": text}).json()
        assert same(one) == same(client.post("/predict", json={"text": text}).json())


@pytest.mark.parametrize(("method", "path", "content", "headers"), REQUESTS)
def test_refusals_are_equal(
    client: httpx.Client,
    lite: Any,
    method: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
) -> None:
    sent = {"content": content, "headers": {"content-type": "application/json", **headers}}
    ours, graphs = lite(method, path, **sent), client.request(method, path, **sent)
    assert ours.status_code == graphs.status_code
    assert ours.json()["error_code"] == graphs.json()["error_code"]
    if path.startswith("/predict"):
        assert ours.json()["error_message"] == graphs.json()["error_message"]
        assert ours.json()["context"] == graphs.json()["context"]
