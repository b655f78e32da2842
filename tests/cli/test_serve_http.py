"""The stack's and the demo's HTTP sides against a real server that plays the other part."""

import argparse
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from cli import demo
from operations.clients import ray_dashboard
from operations.clients.http_client import answers
from operations.clients.ray_dashboard import RayDashboard
from operations.errors import ServerAway, StackError
from operations.local_stack.ports import free_port

DETAILS = {
    "applications": {
        "sentigraph": {
            "status": "DEPLOYING",
            "message": "",
            "deployments": {
                "Model": {
                    "target_num_replicas": 2,
                    "replicas": [{"state": "RUNNING"}, {"state": "STARTING"}],
                    "message": "Traceback (most recent call last):\n  ...\nValueError: no file\n",
                },
                "Cache": {"replicas": [], "message": ""},
            },
        }
    }
}
PREDICTION = {
    "label": "positive",
    "score": 0.75,
    "model_name": "sentiment",
    "model_version": 3,
    "backend": "onnx",
}


class FakeServer(HTTPServer):
    """Answers with what the test put in; remembers what it was asked."""

    status = 200
    body: object = {}

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.asked: list[tuple[str, str, object, str | None]] = []
        self.next_statuses: list[int] = []


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.asked.append((self.command, self.path, body, self.headers.get("Authorization")))
        text = self.server.body
        payload = (text if isinstance(text, str) else json.dumps(text)).encode()
        statuses = self.server.next_statuses
        self.send_response(statuses.pop(0) if statuses else self.server.status)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    do_GET = do_PUT = do_POST = do_DELETE = _answer  # noqa: N815

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    thread = threading.Thread(target=fake.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield fake
    fake.shutdown()
    thread.join()
    fake.server_close()


def test_progress_counts_replicas_and_names_problems(server):
    server.body = DETAILS
    now = RayDashboard(server.url, "secret").application("sentigraph")
    assert now is not None
    assert str(now) == "Model 1/2, Cache 0/1"
    assert now.problems == ["Model: ValueError: no file"]
    assert server.asked == [("GET", "/api/serve/applications/", None, "Bearer secret")]
    assert RayDashboard(server.url, "").application("another") is None
    assert server.asked[-1][3] is None


def test_a_configuration_is_put_and_a_refusal_told(server, monkeypatch):
    dashboard = RayDashboard(server.url, "")
    server.body = ""
    dashboard.deploy({"applications": []})
    assert server.asked[-1][:3] == ("PUT", "/api/serve/applications/", {"applications": []})

    server.status, server.body = 400, "1 validation error for ServeDeploySchema"
    with pytest.raises(StackError, match="Ray Serve refuses the configuration: 1 validation"):
        dashboard.deploy({})
    server.status, server.body = 500, "Traceback\nRuntimeError: controller died"
    monkeypatch.setattr(ray_dashboard, "_AGAIN_S", (0.01, 0.01))
    with pytest.raises(StackError, match=r"did not take the configuration: .*RuntimeError: contr"):
        dashboard.deploy({})


def test_serve_that_could_not_start_at_first_is_asked_again(server, monkeypatch):
    monkeypatch.setattr(ray_dashboard, "_AGAIN_S", (0.01, 0.01))
    server.next_statuses = [500, 503]
    RayDashboard(server.url, "").deploy({})
    assert [asked[0] for asked in server.asked] == ["PUT"] * 3


def test_a_wrong_token_is_told_at_once(server):
    server.status, server.body = 401, "Unauthorized: Missing authentication token"
    with pytest.raises(StackError, match="refuses the token: Unauthorized: Missing"):
        RayDashboard(server.url, "").is_up()


def test_a_dashboard_that_is_not_there_is_not_up():
    dashboard = RayDashboard(f"http://127.0.0.1:{free_port()}", "")
    assert not dashboard.is_up()
    with pytest.raises(ServerAway):
        dashboard.application("any")
    dashboard.drain(1.0)


def test_only_200_is_an_answer(server):
    assert answers(server.url)
    server.status = 503
    assert not answers(server.url)
    assert not answers(f"http://127.0.0.1:{free_port()}")


def run_demo(url: str, *, as_json: bool = False) -> int:
    return demo.main(argparse.Namespace(url=url, key_file=None, json=as_json))


def test_the_demo_prints_a_line_for_each_sentence(server, capsys):
    server.body = {**PREDICTION, "console_url": "/console"}
    assert run_demo(server.url) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13
    assert lines[0].startswith("I absolutely love this phone")
    assert "positive   ███████████████       0.75" in lines[0]
    assert lines[0].endswith(" ms")
    assert lines[-2] == "sentiment version 3, onnx"
    assert lines[-1] == f"open {server.url}/console to see more of it"
    assert server.asked[0][:3] == ("POST", "/api/v1/predict", {"text": demo.SENTENCES[0]})


def test_the_demo_prints_json(server, capsys):
    server.body = PREDICTION
    assert run_demo(server.url, as_json=True) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [answer["label"] for answer in printed] == ["positive"] * 10
    assert all(answer["ms"] > 0 for answer in printed)


def test_the_demo_says_what_is_missing(server):
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StackError) as caught:
        run_demo(url)
    assert str(caught.value) == (
        f"no sentigraph server answers at {url}: start one with `sentigraph serve`"
    )
    server.status, server.body = 503, "not ready"
    with pytest.raises(StackError, match="answered 503: not ready"):
        run_demo(server.url)
