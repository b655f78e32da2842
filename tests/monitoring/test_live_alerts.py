"""A fault → real Prometheus → our rules → real Alertmanager → a webhook, within a minute.

The page is the one that an ingress replica serves, filled by the same breaker and counters;
Redis is a real server that is killed. No Ray: ``python -m tests.system.alerts`` has the
whole stack and four faults more.
"""

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from benchmarks.harness.servers import RedisServer
from configs.schema.dependencies import BreakerConfig
from deployments.clients.circuit_breaker import Breaker, BreakerOpen
from deployments.telemetry.metrics import Metrics
from tests.system.alertmanager import MISSING, Alerting

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
LIMIT_S = 60.0


@contextmanager
def served(metrics: Metrics) -> Iterator[str]:
    """The metrics page."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(metrics.page())

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def call_redis(breaker: Breaker, port: int) -> None:
    with suppress(BreakerOpen, redis.RedisError), breaker.guard():
        redis.Redis(port=port, socket_timeout=0.2, retry=None).ping()


def test_redis_down_reaches_the_webhook(tmp_path: Path) -> None:
    metrics = Metrics()
    metrics.model_loaded.set(1)
    breaker = Breaker(BreakerConfig(), metrics.breaker("cache_lookup"))
    (tmp_path / "alerting").mkdir()
    with (
        served(metrics) as page,
        RedisServer(tmp_path) as store,
        # Every expression must hold as long as in production.
        Alerting(tmp_path / "alerting", [page]) as alerting,
    ):
        end = time.monotonic() + LIMIT_S
        while "Watchdog" not in alerting.arrived and time.monotonic() < end:
            call_redis(breaker, store.port)
            time.sleep(0.2)
        assert set(alerting.arrived) == {"Watchdog"}, "something fires without a fault"

        store.stop()
        fault_s = time.monotonic()
        while (took_s := alerting.since("RedisDown", fault_s)) is None:
            assert time.monotonic() - fault_s < LIMIT_S
            call_redis(breaker, store.port)
            time.sleep(0.2)
        print(f"RedisDown: {took_s:.1f} s from the kill to the webhook")
        assert took_s < LIMIT_S
        assert set(alerting.arrived) == {"Watchdog", "RedisDown"}
