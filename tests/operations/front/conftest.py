"""A configuration that Ray itself renders, and a server behind it."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.serve._private.common import RequestProtocol
from ray.serve._private.haproxy import BackendConfig, HAProxyApi, HAProxyConfig, ServerConfig
from ray.serve.config import HTTPOptions, gRPCOptions

from operations.local_stack.ports import free_port
from tests.operations.front.rendered import Answers, Echoes, Render, Rendered

SERVICER = "deployments.oip.grpc_messages.add_servicer"


@pytest.fixture
def server() -> Iterator[int]:
    """The port of a replica."""
    Answers.lost = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running.server_address[1]
        running.shutdown()


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a replica that answers with the headers that it got."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echoes) as running:
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        yield running.server_address[1]
        running.shutdown()


@pytest.fixture
def render(tmp_path: Path) -> Render:
    """Renders by Ray's own code: with a table, or as before the first one came."""

    def made(
        server: int | None,
        *others: int,
        port: int = 0,
        grpc: bool = True,
        host: str = "0.0.0.0",
    ) -> Rendered:
        port = port or free_port()
        path = tmp_path / "haproxy.cfg"
        config = HAProxyConfig(
            socket_path=str(tmp_path / "admin.sock"),
            server_state_base=str(tmp_path),
            server_state_file=str(tmp_path / "server-state"),
            maxconn=40,
            nbthread=1,
            stats_port=free_port(),
            metrics_port=free_port(),
            http_options=HTTPOptions(host=host, port=port),
            grpc_options=gRPCOptions(
                port=free_port(), grpc_servicer_functions=[SERVICER] if grpc else []
            ),
            metrics_enabled=False,
            is_head=True,
        )
        api = HAProxyApi(cfg=config, config_file_path=str(path))
        if server is not None:
            replicas = [
                ServerConfig(f"replica-{number}", "127.0.0.1", of)
                for number, of in enumerate((server, *others))
            ]
            backends = {
                "http-app": BackendConfig("http-app", "/", servers=replicas, app_name="app")
            }
            if grpc:
                backends["grpc-app"] = BackendConfig(
                    "grpc-app", "/", app_name="app", protocol=RequestProtocol.GRPC
                )
            api.set_backend_configs(backends)
        api._generate_config_file_internal()
        return Rendered(path, port)

    return made
