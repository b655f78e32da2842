"""Does every series that rules and panels name exist in a running stack?

``python -m tests.system.series_check``.

A private stack behind keys, with a real Redis, OpenBao, broker and Prometheus; for ten minutes
every endpoint is called (``every_endpoint.py``). Then every declared metric, every series of a rule
and every series of a panel must have been scraped, and every panel must have shown something.
Written to ``results/scrape.json`` with ``--save``;
``--pictures FOLDER`` draws each dashboard from what Prometheus stored.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
from kafka.errors import KafkaError

from benchmarks.harness.kafka import broker
from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.harness.texts import real_texts
from configs.schema.api_keys import new_key, write_keys
from monitoring.dashboards import BOARDS
from monitoring.promql import without_grafana
from monitoring.series import asked_for, declared
from operations.local_stack.ports import free_port
from registry.errors import RegistryError
from tests.system.dashboard_charts import draw
from tests.system.every_endpoint import ACTS, WholeStack, traffic, webhook
from tests.system.openbao import Bao
from tests.system.prometheus import Prometheus

RESULT = RESULTS / "scrape.json"
_TOKEN, _PASSWORD = "t0ken-of-the-scrape", "pa55word-of-redis"
# Two copies of an ingress's counters, Ray's own interval, and a scrape.
_SETTLE_S = 30.0
_STEP_S = 5


@contextlib.contextmanager
def running(folder: Path) -> Iterator[WholeStack]:
    """A stack with everything on, and all that it depends on."""
    roles = {"shop": ["predict"], "slow": ["predict"], "ops": ["admin"]}
    made = {name: new_key(name, given) for name, given in roles.items()}  # type: ignore[arg-type]
    kept = [key for _, key in made.values()]
    kept[1] = kept[1].model_copy(update={"requests_per_s": 2.0})
    with (
        RedisServer(folder, password=_PASSWORD) as redis,
        Bao(folder) as bao,
        broker(folder, partitions=4) as kafka,
        webhook() as hook,
    ):
        bao.token(id=_TOKEN)
        bao.put("access.api_keys", write_keys(kept))
        bao.put("redis.password", _PASSWORD)
        variables = {
            "MLOPS_VAULT_TOKEN": _TOKEN,
            "MLOPS_JOBS__WEBHOOK__SECRET": "s3cret-of-the-scripted-run",
            "MLOPS_STREAM__BOOTSTRAP_SERVERS": kafka.address,
        }
        config = _config(folder, redis.port, bao.url)
        with private_stack(folder / "state", config, **variables) as stack:
            keys = {name: key for name, (key, _) in made.items()}
            yield WholeStack(stack, redis, bao, kafka, keys, kept, real_texts(2_000), folder, hook)


def _config(folder: Path, redis_port: int, bao_url: str) -> Path:
    args = {
        "vault": {"enabled": True, "address": bao_url, "refresh_ms": 2_000},
        "redis": {"host": "127.0.0.1", "port": redis_port},
        "cache": {"l2": "redis"},
        "access": {"required": True, "rate_store": "redis", "burst_s": 1.0},
        "breaker": {"recovery_ms": 2_000},
        # No server takes the spans, which is counted too.
        "tracing": {"enabled": True, "endpoint": f"http://127.0.0.1:{free_port()}"},
        # So short that a micro-batch misses it now and then, and is tried again.
        "stream": {"enabled": True, "fetch_wait_ms": 10, "processing_timeout_ms": 100},
        "jobs": {"enabled": True, "webhook": {"hosts": ["127.0.0.1"], "max_attempts": 2}},
        "prediction_log": {
            "enabled": True,
            "text": "none",
            "flush_s": 5,
            "uri": str(folder / "lake"),
            "buffer_dir": str(folder / "buffer"),
        },
        # Small, so that two cores have room for a new replica of the model beside the old.
        "replicas": {"ingress": {"num_cpus": 0.05}},
    }
    return serve_config(folder, args)


def drive(world: WholeStack, seconds: float) -> list[str]:
    """Traffic for so long, with every act at its time; what was done, and when."""
    began_s, done = time.monotonic(), []
    with traffic(world):
        for share, act in sorted(ACTS, key=lambda item: item[0]):
            time.sleep(max(0.0, began_s + share * seconds - time.monotonic()))
            at_s = time.monotonic() - began_s
            done.append(f"{at_s:.0f} s {act.__name__}")
            # One act that fails must not end the run: the series will be missing.
            try:
                act(world)
            except (AssertionError, OSError, httpx.HTTPError, RegistryError, KafkaError) as error:
                done[-1] += f": {type(error).__name__}: {error}"
            say(done[-1])
        time.sleep(max(0.0, began_s + seconds - time.monotonic()))
    return done


def check(prometheus: Prometheus, start_s: float, end_s: float) -> dict[str, object]:
    """What is not there, of what is declared or asked for; which panels stayed empty."""
    there = prometheus.names()
    families = declared()
    series = {name for names in families.values() for name in names}
    span = f"{end_s - start_s:.0f}s"
    empty = []
    panels = 0
    for board in BOARDS:
        for panel in board.panels():
            for query in panel.queries:
                panels += 1
                expression = without_grafana(query.expr, span=span)
                if not prometheus.over(expression, start_s, end_s, _STEP_S):
                    empty.append(f"{board.name}: {panel.title}: {expression}")
    fired = prometheus.over('ALERTS{alertstate="firing"}', start_s, end_s, _STEP_S)
    return {
        "families_declared": len(families),
        "series_declared": len(series),
        "series_asked_for_by_rules_and_panels": len(asked_for()),
        "series_scraped": len(there),
        "declared_and_not_scraped": sorted(series - there),
        "asked_for_and_not_scraped": sorted(asked_for() - there),
        "expressions_of_panels": panels,
        "expressions_without_data": empty,
        "alerts_that_fired": sorted({one["metric"]["alertname"] for one in fired}),
    }


def main() -> int:
    """Runs it; exit status 1 when something that is looked at does not exist."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of traffic (10)")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each dashboard")
    parser.add_argument("--save", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    given = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with running(folder) as world:
            config = folder / "state" / "monitoring" / "prometheus.yml"
            with Prometheus(config, folder) as prometheus:
                start_s = time.time()
                acts = drive(world, 60 * given.minutes)
                time.sleep(_SETTLE_S)
                end_s = time.time()
                found = check(prometheus, start_s, end_s)
                if given.pictures:
                    draw(prometheus, given.pictures, start_s, end_s)
    facts |= {
        "minutes_of_traffic": given.minutes,
        "statuses": dict(sorted(world.statuses.items())),
        **found,
        "acts": acts,
    }
    result(RESULT if given.save else None, facts)
    lacking = ("declared_and_not_scraped", "asked_for_and_not_scraped", "expressions_without_data")
    return int(any(found[name] for name in lacking))


if __name__ == "__main__":
    sys.exit(main())
