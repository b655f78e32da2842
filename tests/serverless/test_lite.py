"""One process, the graph's answers: scores, errors, limits; and nothing of Ray or MLflow."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import yaml
from head_models import KINDS, bundle_of, expected
from head_models import TEXTS as HEAD_TEXTS

from configs.schema.app import AppConfig
from deployments.asgi.schemas import LiveModels, ServiceInfo
from deployments.model.engines import open_engine
from deployments.model.runner import LoadedModel
from deployments.tokenizer.replica import LoadedTokenizer
from operations.local_stack.ports import free_port
from registry.bundles.bundle import open_bundle
from serverless.app import LiteApp

ROOT = Path(__file__).parents[2]
BUNDLE = ROOT / "models" / "sentiment"
TEXTS = ["What a wonderful day", "awful", "Not bad at all!", "naïve 😀", "fine " * 400, "awful"]


def config(**parts: Any) -> AppConfig:
    bundled = {"cache": {"l2": "none"}, "registry": {"bundled_model_dir": str(BUNDLE)}}
    return AppConfig.model_validate(bundled | parts)


def with_lite(body: Callable[[httpx.AsyncClient], Awaitable[None]], **parts: Any) -> None:
    async def run() -> None:
        app = LiteApp(config(**parts))
        transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            await body(client)
        app.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_scores_are_those_of_the_bundle_text_by_text() -> None:
    bundle = open_bundle(BUNDLE)
    tokenizer, model = LoadedTokenizer(bundle), LoadedModel(bundle, open_engine(bundle))

    async def body(client: httpx.AsyncClient) -> None:
        answer = await client.post("/api/v1/predict/batch", json={"texts": TEXTS})
        for text, item in zip(TEXTS, answer.json()["results"], strict=True):
            encoded = tokenizer.encode([text.strip()])
            want = np.round(model.score([encoded.ids])[0].astype(float), 6)
            assert list(item["prediction"]["scores"].values()) == want.tolist()
            assert item["prediction"]["n_tokens"] == len(encoded.ids)
            assert item["prediction"]["truncated"] is bool(encoded.truncated[0])

    with_lite(body)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_head_has_its_answer(tmp_path: Path, name: str) -> None:
    bundle = bundle_of(name, tmp_path)

    async def body(client: httpx.AsyncClient) -> None:
        for text in HEAD_TEXTS:
            answer = (await client.post("/api/v1/predict", json={"text": text})).json()
            assert answer["scores"] == pytest.approx(expected(bundle, text), abs=2e-6)
            assert ("labels" in answer) is (bundle.head.task == "multi_label")

    with_lite(body, registry={"bundled_model_dir": str(bundle.directory)})


@pytest.mark.parametrize(
    ("method", "path", "content", "status", "code"),
    [
        ("POST", "/api/v1/predict", b'{"text": " "}', 422, "E1003"),
        ("POST", "/api/v1/predict", b'{"text": 1}', 422, "E1001"),
        ("POST", "/api/v1/predict", b"{", 400, "E1001"),
        ("GET", "/api/v1/predict", b"", 405, "E1001"),
        ("POST", "/api/v1/predict/batch", b'{"texts": []}', 422, "E1006"),
        ("GET", "/api/v1/models", b"", 501, "E4006"),
        ("POST", "/api/v1/batch/predict", b"{}", 501, "E4006"),
        ("GET", "/api/v1/monitoring/drift", b"", 501, "E4006"),
        ("POST", "/v2/models/sentiment/infer", b"{}", 501, "E4006"),
        ("GET", "/nothing", b"", 404, "E1001"),
    ],
)
def test_errors_are_the_graphs_and_what_is_not_here_says_so(
    method: str, path: str, content: bytes, status: int, code: str
) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json"}
        answer = await client.request(method, path, content=content, headers=headers)
        assert (answer.status_code, answer.json()["error_code"]) == (status, code)
        assert answer.headers["x-correlation-id"] == answer.json()["correlation_id"]

    with_lite(body)


def test_probes_metrics_and_what_is_live() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        await client.post("/api/v1/predict", json={"text": "fine"})
        assert (await client.post("/api/v1/predict", json={"text": "fine"})).json()["cached"]
        assert (await client.get("/api/v1/health/ready")).json()["checks"] == {"model": "ok"}
        assert (await client.get("/api/v1/health/live")).status_code == 200
        live = (await client.get("/api/v1/models/live")).json()
        assert LiveModels.model_validate(live).model_dump(mode="json") == live
        info = (await client.get("/")).json()
        assert ServiceInfo.model_validate(info).model_dump(mode="json") == info
        assert live["champion"]["digest"] == open_bundle(BUNDLE).digest
        assert "sentiment_predictions_total" in (await client.get("/metrics")).text

    with_lite(body)


def test_a_deadline_that_has_passed_is_504() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        texts = [f"{i} long " * 60 for i in range(200)]
        headers = {"x-deadline-ms": "20", "x-priority": "interactive"}
        answer = await client.post("/api/v1/predict/batch", json={"texts": texts}, headers=headers)
        codes = {item["error"] and item["error"]["error_code"] for item in answer.json()["results"]}
        assert "E2003" in codes

    with_lite(body)


def test_keys_are_asked_for_where_access_is_required() -> None:
    async def body(client: httpx.AsyncClient) -> None:
        path, text = "/api/v1/predict", {"text": "fine"}
        assert (await client.post(path, json=text)).status_code == 401
        headers = {"x-api-key": "a-key-of-1-team"}
        assert (await client.post(path, json=text, headers=headers)).status_code == 200
        assert (await client.get("/api/v1/health/live")).status_code == 200

    with_lite(body, access={"required": True, "api_key": "a-key-of-1-team"})


@pytest.fixture(scope="module")
def process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``python -m serverless`` with the port in PORT, as the platforms start it."""
    port = free_port()
    started = subprocess.Popen(
        [sys.executable, "-m", "serverless"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(port)},
        stderr=subprocess.PIPE,
        text=True,
    )
    url = f"http://127.0.0.1:{port}"
    deadline_s = time.monotonic() + 60
    while True:
        try:
            httpx.get(f"{url}/api/v1/health/ready").raise_for_status()
            break
        except httpx.HTTPError:
            assert started.poll() is None
            assert time.monotonic() < deadline_s
            time.sleep(0.1)
    yield started, url
    if started.poll() is None:
        started.kill()
    started.communicate()


