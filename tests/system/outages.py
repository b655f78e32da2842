"""``make outages``: two ingresses behind keys, with a real Redis and a real OpenBao.

Shows, and writes to ``results/outages.json``: a rate of which three times as much is offered, over
both ingresses; a limit on concurrent requests over both; Redis stopped, killed and restarted
under load, with the p99 of each phase; Vault sealed and unsealed under load; and a search of every
log of the run, all of it at level DEBUG, for keys, passwords and texts.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.stack import private_stack, serve_config
from benchmarks.loadgen.background import BackgroundLoad
from benchmarks.loadgen.client import PREDICT, Job, Load, send_load
from configs.schema.api_keys import new_key, write_keys
from tests.system.openbao import Bao

_BATCH = "/api/v1/predict/batch"
_PASSWORD = "pa55word-of-redis"
_TOKEN = "t0ken-of-the-outages"
_RATE, _BURST_S, _RATED_S = 10.0, 1.0, 20.0
_MOST = 4


@dataclass
class Guarded:
    """A running stack behind its gate, and all that no log may hold."""

    url: str
    logs: Path
    redis: RedisServer
    bao: Bao
    keys: dict[str, str]
    secrets: list[str]
    texts: int = 0
    phrases: set[str] = field(default_factory=set)

    def headers(self, name: str) -> dict[str, str]:
        """Of requests with one of the keys."""
        return {"X-API-Key": self.keys[name], "X-Deadline-Ms": "30000"}

    def send(self, name: str, path: str, bodies: list[str], **options: Any) -> Load:
        """Sends the bodies with one of the keys; ``options`` are those of ``Job``."""
        address = urlsplit(self.url)
        where = (address.hostname or "", address.port or 0, path)
        job = Job(*where, bodies, self.headers(name), drain_s=60.0, **options)
        return asyncio.run(send_load(job))

    def text(self, words: str) -> str:
        """A text that was never sent before; it begins with ``words``."""
        self.texts += 1
        self.phrases.add(words)
        return f"{words} {self.texts} {os.urandom(6).hex()}"


def rate(stack: Guarded) -> dict[str, object]:
    """Three times the rate for 20 s: what is let in beside what should be."""
    body = json.dumps({"text": stack.text("the same words for everybody")})
    stack.send("rated", PREDICT, [body], due_s=[0.0])
    time.sleep(2)  # the bucket is full again
    due_s = [number / (3 * _RATE) for number in range(round(_RATED_S * 3 * _RATE))]
    load = stack.send("rated", PREDICT, [body] * len(due_s), due_s=due_s)
    # On a busy machine the last requests are looked at after the end, when tokens have come.
    limit = _RATE * (load.seconds + _BURST_S)
    allowed = load.statuses.get(200, 0)
    return {
        "requests_per_s": _RATE,
        "offered": len(due_s),
        "offered_for_s": _RATED_S,
        "last_answer_after_s": round(load.seconds, 2),
        "limit": round(limit, 1),
        "allowed": allowed,
        "allowed_over_limit": round(allowed / limit, 4),
        "statuses": _named(load.statuses),
    }


def concurrency(stack: Guarded) -> dict[str, object]:
    """Thirty batches at once of a key that may have four: how many got in."""
    texts = [[stack.text("a long batch") for _ in range(100)] for _ in range(30)]
    bodies = [json.dumps({"texts": batch}) for batch in texts]
    load = stack.send("few", _BATCH, bodies, due_s=[0.0] * len(bodies))
    return {"max_concurrent": _MOST, "sent_at_once": 30, "statuses": _named(load.statuses)}


def phases(
    stack: Guarded, steps: list[tuple[str, Callable[[], object]]], seconds: float, clients: int
) -> dict[str, dict[str, Any]]:
    """Statuses and latencies of single texts in each phase; the step begins it."""

    def bodies() -> Iterator[str]:
        while True:
            yield json.dumps({"text": stack.text("really good service")})

    found: dict[str, dict[str, Any]] = {}
    headers = stack.headers("shop")
    with BackgroundLoad(
        stack.url, bodies(), clients=clients, headers=headers, timeout_s=60.0
    ) as load:
        time.sleep(3)
        for name, step in steps:
            step()
            load.statuses.clear()
            load.latencies_s.clear()
            time.sleep(seconds)
            p50, p99, longest = np.percentile(list(load.latencies_s), [50, 99, 100]) * 1_000
            found[name] = {
                "statuses": _named(load.statuses),
                "p50_ms": round(p50, 1),
                "p99_ms": round(p99, 1),
                "max_ms": round(longest, 1),
            }
            say(f"{name}: {found[name]}")
    return found


def leaks(stack: Guarded) -> dict[str, object]:
    """Searches every file below the logs; a text shows by the words that it begins with."""
    needles = [needle.encode() for needle in [*stack.secrets, *stack.phrases]]
    files = [
        Path(folder) / name
        for folder, _, names in os.walk(stack.logs, followlinks=True)
        for name in names
    ]
    contents = {file: file.read_bytes() for file in files if file.is_file()}
    found = [file.name for file, content in contents.items() if any(n in content for n in needles)]
    return {
        "files": len(contents),
        "bytes": sum(map(len, contents.values())),
        "secrets": len(stack.secrets),
        "texts": stack.texts,
        "found_in": sorted(found),
    }


def _named(statuses: Mapping[int, int] | Counter[str]) -> dict[str, int]:
    return {str(status): n for status, n in sorted(dict(statuses).items(), key=str)}


def _failed(found: dict[str, dict[str, Any]]) -> int:
    counted = [phase["statuses"] for phase in found.values()]
    return sum(n for each in counted for status, n in each.items() if status != "200")


def prove(stack: Guarded, seconds: float, clients: int) -> dict[str, Any]:
    """Everything in turn."""
    redis, bao = stack.redis, stack.bao
    around_redis: list[tuple[str, Callable[[], object]]] = [
        ("up", lambda: None),
        ("stopped", lambda: redis.signal(signal.SIGSTOP)),
        ("continued", lambda: redis.signal(signal.SIGCONT)),
        ("killed", redis.stop),
        ("restarted", redis.start),
    ]
    around_vault: list[tuple[str, Callable[[], object]]] = [
        ("open", lambda: None),
        ("sealed", bao.root.sys.seal),
        ("unsealed", bao.unseal),
    ]
    rated = rate(stack)
    few = concurrency(stack)
    without_redis = phases(stack, around_redis, seconds, clients)
    without_vault = phases(stack, around_vault, seconds, clients)
    up_ms = without_redis["up"]["p99_ms"]
    away_ms = max(without_redis[name]["p99_ms"] for name in ("stopped", "killed"))
    return {
        "rate": rated,
        "concurrency": few,
        "redis": {
            "clients": clients,
            "failed": _failed(without_redis),
            "added_p99_ms": round(away_ms - up_ms, 1),
            "phases": without_redis,
        },
        "vault": {
            "clients": clients,
            "failed": _failed(without_vault),
            "phases": without_vault,
        },
    }


def main() -> int:
    """Prints and writes the result; exit status 1 when something does not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10, help="of each phase of an outage")
    parser.add_argument("--clients", type=int, default=8)
    given = parser.parse_args()
    facts = run_facts()
    made = {name: new_key(name, ["predict"]) for name in ("shop", "rated", "few")}
    limits: dict[str, dict[str, float]] = {
        "rated": {"requests_per_s": _RATE},
        "few": {"max_concurrent": _MOST},
    }
    kept = [key.model_copy(update=limits.get(name, {})) for name, (_, key) in made.items()]
    keys = {name: key for name, (key, _) in made.items()}
    with (
        tempfile.TemporaryDirectory() as folder,
        RedisServer(Path(folder), password=_PASSWORD) as redis,
        Bao(Path(folder)) as bao,
    ):
        bao.token(id=_TOKEN)
        bao.put("access.api_keys", write_keys(kept))
        bao.put("redis.password", _PASSWORD)
        config = _config(Path(folder), redis.port, bao.url)
        with private_stack(Path(folder) / "state", config, MLOPS_VAULT_TOKEN=_TOKEN) as running:
            secrets = [*keys.values(), _PASSWORD, _TOKEN, bao.key, str(bao.root.token)]
            stack = Guarded(running.url, running.logs, redis, bao, keys, secrets)
            facts |= prove(stack, given.seconds, given.clients)
            facts["logs"] = leaks(stack)
    result(RESULTS / "outages.json", facts)
    return 0 if _holds(facts) else 1


def _config(folder: Path, redis_port: int, bao_url: str) -> Path:
    args = {
        "server": {"log_level": "DEBUG"},
        "vault": {"enabled": True, "address": bao_url, "refresh_ms": 500},
        "redis": {"host": "127.0.0.1", "port": redis_port},
        # Level one would answer in Redis' place, and nothing would be shown.
        "cache": {"l2": "redis", "l1_max_bytes": 0},
        "access": {
            "required": True,
            "rate_store": "redis",
            "burst_s": _BURST_S,
            "rate_timeout_ms": 1_000,
        },
        "breaker": {"recovery_ms": 1_000},
        "replicas": {"ingress": {"num_replicas": 2, "num_cpus": 0.05}},
    }
    return serve_config(folder, args, log_level="DEBUG")


def _holds(facts: dict[str, Any]) -> bool:
    few = facts["concurrency"]["statuses"] == {"200": _MOST, "429": 30 - _MOST}
    nothing_failed = not facts["redis"]["failed"] and not facts["vault"]["failed"]
    in_rate = 0.98 <= facts["rate"]["allowed_over_limit"] <= 1.02
    return in_rate and few and nothing_failed and not facts["logs"]["found_in"]


if __name__ == "__main__":
    sys.exit(main())
