"""A fault → real Prometheus → our rules → real Alertmanager → a webhook, within a minute.

The page is the one that an ingress replica serves, filled by the same breaker and counters;
Redis is a real server that is killed. No Ray: what a replica does under load is tested in
tests/integration.
"""

import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis
import yaml

from configs.dependencies import BreakerConfig
from deployments.breaker import Breaker, BreakerOpen
from deployments.metrics import Metrics

ROOT = Path(__file__).parents[2]
TOOLS = ("prometheus", "prometheus-alertmanager", "redis-server")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
LIMIT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(
    command: list[str], ready: Callable[[], object], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, start_new_session=True)
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            with suppress(OSError, redis.RedisError):
                ready()
                break
            time.sleep(0.1)
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def served(metrics: Metrics, alerts: list[str]) -> Iterator[int]:
    """``GET`` is the metrics page, ``POST`` the webhook."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.page())

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            alerts.extend(alert["labels"]["alertname"] for alert in body["alerts"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()


def write_config(folder: Path, page: int, alertmanager: int) -> None:
    """Our rules as they are, evaluated oftener; our routes, with the webhook for everybody."""
    rules = yaml.safe_load((ROOT / "monitoring" / "rules.yaml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        group["interval"] = "2s"
    routes = yaml.safe_load((ROOT / "monitoring" / "alertmanager.yaml").read_text(encoding="utf-8"))
    routes["route"] |= {"group_wait": "1s"}
    hook = [{"url": f"http://127.0.0.1:{page}/", "send_resolved": False}]
    names = [receiver["name"] for receiver in routes["receivers"]]
    routes["receivers"] = [{"name": name, "webhook_configs": hook} for name in names]
    prometheus = {
        "global": {"scrape_interval": "2s", "evaluation_interval": "2s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": "sentigraph", "static_configs": [{"targets": [f"127.0.0.1:{page}"]}]}
        ],
        "alerting": {
            "alertmanagers": [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
        },
    }
    for name, content in (
        ("rules.yaml", rules),
        ("alertmanager.yaml", routes),
        ("prometheus.yaml", prometheus),
    ):
        (folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")


def call_redis(breaker: Breaker, port: int) -> None:
    with suppress(BreakerOpen, redis.RedisError), breaker.guard():
        redis.Redis(port=port, socket_timeout=0.2, retry=None).ping()


def test_redis_down_reaches_the_webhook(tmp_path: Path) -> None:
    metrics, alerts = Metrics(), list[str]()
    metrics.model_loaded.set(1)
    metrics.vault_up.set(1)
    breaker = Breaker(BreakerConfig(), metrics.breaker("cache_lookup"))
    store, manager, prometheus = free_port(), free_port(), free_port()
    with served(metrics, alerts) as page:
        write_config(tmp_path, page, manager)
        address = f"http://127.0.0.1:{prometheus}"
        redis_server = ["redis-server", "--port", str(store), "--save", "", "--dir", str(tmp_path)]
        manager_ready = f"http://127.0.0.1:{manager}/-/ready"
        alertmanager = ["prometheus-alertmanager", f"--config.file={tmp_path}/alertmanager.yaml"]
        alertmanager += [f"--storage.path={tmp_path}/am", "--cluster.listen-address="]
        alertmanager += [f"--web.listen-address=127.0.0.1:{manager}"]
        server = ["prometheus", f"--config.file={tmp_path}/prometheus.yaml"]
        # The first alert is lost while Alertmanager is being discovered; a minute is the default.
        server += ["--rules.alert.resend-delay=5s"]
        server += [f"--storage.tsdb.path={tmp_path}/tsdb", f"--web.listen-address={address[7:]}"]

        def ready(url: str) -> Callable[[], object]:
            return lambda: urllib.request.urlopen(url, timeout=1).close()

        with (
            started(redis_server, redis.Redis(port=store).ping, tmp_path / "redis.log") as victim,
            started(alertmanager, ready(manager_ready), tmp_path / "am.log"),
            started(server, ready(f"{address}/-/ready"), tmp_path / "prometheus.log"),
        ):
            end = time.monotonic() + LIMIT_S
            while "Watchdog" not in alerts and time.monotonic() < end:
                call_redis(breaker, store)
                time.sleep(0.2)
            assert set(alerts) == {"Watchdog"}, "something fires without a fault"

            victim.kill()
            fault_s = time.monotonic()
            while "RedisDown" not in alerts and time.monotonic() - fault_s < LIMIT_S:
                call_redis(breaker, store)
                time.sleep(0.2)
            took_s = time.monotonic() - fault_s
            print(f"RedisDown: {took_s:.1f} s from the kill to the webhook")
            assert "RedisDown" in alerts
            assert took_s < LIMIT_S
            assert set(alerts) == {"Watchdog", "RedisDown"}