def test_sigterm_ends_it_after_what_is_in_flight(process: tuple[Any, str]) -> None:
    started, url = process
    texts = [f"{i} a rather long sentence about nothing" * 4 for i in range(200)]
    with httpx.Client(timeout=60) as client:
        with client.stream("POST", f"{url}/api/v1/predict/batch", json={"texts": texts}) as answer:
            started.send_signal(signal.SIGTERM)
            answer.read()
        assert answer.status_code == 200
        assert answer.json()["failed"] == 0
    assert started.wait(15) in (0, -signal.SIGTERM)


def test_nothing_of_ray_or_mlflow_is_loaded() -> None:
    script = (
        "import sys, json; import serverless.aws_lambda, uvicorn;"
        "print(json.dumps([m for m in sys.modules if '.' not in m]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "onnxruntime" in loaded
    assert not loaded & {"ray", "mlflow", "fastapi", "sqlalchemy", "pyarrow", "torch", "redis"}
    # All that is loaded is in the list that the small installation is made of.
    lines = (ROOT / "serverless" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.removesuffix(" \\").split("==") for line in lines if "==" in line)
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert {f"{name}=={version}" for name, version in pins.items()} <= {
        line.lower() for line in constraints
    }


def test_deploy_files_name_what_there_is() -> None:
    class Loader(yaml.SafeLoader):
        """CloudFormation's short forms as plain values."""

    Loader.add_multi_constructor("!", lambda loader, suffix, node: node.value)
    folder = ROOT / "serverless"
    template = yaml.load((folder / "aws-lambda/template.yaml").read_text(), Loader)
    function = template["Resources"]["Classifier"]["Properties"]
    module, _, name = function["Handler"].rpartition(".")
    assert f"def {name}(" in (ROOT / (module.replace(".", "/") + ".py")).read_text()
    service = yaml.safe_load((folder / "google-cloud-run/service.yaml").read_text())
    container = service["spec"]["template"]["spec"]["containers"][0]
    assert container["startupProbe"]["httpGet"]["path"] == "/api/v1/health/ready"
    known = {field.upper() for field in ("MLOPS_CACHE__L2", "MLOPS_LIMITS__DEFAULT_DEADLINE_MS")}
    assert set(function["Environment"]["Variables"]) <= known
    settings = (ROOT / "docs" / "settings.md").read_text()
    assert all(variable in settings for variable in known)
    for dockerfile in folder.glob("*/Dockerfile"):
        for line in dockerfile.read_text().splitlines():
            if line.startswith("COPY "):
                assert (ROOT / line.split()[1]).exists(), line
