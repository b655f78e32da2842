"""What is changed in Ray's configuration, shown on HAProxy itself."""

import contextlib
import http.client
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest
import ray.serve._private as private

from deployments.asgi.schemas import ErrorBody
from operations.front import overrides
from operations.front.haproxy import find_binary
from operations.front.overrides import KNOWN, UnknownRay, check_ray, has_table, rewrite
from tests.operations.front.rendered import Answers, Render, Rendered


@contextmanager
def running(rendered: Rendered, key: str = "") -> Iterator[httpx.Client]:
    """HAProxy with the rewritten configuration, ready, and a client of it."""
    folder = rendered.path.parent
    config = folder / "rewritten.cfg"
    config.write_text(rewrite(rendered.path.read_text(), folder, key))
    process = subprocess.Popen([find_binary(), "-db", "-f", str(config)], stderr=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=rendered.url, timeout=10) as client:
            wait_for_answers(client)
            yield client
    finally:
        process.kill()
        process.wait()


def wait_for_answers(client: httpx.Client) -> None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.TransportError):
            client.get("/-/routes")
            break
        time.sleep(0.02)


def test_the_installed_ray_is_the_known_one():
    check_ray()


@pytest.mark.parametrize("changed", sorted(KNOWN))
def test_another_ray_is_refused(tmp_path, changed):
    for name in KNOWN:
        shutil.copy(Path(private.__path__[0]) / name, tmp_path / name)
    check_ray(tmp_path)
    with (tmp_path / changed).open("a") as file:
        file.write("# changed\n")
    with pytest.raises(UnknownRay, match=changed):
        check_ray(tmp_path)
    (tmp_path / changed).unlink()
    with pytest.raises(UnknownRay, match=changed):
        check_ray(tmp_path)


@pytest.mark.parametrize("grpc", [True, False])
@pytest.mark.parametrize("table", [True, False])
def test_haproxy_takes_what_is_rewritten(render: Render, table, grpc):
    rendered = render(1 if table else None, grpc=grpc)
    content = rendered.path.read_text()
    assert has_table(content) is table
    config = rendered.path.with_name("rewritten.cfg")
    config.write_text(rewrite(content, config.parent))
    checked = subprocess.run(
        [find_binary(), "-c", "-f", str(config)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
    assert config.read_text().count("sc0_conn_cur(sentigraph_clients) gt 30") == 1 + grpc


def test_haproxy_sends_no_datagram_for_an_ordinary_request(render: Render, server):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(20)
        for target in ("", "127.0.0.1:515"):
            rendered = render(server)
            content = rendered.path.read_text()
            if target:  # an operator's own
                content = content.replace("log 127.0.0.1:514", f"log {target}")
            config = rewrite(content, rendered.path.parent)
            port = listening.getsockname()[1]
            config = config.replace(f"log {target or '127.0.0.1:514'}", f"log 127.0.0.1:{port}")
            rendered.path.write_text(config)
            process = subprocess.Popen(
                [find_binary(), "-db", "-f", str(rendered.path)], stderr=subprocess.DEVNULL
            )
            try:
                with httpx.Client(base_url=rendered.url, timeout=10) as client:
                    wait_for_answers(client)
                    assert client.post("/ordinary", content=b"{}").status_code == 200
                    # One that fails is noted, after those before.
                    Answers.lost = 0
                    assert client.post("/failed", content=b"die").status_code >= 500
                said = ""
                while "/failed" not in said:
                    said += listening.recv(8_192).decode()
            finally:
                process.kill()
                process.wait()
            assert ("/ordinary" in said) is bool(target)


def test_a_missing_line_is_named(render: Render):
    content = render(1).path.read_text().replace("frontend http_frontend", "frontend http_front")
    with pytest.raises(UnknownRay, match=r"http_frontend.* 0 times"):
        rewrite(content, render(1).path.parent)


@pytest.mark.parametrize("replica", [None, 1])
def test_without_a_table_and_without_a_replica_the_answer_is_503(render: Render, replica):
    with running(render(replica)) as client:
        answer = client.post("/api/v1/predict", json={"text": "good"})
    assert answer.status_code == 503, answer.text
    assert answer.headers["retry-after"] == "2"
    body = answer.json()
    assert body["error_code"] == "E2001"
    assert set(body) == set(ErrorBody.model_fields)
    assert datetime.fromisoformat(body["timestamp"]).utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("path", "status"), [("/api/v1/predict", 200), ("/v2/models/m/infer", 200), ("/feedback", 500)]
)
def test_a_prediction_is_repeated_when_its_replica_dies_under_it(
    render: Render, server, path, status
):
    with running(render(server)) as client:
        assert client.post(path, content=b"die").status_code == status


class _Replica(Answers):
    """Says which one it is, after the event that its server may wait for."""

    def _answer(self) -> None:
        assert isinstance(self.server, _Server)
        self.server.asked += self.path.startswith("/api")
        self.server.goes_on.wait(10)
        super()._answer()


class _Server(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Replica)
        self.asked = 0
        self.goes_on = threading.Event()
        self.goes_on.set()


@pytest.fixture
def two() -> Iterator[list[_Server]]:
    with ExitStack() as stack:
        servers = [stack.enter_context(_Server()) for _ in range(2)]
        for one in servers:
            threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True).start()
            stack.callback(one.shutdown)
        yield servers


