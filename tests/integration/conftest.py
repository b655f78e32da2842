"""One private stack for the whole run: MLflow, Ray with its dashboard, and the application.

It is what ``make serve`` starts, on free ports and in a temporary folder, with one
declared GPU so that placement on fractions can be checked on a machine without any, and
with a broker that it reads texts from and a receiver of its spans.
"""

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
from collector import Collector, collecting
from ingresses import clients

from benchmarks.harness.kafka import broker
from benchmarks.harness.servers import KafkaServer
from operations.local_stack.monitoring import hook
from operations.local_stack.stack import Stack, StackSettings


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def vault_token() -> str:
    """A token that the environment gives from the start; the Vault that knows it comes later."""
    return "t0ken-of-the-integration-tests"


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The broker that the stack's stream replica reads from."""
    with broker(tmp_path_factory.mktemp("kafka"), partitions=4) as server:
        yield server


@pytest.fixture(scope="session")
def collector() -> Iterator[Collector]:
    """Where the stack sends the spans of what a caller has sampled."""
    with collecting() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def grafana() -> Iterator[str]:
    """The address of what says that it is a Grafana in good health."""

    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"database": "ok"}' if self.path == "/api/health" else b"{}"
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="session")
def stack(
    vault_token: str,
    kafka: KafkaServer,
    collector: Collector,
    grafana: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Stack]:
    streams = {
        "MLOPS_STREAM__ENABLED": "true",
        "MLOPS_STREAM__BOOTSTRAP_SERVERS": kafka.address,
        "MLOPS_STREAM__SESSION_TIMEOUT_MS": "3000",
        "MLOPS_STREAM__HEARTBEAT_INTERVAL_MS": "500",
        "MLOPS_STREAM__FETCH_WAIT_MS": "10",
    }
    traces = {
        "MLOPS_ENABLE_TRACING": "true",
        "MLOPS_OTLP_ENDPOINT": collector.address.removeprefix("http://"),
        "MLOPS_TRACING__SAMPLE_RATIO": "0",
        "MLOPS_TRACING__EXPORT_INTERVAL_MS": "100",
    }
    settings = StackSettings(
        environ={
            **os.environ,
            **streams,
            **traces,
            **hook(grafana, None),
            "MLOPS_VAULT_TOKEN": vault_token,
            "MLOPS_JOBS__ENABLED": "true",
            "MLOPS_JOBS__LEASE_S": "2",
            "MLOPS_DRIFT_DETECTION_ENABLED": "true",
            "MLOPS_DRIFT__REPORT_INTERVAL_S": "0.5",
            "MLOPS_DRIFT__BASELINE_TEXTS": "1000",
        },
        state_dir=tmp_path_factory.mktemp("state"),
        port=0,
        mlflow_port=0,
        dashboard_port=0,
        num_gpus=1,
    )
    with Stack(settings, on_step=print) as running:
        yield running


@pytest.fixture(scope="session")
def client(stack: Stack) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"{stack.url}/api/v1", timeout=30) as client:
        yield client


@pytest.fixture
def ingress(stack: Stack) -> Iterator[httpx.Client]:
    """Of one ingress, past HAProxy: its memory and its figures are its own."""
    with clients(stack) as each:
        yield each[0]
