"""The registry over HTTP for tests: calls, versions, bundles and uploads."""

import asyncio
import io
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from configs.schema.app import AppConfig
from deployments.asgi.exchange import Exchange
from deployments.asgi.proxy import ProxyClient, ProxyServer
from deployments.asgi.upload import Uploads
from deployments.errors import RequestError
from deployments.rollout.change_feed import ChangeFeed
from deployments.rollout.registry_routes import build_registry_app
from registry.bundles.bundle import write_bundle
from registry.model_registry import ModelRegistry
from registry.records import EngineHints

MODELS = "/api/v1/models"
ANA = {"X-Actor": "ana"}
META = {"author": "ana", "tags": ["nlp", "prod"], "framework": "onnx"}


class Api:
    """Calls the routes through both halves of the relay."""

    def __init__(self, config: AppConfig, registry: ModelRegistry, news: ChangeFeed) -> None:
        end = ProxyServer(build_registry_app(config, registry, news))
        relay = ProxyClient(end, Uploads())

        async def front(scope: Any, receive: Any, send: Any) -> None:
            exchange = Exchange(scope, receive, send)
            try:
                await relay.forward(exchange, max_bytes=config.registry.max_artifact_bytes + 65_536)
            except RequestError as error:
                await exchange.fail(error)

        self._front = front
        self.parts_held = end._bodies

    def run(self, body: Callable[[httpx.AsyncClient], Awaitable[Any]]) -> Any:
        async def go() -> Any:
            transport = httpx.ASGITransport(self._front)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test", headers=ANA, timeout=60
            ) as client:
                return await body(client)

        return asyncio.run(go())

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        answer: httpx.Response = self.run(
            lambda client: client.request(method, f"{MODELS}{path}", **more)
        )
        return answer


def version(api: Api, model: str, label: str = "1.0.0", **metadata: Any) -> dict[str, Any]:
    body = {"version": label, "metadata": {**META, **metadata}}
    made = api("POST", f"/{model}/versions", json=body)
    assert made.status_code == 201, made.text
    return made.json()  # type: ignore[no-any-return]


def bundle_zip(folder: Path, weights: bytes = b"weights", compress: bool = False) -> bytes:
    (folder / "model.onnx").write_bytes(weights)
    (folder / "tokenizer.json").write_text("{}")
    made = write_bundle(
        folder / "bundle",
        name="tiny",
        labels=("NEG", "POS"),
        files={n: folder / n for n in ("model.onnx", "tokenizer.json")},
        max_tokens=16,
        engine=EngineHints("onnx", "fp32", ("input_ids",), 0),
    )
    return zipped({p.name: p.read_bytes() for p in made.directory.iterdir()}, compress=compress)


def zipped(files: dict[str, bytes], *, compress: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(
        out, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    ) as pack:
        for name, content in files.items():
            pack.writestr(name, content)
    return out.getvalue()


def upload(api: Api, model: str, content: bytes, kind: str = "bundle", label: str = "1.0.0") -> Any:
    return api(
        "POST",
        f"/{model}/versions/{label}/artifact",
        files={"file": ("../../evil.zip", content)},
        data={"format": kind},
    )


def promote(api: Api, model: str, label: str, to: str, **more: Any) -> httpx.Response:
    body = {"to_status": to, "reason": "because"}
    return api("POST", f"/{model}/versions/{label}/promote", json=body, **more)


def ready(api: Api, model: str, label: str, folder: Path, weights: bytes) -> None:
    version(api, model, label)
    assert upload(api, model, bundle_zip(folder, weights), label=label).status_code == 200
    assert promote(api, model, label, "staging").status_code == 200
