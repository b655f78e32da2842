"""registry.username and registry.password, as an MLflow server sees them; the password rotates."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from configs.load import load_config
from registry.backend.connection import Connection, log_in
from registry.errors import BackendUnavailable


@pytest.fixture
def server() -> Iterator[tuple[str, list[str | None]]]:
    """A server that lets nobody in, and what was said at its door."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.append(self.headers["Authorization"])
            self.send_response(401)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    said: list[str | None] = []
    running = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_port}", said
    running.shutdown()
    thread.join()
    running.server_close()


def basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def test_each_request_carries_the_password_of_now(
    server: tuple[str, list[str | None]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # put back after the test
    url, said = server
    environ = {"MLOPS_REGISTRY__USERNAME": "graph", "MLOPS_REGISTRY__PASSWORD": "one"}
    registry = load_config(environ=environ, home=tmp_path).registry
    assert "one" not in repr(registry)
    connection = Connection(url, tmp_path)
    for password in (registry.password.get_secret_value(), "two"):
        log_in(registry.username, password)
        with pytest.raises(BackendUnavailable):
            connection.client()
        assert said[-1] == basic("graph", password)
