"""``make bench-outages``: two ingresses behind keys, with a real Redis and a real OpenBao.

Shows, and writes to ``results/outages.json``: a rate of which three times as much is offered, over
both ingresses; a limit on concurrent requests over both; Redis stopped, killed and started anew
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
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import yaml

from benchmarks.harness.machine import commit, load_average, machine
from benchmarks.harness.openbao import Bao
from benchmarks.harness.servers import RedisServer
from configs.schema.api_keys import new_key, write_keys
from operations.local_stack.stack import ROOT, Stack, StackSettings

RESULT = Path(__file__).parents[1] / "results" / "outages.json"
_PREDICT, _BATCH = "/api/v1/predict", "/api/v1/predict/batch"
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

    def client(self, name: str) -> httpx.AsyncClient:
        """Asks with one of the keys, over as many connections as it likes."""
        headers = {"X-API-Key": self.keys[name], "X-Deadline-Ms": "30000"}
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=200)
        return httpx.AsyncClient(base_url=self.url, headers=headers, timeout=60, limits=limits)

    def text(self, words: str) -> str:
        """A text that was never sent before; it begins with ``words``."""
        self.texts += 1
        self.phrases.add(words)
        return f"{words} {self.texts} {os.urandom(6).hex()}"


async def rate(stack: Guarded) -> dict[str, object]:
    """Three times the rate for 20 s: what is let in beside what should be."""
    async with stack.client("rated") as client:
        body = {"text": stack.text("the same words for everybody")}
        await client.post(_PREDICT, json=body)
        await asyncio.sleep(2)  # the bucket is full again
        started, sent = time.monotonic(), 0
        pending: list[asyncio.Task[httpx.Response]] = []
        while (now := time.monotonic() - started) < _RATED_S:
            due = int(now * 3 * _RATE) + 1
            while sent < due:
                pending.append(asyncio.create_task(client.post(_PREDICT, json=body)))
                sent += 1
            await asyncio.sleep(0.002)
        statuses = Counter([(await answer).status_code for answer in pending])
        seconds = time.monotonic() - started
    # On a busy machine the last requests are looked at after the end, when tokens have come.
    limit = _RATE * (seconds + _BURST_S)
    return {
        "requests_per_s": _RATE,
        "offered": sent,
        "offered_for_s": _RATED_S,
        "last_answer_after_s": round(seconds, 2),
        "limit": round(limit, 1),
        "allowed": statuses[200],
        "allowed_over_limit": round(statuses[200] / limit, 4),
        "statuses": _named(statuses),
    }


async def concurrency(stack: Guarded) -> dict[str, object]:
    """Thirty batches at once of a key that may have four: how many got in."""
    async with stack.client("few") as client:
        bodies = [{"texts": [stack.text("a long batch") for _ in range(100)]} for _ in range(30)]
        answers = await asyncio.gather(*(client.post(_BATCH, json=body) for body in bodies))
    statuses = Counter(answer.status_code for answer in answers)
    return {"max_concurrent": _MOST, "sent_at_once": 30, "statuses": _named(statuses)}


async def phases(
    stack: Guarded, steps: list[tuple[str, Callable[[], object]]], seconds: float, clients: int
) -> dict[str, dict[str, object]]:
    """Statuses and latencies of single texts in each phase; the step begins it."""
    found: dict[str, dict[str, object]] = {}
    statuses: Counter[int | str] = Counter()
    latencies: list[float] = []
    ended = False

    async def load(client: httpx.AsyncClient) -> None:
        while not ended:
            body = {"text": stack.text("really good service")}
            began = time.monotonic()
            try:
                status: int | str = (await client.post(_PREDICT, json=body)).status_code
            except httpx.HTTPError as error:
                status = type(error).__name__
            statuses[status] += 1
            latencies.append(time.monotonic() - began)

    async with stack.client("shop") as client:
        loads = [asyncio.create_task(load(client)) for _ in range(clients)]
        await asyncio.sleep(3)
        for name, step in steps:
            await asyncio.to_thread(step)
            statuses.clear()
            latencies.clear()
            await asyncio.sleep(seconds)
            p50, p99 = np.percentile(latencies, [50, 99]) * 1_000
            found[name] = {
                "statuses": _named(statuses),
                "p50_ms": round(p50, 1),
                "p99_ms": round(p99, 1),
                "max_ms": round(max(latencies) * 1_000, 1),
            }
            print(f"{name}: {found[name]}", file=sys.stderr)
        ended = True
        await asyncio.gather(*loads)
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


def _named(statuses: Counter[int] | Counter[int | str]) -> dict[str, int]:
    return {str(status): n for status, n in sorted(statuses.items(), key=str)}


def _failed(found: dict[str, dict[str, object]]) -> int:
    counted = [phase["statuses"] for phase in found.values()]
    return sum(n for each in counted for status, n in each.items() if status != "200")  # type: ignore[attr-defined]


async def prove(stack: Guarded, seconds: float, clients: int) -> dict[str, object]:
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
    rated = await rate(stack)
    few = await concurrency(stack)
    without_redis = await phases(stack, around_redis, seconds, clients)
    without_vault = await phases(stack, around_vault, seconds, clients)
    up = float(str(without_redis["up"]["p99_ms"]))
    out = [float(str(without_redis[name]["p99_ms"])) for name in ("stopped", "killed")]
    return {
        "rate": rated,
        "concurrency": few,
        "redis": {
            "clients": clients,
            "failed": _failed(without_redis),
            "added_p99_ms": round(max(out) - up, 1),
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
        settings = StackSettings(
            environ={**os.environ, "MLOPS_VAULT_TOKEN": _TOKEN},
            config=_config(Path(folder), redis.port, bao.url),
            state_dir=Path(folder) / "state",
            port=0,
            mlflow_port=0,
            dashboard_port=0,
        )
        with Stack(settings, on_step=lambda line: print(line, file=sys.stderr)) as running:
            secrets = [*keys.values(), _PASSWORD, _TOKEN, bao.key, str(bao.root.token)]
            stack = Guarded(running.url, running.logs, redis, bao, keys, secrets)
            result: dict[str, object] = {
                "date": datetime.now(UTC).date().isoformat(),
                "commit": commit(),
                "machine": machine(),
                "load_average": load_average(),
                **asyncio.run(prove(stack, given.seconds, given.clients)),
                "logs": leaks(stack),
            }
    text = json.dumps(result, indent=2)
    RESULT.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0 if _holds(json.loads(text)) else 1


def _config(folder: Path, redis_port: int, bao_url: str) -> Path:
    config = yaml.safe_load((ROOT / "serve_config.yaml").read_text(encoding="utf-8"))
    config["applications"][0]["args"] |= {
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
    config["logging_config"]["log_level"] = "DEBUG"
    file = folder / "serve_config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return file


def _holds(result: dict[str, dict[str, object]]) -> bool:
    allowed = float(str(result["rate"]["allowed_over_limit"]))
    few = result["concurrency"]["statuses"] == {"200": _MOST, "429": 30 - _MOST}
    nothing_failed = not result["redis"]["failed"] and not result["vault"]["failed"]
    return 0.98 <= allowed <= 1.02 and few and nothing_failed and not result["logs"]["found_in"]


if __name__ == "__main__":
    sys.exit(main())
