"""What level two costs and saves, and what an outage of Redis costs: ``make bench-cache``.

Break-even: CPU time of all processes of the stack for one text, with no level two, on a miss
and on a hit, level one off. A level pays from the hit rate on where
``miss * (1 - rate) + hit * rate`` is what a text costs without it. CPU time, not latency,
because it says the same on a busy machine.

Outage: single predictions at a steady concurrency while Redis is stopped (SIGSTOP), goes on,
is killed, and is started again; every status, and the p99 of each phase.
"""

import argparse
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.harness.output import result, run_facts, say
from benchmarks.harness.processes import cpu_s, replicas
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.stack import private_stack
from benchmarks.loadgen.client import Load, send_texts
from operations.local_stack.stack import Stack

# Level one would answer in place of level two.
_WITHOUT_L1 = {"MLOPS_CACHE__L1_MAX_BYTES": "0"}
_WORDS = """
the food was really good but service at this place is slow and staff never smiled we waited
an hour for a table then ordered soup which came cold they said sorry offered dessert it made
up evening my friend loved movie plot weak acting great sound awful seats comfortable would
go again maybe not sure price high quality low delivery late package broken support answered
""".split()  # noqa: SIM905  (a list of words is read more easily)


def texts(count: int, seed: int) -> list[str]:
    """Different made-up sentences of 20 to 26 words."""
    rng = random.Random(seed)
    return [
        " ".join([*rng.choices(_WORDS, k=rng.randint(18, 24)), str(i), "."]) for i in range(count)
    ]


def cost_ms(stack: Stack, sent: list[str], concurrency: int) -> float:
    """CPU milliseconds of the replicas for one text."""
    before_s = cpu_s(replicas(stack))
    done = send_texts(stack.url, sent, concurrency)
    assert done.statuses == {200: len(sent)}, done.statuses
    return (cpu_s(replicas(stack)) - before_s) * 1_000 / len(sent)


def break_even(folder: Path, count: int) -> dict[str, object]:
    """CPU milliseconds of a text by level two and concurrency, and the hit rate that pays."""
    costs: dict[str, dict[str, float]] = {}
    with RedisServer(folder) as redis:
        for level in ("none", "memory", "redis"):
            # Under load level two must not be skipped for slowness: its cost is the question.
            patient = {"MLOPS_CACHE__L2": level, "MLOPS_CACHE__L2_TIMEOUT_MS": "2000"}
            environ = {**_WITHOUT_L1, **patient, **_address(redis)}
            with private_stack(folder / level, **environ) as stack:
                send_texts(stack.url, texts(200, seed=0), 16)
                costs[level] = {}
                for concurrency in (1, 64):
                    share = count if concurrency > 1 else count // 4
                    sent = texts(share, seed=concurrency)
                    costs[level][f"miss at {concurrency}"] = cost_ms(stack, sent, concurrency)
                    if level != "none":
                        costs[level][f"hit at {concurrency}"] = cost_ms(stack, sent, concurrency)
    rates = {
        f"{level} at {concurrency}": (
            (costs[level][f"miss at {concurrency}"] - costs["none"][f"miss at {concurrency}"])
            / (costs[level][f"miss at {concurrency}"] - costs[level][f"hit at {concurrency}"])
        )
        for level in ("memory", "redis")
        for concurrency in (1, 64)
    }
    return {"cpu_ms_per_text": costs, "break_even_hit_rate": rates}


def outage(folder: Path, count: int, concurrency: int) -> dict[str, object]:
    """Statuses and latencies before, during and after each way of losing Redis."""
    with RedisServer(folder) as redis:
        environ = {**_WITHOUT_L1, "MLOPS_REDIS_ENABLED": "true", **_address(redis)}
        with private_stack(folder / "outage", **environ) as stack:
            send_texts(stack.url, texts(400, seed=0), concurrency)
            steps: tuple[tuple[str, Callable[[], object]], ...] = (
                ("up", lambda: None),
                ("stopped", lambda: redis.signal(signal.SIGSTOP)),
                ("continued", lambda: redis.signal(signal.SIGCONT)),
                ("killed", redis.stop),
                ("restarted", redis.start),
                ("up again", lambda: None),
            )
            phases = {}
            for seed, (name, step) in enumerate(steps, 1):
                step()
                phases[name] = _figures(send_texts(stack.url, texts(count, seed), concurrency))
                say(f"{name}: {phases[name]}")
                time.sleep(0.5)
    failed = sum(n for phase in phases.values() for s, n in phase["statuses"].items() if s != "200")
    return {"concurrency": concurrency, "failed": failed, "phases": phases}


def _figures(done: Load) -> dict[str, dict[str, float]]:
    p50, p99, worst = np.percentile(done.latencies_s, [50, 99, 100]) * 1_000
    return {
        "latency_ms": {"p50": round(p50, 1), "p99": round(p99, 1), "max": round(worst, 1)},
        "statuses": {str(status): n for status, n in done.statuses.items()},
    }


def _address(redis: RedisServer) -> dict[str, str]:
    return {"MLOPS_REDIS_HOST": "127.0.0.1", "MLOPS_REDIS_PORT": str(redis.port)}


def main() -> None:
    """Runs both and prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2_000, help="of each measurement")
    parser.add_argument("--concurrency", type=int, default=16, help="during the outage")
    parser.add_argument("--only", choices=["break_even", "outage"])
    given = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory() as folder:
        if given.only != "outage":
            facts["break_even"] = break_even(Path(folder), given.texts)
        if given.only != "break_even":
            facts["outage"] = outage(Path(folder), given.texts, given.concurrency)
    result(None, facts)


if __name__ == "__main__":
    main()
