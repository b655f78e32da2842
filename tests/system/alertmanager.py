"""Real Prometheus and Alertmanager with our rules and routes; every receiver is one webhook.

Expressions are those of ``monitoring/rules.yaml``, untouched. Evaluated every 2 s and scraped every
4 s instead of 15, and ``for_ratio`` shortens how long an expression must hold (``for:``), not below
10 s, which a missed scrape would fill: what a fault needs in production is the measured time and
the rest of ``for:``.
"""

import http.server
import json
import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Self

import yaml

from benchmarks.harness.servers import Server
from operations.local_stack.ports import free_port
from operations.local_stack.stack import ROOT

TOOLS = ("prometheus", "prometheus-alertmanager")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
RULES = ROOT / "monitoring" / "rules.yaml"
_ROUTES = ROOT / "monitoring" / "alertmanager.yaml"
_INTERVAL, _SCRAPE = "2s", "4s"
_LEAST_S = 10.0
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3_600.0}
# As the chart's PodMonitor: our series come through Ray, which puts its prefix before them.
_WITHOUT_PREFIX = {
    "source_labels": ["__name__"],
    "regex": "ray_((?:sentiment|kafka)_.+)",
    "target_label": "__name__",
    "replacement": "$1",
}


def duration_s(text: str) -> float:
    """Seconds of a duration such as ``15s`` or ``5m``."""
    found = re.fullmatch(r"(\d+)([smh])", text)
    assert found is not None, text
    return int(found[1]) * _UNITS_S[found[2]]


def shortened_s(hold: float, ratio: float) -> float:
    """How long an expression must hold here that must hold for ``hold`` seconds in production."""
    return max(hold * ratio, min(hold, _LEAST_S))


def hold_s(alert: str) -> float:
    """How long an alert's expression must hold in production."""
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    return next(duration_s(rule["for"]) for rule in rules if rule.get("alert") == alert)


class Alerting:
    """Scrapes ``targets`` and notes what reaches the webhook.

    Attributes:
        arrived: Alerts by name, with the monotonic time of each arrival.
    """

    def __init__(self, folder: Path, targets: Sequence[str], *, for_ratio: float = 1.0) -> None:
        self._folder = folder
        self._targets = list(targets)
        self._for_ratio = for_ratio
        self._open = ExitStack()
        self.arrived: dict[str, list[float]] = {}

    def __enter__(self) -> Self:
        hook = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        self._open.callback(hook.server_close)
        self._open.callback(hook.shutdown)
        manager, prometheus = free_port(), free_port()
        self._write(hook.server_address[1], manager)
        folder = self._folder
        self._start(
            manager,
            "prometheus-alertmanager",
            f"--config.file={folder}/alertmanager.yaml",
            f"--storage.path={folder}/alertmanager",
            "--cluster.listen-address=",
        )
        self._start(
            prometheus,
            "prometheus",
            f"--config.file={folder}/prometheus.yaml",
            f"--storage.tsdb.path={folder}/tsdb",
            # The first is lost while Alertmanager is being discovered; a minute is the default.
            "--rules.alert.resend-delay=5s",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def since(self, alert: str, moment_s: float) -> float | None:
        """Seconds from a moment to the alert's first arrival after it; None before that."""
        after = [at - moment_s for at in self.arrived.get(alert, ()) if at >= moment_s]
        return after[0] if after else None

    def _start(self, port: int, *command: str) -> None:
        ready = f"http://127.0.0.1:{port}/-/ready"

        def answers() -> bool:
            with suppress(OSError), urllib.request.urlopen(ready, timeout=1):  # nosec B310
                return True
            return False

        listen = f"--web.listen-address=127.0.0.1:{port}"
        log = self._folder / f"{command[0]}.log"
        self._open.enter_context(Server([*command, listen], log, answers))

    def _write(self, hook: int, manager: int) -> None:
        rules = yaml.safe_load(RULES.read_text(encoding="utf-8"))
        for group in rules["groups"]:
            group["interval"] = _INTERVAL
            for rule in group["rules"]:
                if "for" in rule:
                    held_s = shortened_s(duration_s(rule["for"]), self._for_ratio)
                    rule["for"] = f"{round(held_s * 1_000)}ms"
        routes = yaml.safe_load(_ROUTES.read_text(encoding="utf-8"))
        routes["route"] |= {"group_wait": "1s", "group_interval": "2s"}
        receiver = [{"url": f"http://127.0.0.1:{hook}/", "send_resolved": False}]
        names = [each["name"] for each in routes["receivers"]]
        routes["receivers"] = [{"name": name, "webhook_configs": receiver} for name in names]
        scraped = {
            "job_name": "sentigraph",
            "static_configs": [{"targets": self._targets}],
            "metric_relabel_configs": [_WITHOUT_PREFIX],
        }
        address = [{"static_configs": [{"targets": [f"127.0.0.1:{manager}"]}]}]
        prometheus: dict[str, Any] = {
            "global": {"scrape_interval": _SCRAPE, "evaluation_interval": _INTERVAL},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [scraped],
            "alerting": {"alertmanagers": address},
        }
        for name, content in (
            ("rules.yaml", rules),
            ("alertmanager.yaml", routes),
            ("prometheus.yaml", prometheus),
        ):
            (self._folder / name).write_text(yaml.safe_dump(content), encoding="utf-8")

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        arrived = self.arrived

        class Webhook(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    arrived.setdefault(alert["labels"]["alertname"], []).append(time.monotonic())
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None: ...

        return Webhook
