"""Tiny bundles and real MLflow stores for the registry's tests."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from registry.bundles.bundle import write_bundle
from registry.model_registry import ModelRegistry
from registry.records import Bundle, EngineHints

ROOT = Path(__file__).parents[2]
MakeBundle = Callable[..., Bundle]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes a bundle of a few bytes; another ``model`` gives another digest."""

    def make(
        model: bytes = b"weights",
        labels: tuple[str, ...] = ("negative", "positive"),
        provenance: dict[str, str] | None = None,
    ) -> Bundle:
        source = tmp_path / "source"
        source.mkdir(exist_ok=True)
        (source / "model.onnx").write_bytes(model)
        (source / "tokenizer.json").write_text("{}")
        return write_bundle(
            tmp_path / f"bundle-{model.hex()[:16]}",
            name="tiny",
            labels=labels,
            files={n: source / n for n in ("model.onnx", "tokenizer.json")},
            max_tokens=16,
            engine=EngineHints("onnx", "fp32", ("input_ids",), 0),
            metrics={"accuracy": 0.9},
            provenance=provenance,
        )

    return make


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"


@pytest.fixture(scope="session")
def sqlite_registry(sqlite_uri: str) -> ModelRegistry:
    folder = Path(sqlite_uri.removeprefix("sqlite:///")).parent
    return ModelRegistry(sqlite_uri, folder / "artifacts")


@pytest.fixture(params=["sqlite", "http"])
def registry(request: pytest.FixtureRequest, tmp_path: Path) -> ModelRegistry:
    """A registry on a sqlite file, then one on a server."""
    if request.param == "sqlite":
        made: ModelRegistry = request.getfixturevalue("sqlite_registry")
        return made
    return ModelRegistry(request.getfixturevalue("server_url"), tmp_path / "unused")


@pytest.fixture
def name() -> str:
    return f"m-{uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real MLflow server on a free loopback port, stopped by its own process group."""
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
                *("--host", "127.0.0.1", "--port", str(port)),
                *("--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"),
                *("--artifacts-destination", str(folder / "artifacts")),
            ],
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={
                **os.environ,
                "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
                "MLFLOW_DISABLE_TELEMETRY": "true",
            },
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/health", server, folder / "log")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + 120
    while time.monotonic() < deadline_s and server.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"MLflow did not start: {log.read_text()[-2000:]}")
