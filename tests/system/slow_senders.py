"""Connections that drip beside a legitimate caller; part of ``tests.system.attack``.

The machine may be busy with other things, so calm and attack take turns: what both meet is no
difference between them.
"""

import json
import random
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.harness.machine import ROOT
from benchmarks.harness.output import say
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from tests.system.guarded import Guarded

HEADERS, UPLOADS = 5_000, 300
_RATE_PER_S = 50
_TEXT = "The parcel came late and the box was open"
# Until all connections are there and the first have been closed.
_OPENED_S = 15


def _quantiles_ms(latencies_s: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(latencies_s, n=100)
    return {f"p{n}_ms": round(cuts[n - 1] * 1_000, 1) for n in (50, 90, 99)}


def slow(guarded: Guarded, seconds: int, rounds: int) -> dict[str, Any]:
    """Requests of a legitimate caller, calm and beside slow senders, in turn."""

    def legitimate() -> BackgroundLoad:
        bodies = numbered_bodies([f"{_TEXT} {random.random()}"])
        headers = guarded.header("legitimate")
        return BackgroundLoad(guarded.stack.url, bodies, rate_per_s=_RATE_PER_S, headers=headers)

    numbers = (guarded.port, HEADERS, UPLOADS, guarded.keys["predict"], seconds + _OPENED_S + 2)
    command = [sys.executable, "-m", "tests.system.drip", *map(str, numbers)]
    with legitimate():
        time.sleep(5)
    calm: list[float] = []
    beside: list[float] = []
    dripping, failed = [], {"calm": 0, "beside": 0}
    for _ in range(rounds):
        with legitimate() as load:
            time.sleep(seconds)
        calm += load.latencies_s
        failed["calm"] += load.failed
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as senders:
            time.sleep(_OPENED_S)
            with legitimate() as load:
                time.sleep(seconds)
            dripping.append(json.loads(senders.communicate()[0]))
        beside += load.latencies_s
        failed["beside"] += load.failed
        say(f"calm {_quantiles_ms(calm)}, beside {_quantiles_ms(beside)}, failed {failed}")
    found: dict[str, Any] = {
        "seconds": seconds,
        "rounds": rounds,
        "dripping": dripping,
        "calm": _quantiles_ms(calm) | {"sent": len(calm)},
        "beside": _quantiles_ms(beside) | {"sent": len(beside)},
        "failed": failed,
    }
    twice = 2 * found["calm"]["p99_ms"]
    found["holds"] = not failed["beside"] and found["beside"]["p99_ms"] <= twice
    return found
