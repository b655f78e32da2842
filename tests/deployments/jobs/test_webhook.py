"""Messages about ended jobs: signed, only where they may go, again when they fail."""

import asyncio
import hashlib
import hmac
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from jobs_front import jobs_config, until, with_jobs
from pydantic import ValidationError

from configs.schema.jobs import JobsConfig, WebhookConfig
from deployments.clients.backoff import Backoff
from deployments.jobs.errors import JobRefused
from deployments.jobs.replica import JobsReplica
from deployments.jobs.webhook import Webhook, WebhookFailed
from deployments.jobs.webhook_delivery import WebhookDelivery

ROOT = Path(__file__).parents[3]

SECRET = "a-secret-of-the-tests"
QUICK = {"look_every_s": 0.02, "backoff": Backoff(0, 0)}


class Receiver(ThreadingHTTPServer):
    """Answers with the given statuses in turn, and keeps what it got."""

    def __init__(self, *statuses: int, host: str = "127.0.0.1") -> None:
        super().__init__((host, 0), Handler)
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.url = f"http://{host}:{self.server_port}/hook?x=1"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((dict(self.headers.items()), body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 204)
        self.send_header("location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def receiver(*statuses: int, host: str = "127.0.0.1") -> Iterator[Receiver]:
    server = Receiver(*statuses, host=host)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def hook(*hosts: str, addresses: tuple[str, ...] = ("93.184.215.14",), **more: Any) -> Webhook:
    config = WebhookConfig(hosts=hosts, secret=SECRET, **more)  # type: ignore[arg-type]
    return Webhook(config, find=lambda host, port: addresses)


def send(sender: Webhook, url: str) -> None:
    asyncio.run(sender.send(url, b"{}", 1_700_000_000.9))


@pytest.mark.parametrize(
    "url",
    [
        "https://other.example/",
        "https://good.example.evil.example/",
        "https://user@good.example/",
        "http://good.example/",
        "ftp://good.example/",
        "https://127.0.0.1/",
        "https://10.1.2.3/",
        "https://[::1]/",
        "https://good.example:99999/",
        "https://good.example/\r\nx: y",
        "https:///x",
        "good.example",
    ],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(JobRefused):
        hook("good.example", "192.0.2.0/24").check(url)


def test_listed_hosts_addresses_and_networks_are_taken() -> None:
    listed = hook("Good.example", "10.0.0.0/8", "::1")
    for url in (
        "https://good.example/a?b=c",
        "https://GOOD.example:8443/",
        "http://10.9.8.7:80/",
        "http://[::1]:1/",
    ):
        listed.check(url)


def test_a_name_may_not_stand_for_a_private_address() -> None:
    for inside in ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00::1"):
        with pytest.raises(WebhookFailed, match="private"):
            send(hook("good.example", addresses=("93.184.215.14", inside)), "https://good.example/")


def test_a_message_is_signed_and_a_redirect_is_a_failure() -> None:
    with receiver(302) as server:
        sender = hook("127.0.0.1", addresses=("127.0.0.1",))
        with pytest.raises(WebhookFailed, match="status 302"):
            send(sender, server.url)
        send(sender, server.url)
        assert len(server.got) == 2
        headers, body = server.got[1]
    digest = hmac.new(SECRET.encode(), b"1700000000." + body, hashlib.sha256).hexdigest()
    assert headers["X-Sentigraph-Signature"] == f"t=1700000000,v1={digest}"
    guide = (ROOT / "docs" / "guides" / "bulk.md").read_text(encoding="utf-8")
    checks: dict[str, Any] = {}
    exec(guide.partition("```python\n")[2].partition("```")[0], checks)
    signature = headers["X-Sentigraph-Signature"]
    for told, secret, now_s, ours in (
        (body, SECRET.encode(), 1_700_000_100, True),
        (body + b" ", SECRET.encode(), 1_700_000_100, False),
        (body, b"another", 1_700_000_100, False),
        (body, SECRET.encode(), 1_700_001_000, False),
    ):
        assert checks["is_ours"](signature, told, secret, now_s) is ours


def test_nobody_there_and_nobody_answering_fail_in_time() -> None:
    with receiver() as server:
        gone = server.url
    with pytest.raises(WebhookFailed):
        send(hook("127.0.0.1", addresses=("127.0.0.1",)), gone)
    silent = Receiver()
    try:
        with pytest.raises(WebhookFailed, match="Timeout"):
            send(hook("127.0.0.1", addresses=("127.0.0.1",), timeout_ms=50), silent.url)
    finally:
        silent.server_close()


@pytest.mark.parametrize("answer", [b"", b"garbage\n", b"x" * 100_000, b"HTTP/1.1 100 \r\nx"])
def test_what_is_no_whole_answer_fails(answer: bytes) -> None:
    with dripping(answer, pause_s=0) as url, pytest.raises(WebhookFailed):
        send(hook("127.0.0.1", addresses=("127.0.0.1",)), url)


def test_interim_answers_are_passed_over() -> None:
    with dripping(b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 204 \r\n", pause_s=0) as url:
        send(hook("127.0.0.1", addresses=("127.0.0.1",)), url)


def test_a_host_that_drips_fails_when_the_time_is_over() -> None:
    with dripping(b"HTTP/1.1 204 No Content", pause_s=0.03) as url:
        started = time.monotonic()
        with pytest.raises(WebhookFailed, match="Timeout"):
            send(hook("127.0.0.1", addresses=("127.0.0.1",), timeout_ms=200), url)
        assert time.monotonic() - started < 0.6


@contextmanager
def dripping(answer: bytes, pause_s: float) -> Iterator[str]:
    """A host that sends its answer byte by byte, or at once."""
    size = 1 if pause_s else len(answer) or 1

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            peer.recv(65_536)
            for at in range(0, len(answer), size):
                peer.sendall(answer[at : at + size])
                time.sleep(pause_s)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


@pytest.mark.parametrize(
    ("listed", "url", "taken"),
    [
        ("hooks.example:8443", "https://hooks.example:8443/x", True),
        ("hooks.example:8443", "https://hooks.example/x", False),
        ("hooks.example:443", "https://hooks.example/x", True),
        ("hooks.example:443", "https://hooks.example:22/x", False),
        ("127.0.0.5:9000", "http://127.0.0.5:9000/", True),
        ("127.0.0.5:9000", "http://127.0.0.5:22/", False),
        ("10.0.0.0/8:80", "http://10.1.2.3/", True),
        ("10.0.0.0/8:80", "http://10.1.2.3:8080/", False),
        ("[2001:db8::1]:80", "http://[2001:db8::1]/", True),
        ("[2001:db8::1]:80", "http://[2001:db8::1]:81/", False),
        ("2001:db8::1", "http://[2001:db8::1]:81/", True),
        ("hooks.example", "https://hooks.example:8443/x", True),
    ],
)
def test_a_port_may_be_listed(listed: str, url: str, taken: bool) -> None:
    if taken:
        hook(listed).check(url)
        return
    with pytest.raises(JobRefused):
        hook(listed).check(url)


def test_hosts_need_a_secret() -> None:
    with pytest.raises(ValidationError, match=r"jobs\.webhook\.secret"):
        JobsConfig.model_validate({"webhook": {"hosts": ["a.example"]}})


def test_an_ended_job_is_told_again_until_it_is_taken_or_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebhookDelivery.__init__, "__kwdefaults__", QUICK)
    config = {
        "webhook": {"hosts": ["127.0.0.1"], "secret": SECRET, "max_attempts": 3},
        "cleanup_interval_s": 0.1,
    }

    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        for statuses, attempts in (([500, 503], 3), ([500] * 9, 3)):
            with receiver(*statuses) as server:
                asked = {"texts": ["a"], "webhook_url": server.url}
                job_id = (await client.post("/predict", json=asked)).json()["job_id"]

                async def all_sent(server: Receiver = server, attempts: int = attempts) -> bool:
                    return len(server.got) >= attempts

                await until(all_sent)
                await asyncio.sleep(0.2)
                assert len(server.got) == attempts
                message = json.loads(server.got[-1][1])
                assert (message["job_id"], message["status"]) == (job_id, "completed")
        page = replica._metrics.page().decode()
        assert 'sentiment_job_webhooks_total{result="delivered"} 1.0' in page
        assert 'sentiment_job_webhooks_total{result="given_up"} 1.0' in page

    with_jobs(jobs_config(tmp_path, jobs=config), body)


def test_a_host_that_is_slow_holds_up_its_own_messages_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WebhookDelivery.__init__, "__kwdefaults__", QUICK)
    hosts = {"hosts": ["127.0.0.0/8"], "secret": SECRET, "timeout_ms": 60_000}
    settings = {"webhook": hosts, "cleanup_interval_s": 0.1, "max_ended": 1_000}
    silent = Receiver()  # takes connections and never answers

    async def body(client: httpx.AsyncClient, replica: JobsReplica) -> None:
        for _ in range(20):
            asked = {"texts": ["a"], "webhook_url": silent.url}
            await client.post("/predict", json=asked)
        with receiver(host="127.0.0.2") as server:
            asked = {"texts": ["a"], "webhook_url": server.url}
            await client.post("/predict", json=asked)

            async def sent() -> bool:
                return bool(server.got)

            await until(sent)
        assert replica._webhooks._hosts["127.0.0.1"] <= 2

    try:
        with_jobs(jobs_config(tmp_path, jobs=settings), body)
    finally:
        silent.server_close()