def test_the_same_text_goes_to_the_same_replica_and_texts_to_all(render: Render, two):
    with running(render(*(one.server_port for one in two))) as client:

        def asked_for(text: str) -> list[int]:
            before = [one.asked for one in two]
            client.post("/api/v1/predict", json={"text": text}).raise_for_status()
            return [one.asked - was for one, was in zip(two, before, strict=True)]

        places = [asked_for(f"text {i}") for i in range(40)]
        assert [asked_for(f"text {i}") for i in range(40)] == places
        assert 8 <= sum(place[0] for place in places) <= 32
        before = [one.asked for one in two]
        for _ in range(40):
            client.get("/api/v1/metrics").raise_for_status()
        # They go around a ring on which the two have many places each.
        assert all(10 <= one.asked - was <= 30 for one, was in zip(two, before, strict=True))


def test_a_replica_that_hangs_gets_hardly_any(render: Render, two):
    two[0].goes_on.clear()
    with running(render(*(one.server_port for one in two))) as client:

        def post(i: int) -> int:
            return client.post("/api/v1/predict", json={"text": f"text {i}"}).status_code

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(post, i) for i in range(60)]
            while two[1].asked < 40:
                time.sleep(0.01)
            hanging = two[0].asked
            two[0].goes_on.set()
            assert {one.result() for one in asked} == {200}
    assert hanging <= 7


def test_headers_that_drip_are_closed_and_bodies_of_predictions_too(
    render: Render, server, monkeypatch
):
    for name in ("_HEADERS", "_REPEAT"):
        monkeypatch.setattr(overrides, name, getattr(overrides, name).replace("10s", "1s"))
    rendered = render(server)
    head = b"POST /api/v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: 99\r\n"
    with running(rendered):
        for begin in (head, head + b"\r\n"):
            with socket.create_connection(("127.0.0.1", rendered.port)) as drips:
                drips.sendall(begin)
                drips.settimeout(0.3)
                began, answer = time.monotonic(), None
                while answer is None and time.monotonic() < began + 20:
                    with contextlib.suppress(TimeoutError):
                        answer = drips.recv(4096)
                    with contextlib.suppress(OSError):
                        drips.sendall(b"x")
                assert answer is not None
                assert answer.startswith(b"HTTP/1.1 408 ")


def test_one_address_cannot_hold_all_connections(render: Render, server):
    rendered = render(server)
    with running(rendered) as client, ExitStack() as held:
        for _ in range(60):
            # Beyond the limit some are reset at once.
            with contextlib.suppress(ConnectionResetError):
                held.enter_context(_connected("127.0.0.2", rendered.port))
        time.sleep(0.2)
        refused = http.client.HTTPConnection(
            "127.0.0.1", rendered.port, source_address=("127.0.0.2", 0), timeout=5
        )
        with pytest.raises((ConnectionError, http.client.BadStatusLine)):
            refused.request("GET", "/")
            refused.getresponse()
        assert client.get("/").status_code == 200


KEY = "0123456789abcdef" * 2


@pytest.mark.parametrize("key", [KEY, ""])
def test_the_clients_address_is_haproxys_word(render: Render, echo, key):
    with running(render(echo), key) as client:
        forged = {"X-Sentigraph-Front": f"{KEY} 1.2.3.4"}
        seen = client.get("/", headers=forged).json()
    assert seen.get("x-sentigraph-front") == (f"{KEY} 127.0.0.1" if key else None)


@pytest.mark.parametrize("name", overrides._DECODED)
def test_what_ray_cannot_decode_is_refused_in_the_error_shape(render: Render, server, name):
    with running(render(server)) as client:
        assert client.get("/", headers={name: "plain text"}).status_code == 200
        answer = client.get("/", headers=[(name.encode(), b"a\xff\xc3")])
    assert answer.status_code == 400
    assert answer.json()["error_code"] == "E1001"
    assert set(answer.json()) == set(ErrorBody.model_fields)


def test_statistics_are_where_the_application_is(render: Render, tmp_path):
    def hosts(host: str) -> set[str]:
        config = rewrite(render(1, host=host).path.read_text(), tmp_path)
        return {line.split()[1].rpartition(":")[0] for line in overrides.binds(config)}

    assert hosts("127.0.0.1") == {"127.0.0.1"}
    assert hosts("0.0.0.0") >= {"*", ""}


def _connected(source: str, port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), source_address=(source, 0))


def test_the_page_is_json(tmp_path, render: Render):
    rewrite(render(1).path.read_text(), tmp_path)
    json.loads((tmp_path / overrides.ERROR_PAGE).read_text())
