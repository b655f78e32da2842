"""Faults on a running stack, each until its alert reaches a webhook.

    fault ─▶ replicas' series, through Ray ─▶ Prometheus ─▶ our rules ─▶ Alertmanager ─▶ webhook

One private stack with a real Redis and a real broker of the Kafka protocol; five faults in turn:
models answer in jerks; Redis is killed; models hang while the champion moves; tokenizers are
killed as soon as they are up; models hang while 20,000 messages come. Writes
``results/alerts.json``. What is shortened against production is in it: how long an expression must
hold, and how often rules are looked at (see ``harness/alertmanager.py``).
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness.kafka import broker
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.stack import private_stack
from operations.clients.ray_dashboard import RayDashboard
from operations.clients.ray_details import Node
from operations.local_stack.ray_auth import read_token
from operations.status.metrics_page import read_page, samples_of
from tests.system.alertmanager import MISSING, Alerting, hold_s, shortened_s
from tests.system.faults import FAULTS, Breakable, calm_load

LIMIT_S = 60.0
# Two looks of every replica at its own series, and as much for Ray to pass them on.
_CALM_S = 25.0
# Always there.
_WATCHDOG = "Watchdog"


def prove(
    it: Breakable, alerting: Alerting, names: list[str], for_ratio: float
) -> list[dict[str, Any]]:
    """Every fault in turn; what came when."""
    with calm_load(it):
        time.sleep(_CALM_S)
    before = sorted(alerting.arrived)
    say(f"calm: {', '.join(before)}")
    found: list[dict[str, Any]] = [{"fault": "none", "alerts": before}]
    for alert in names:
        what, fault = FAULTS[alert]
        known = set(alerting.arrived)
        with fault(it) as started_s:
            while (took_s := alerting.since(alert, started_s)) is None:
                if time.monotonic() - started_s > 2 * LIMIT_S:
                    break
                time.sleep(0.1)
        row = {
            "fault": what,
            "alert": alert,
            "known_before": alert in known,
            "seconds": None if took_s is None else round(took_s, 1),
            "for_s": hold_s(alert),
            "for_used_s": shortened_s(hold_s(alert), for_ratio),
            "also_new": sorted(set(alerting.arrived) - known - {alert}),
        }
        say(row)
        found.append(row)
        # Replicas that were held answer again, and a killed one is replaced.
        time.sleep(10)
    return found


def main() -> int:
    """Prints and writes the result; exit status 1 when an alert came late, early or not at all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--for-ratio", type=float, default=0.05, help="of each rule's `for:`")
    parser.add_argument("--only", choices=FAULTS, action="append", help="some faults; not written")
    given = parser.parse_args()
    if MISSING:
        say(f"not installed: {', '.join(MISSING)}")
        return 2
    names = given.only or list(FAULTS)
    facts = run_facts()
    with (
        tempfile.TemporaryDirectory() as scratch,
        broker(_made(Path(scratch) / "kafka"), partitions=4) as kafka,
        RedisServer(_made(Path(scratch) / "redis")) as redis,
        private_stack(Path(scratch) / "state", **_environ(kafka.address, redis.port)) as stack,
    ):
        cluster = RayDashboard(stack.dashboard_url, read_token(stack.environ))
        [node] = cluster.nodes()
        targets = [f"127.0.0.1:{node.metrics_port}"]
        _wait_for_series(node)
        it = Breakable(stack, redis, kafka.address, cluster, Path(scratch))
        watching = Alerting(_made(Path(scratch) / "alerting"), targets, for_ratio=given.for_ratio)
        with watching as alerting:
            rows = prove(it, alerting, names, given.for_ratio)
    facts |= {
        "limit_s": LIMIT_S,
        "for_ratio": given.for_ratio,
        "rules_looked_at_every_s": 2,
        "scraped_every_s": 4,
        "faults": rows,
    }
    result(RESULTS / "alerts.json" if given.only is None else None, facts)
    return 0 if _holds(rows) else 1


def _holds(rows: list[dict[str, Any]]) -> bool:
    calm, *faults = rows
    in_time = [
        row["seconds"] is not None and row["seconds"] <= LIMIT_S and not row["known_before"]
        for row in faults
    ]
    return calm["alerts"] == [_WATCHDOG] and all(in_time)


def _wait_for_series(node: Node) -> None:
    """Until the first copy of the ingress's series is there, `absent()` would be right."""
    until_s = time.monotonic() + LIMIT_S
    while time.monotonic() < until_s:
        page = read_page("127.0.0.1", node.metrics_port) or ""
        found = {sample.name for sample in samples_of(page) if sample.value == 1}
        if "sentiment_model_loaded" in found:
            return
        time.sleep(0.5)
    raise AssertionError("the ingress exports nothing")


def _environ(kafka: str, redis: int) -> dict[str, str]:
    return {
        "MLOPS_CACHE__L2": "redis",
        "MLOPS_REDIS__HOST": "127.0.0.1",
        "MLOPS_REDIS__PORT": str(redis),
        "MLOPS_STREAM__ENABLED": "true",
        "MLOPS_STREAM__BOOTSTRAP_SERVERS": kafka,
        "MLOPS_STREAM__SESSION_TIMEOUT_MS": "6000",
        "MLOPS_REPLICAS__MODEL__NUM_REPLICAS": "2",
        "MLOPS_REPLICAS__TOKENIZER__NUM_REPLICAS": "3",
    }


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    sys.exit(main())
