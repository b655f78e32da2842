"""``make soak``: hours of half load with alias moves and restarts of Redis; what grows?

``python -m tests.system.soak --minutes 120`` samples memory, file descriptors and threads of every
process of a private stack, and the bytes of its state folder. After a warm-up of a fifth of the
time, a straight line through each series gives its slope. Exit status 1 when a slope is over its
limit and the growth is more than noise, or when a request failed.
"""

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.models import ACTOR, NAME, register_variant
from benchmarks.harness.output import RESULTS, result, run_facts, say
from benchmarks.harness.processes import command_line
from benchmarks.harness.servers import RedisServer
from benchmarks.harness.stack import private_stack, registry_of, serve_config
from benchmarks.loadgen.background import BackgroundLoad, numbered_bodies
from benchmarks.serving.stage_cpu import stage_of
from operations.local_stack.processes import MARK, belonging
from operations.local_stack.stack import Stack
from registry.errors import RegistryError

_TEXTS = ("The staff were friendly and quick.", "Never again, a complete waste of money.")
_WARM_UP = 0.2
_AWAY_S = 5.0
_LEAST_SAMPLES = 5
_PARTS = 12


@dataclass(frozen=True, slots=True)
class Limit:
    """Of one series.

    Attributes:
        per_hour: Slope that is too much.
        noise: Growth over the whole time that says nothing.
    """

    per_hour: float
    noise: float


LIMITS = {
    "memory_mb": Limit(per_hour=10, noise=15),
    "files": Limit(per_hour=10, noise=10),
    "threads": Limit(per_hour=5, noise=5),
    "disk_mb": Limit(per_hour=200, noise=50),
}
Series = dict[tuple[str, str], list[tuple[float, float]]]


def sample(stack: Stack, series: Series, at_s: float) -> None:
    """Adds a point to each series of each process, and to that of the disk."""
    for pid in belonging(stack.environ[MARK], set()):
        with suppress(OSError, ValueError):
            name = f"{stage_of(command_line(pid))} {pid}"
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
            fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
            found = {
                "memory_mb": int(fields["VmRSS"].split()[0]) / 1_024,
                "files": len(os.listdir(f"/proc/{pid}/fd")),  # noqa: PTH208
                "threads": int(fields["Threads"]),
            }
            for what, value in found.items():
                series[name, what].append((at_s, float(value)))
    series["state folder", "disk_mb"].append((at_s, _bytes(stack.logs.parent) / 1e6))


def _bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_blocks * 512
    return total


def verdicts(series: Series, lasted_s: float) -> list[dict[str, Any]]:
    """The slope of each series that lasted from the warm-up to the end."""
    rows = []
    begins_s = lasted_s * _WARM_UP
    for (name, what), points in sorted(series.items()):
        late = [(at, value) for at, value in points if at >= begins_s]
        if len(late) < _LEAST_SAMPLES or late[-1][0] - late[0][0] < 0.8 * (lasted_s - begins_s):
            continue
        times, values = np.array(late).T
        per_s = float(np.polyfit(times, values, 1)[0])
        parts = min(_PARTS, len(values))
        limit, growth = LIMITS[what], per_s * float(times[-1] - times[0])
        rows.append(
            {
                "process": name,
                "what": what,
                "first": round(float(values[0]), 1),
                "last": round(float(values[-1]), 1),
                "per_hour": round(per_s * 3_600, 2),
                # Steps and steady growth have the same slope.
                "course": [round(float(part.mean()), 1) for part in np.array_split(values, parts)],
                "limit": asdict(limit),
                "broken": per_s * 3_600 > limit.per_hour and growth > limit.noise,
            }
        )
    return rows


class Disturbances(threading.Thread):
    """Moves the alias, and takes Redis away for five seconds, again and again."""

    def __init__(self, stack: Stack, redis: RedisServer, every_s: float, folder: Path) -> None:
        super().__init__(daemon=True)
        self._registry = registry_of(stack)
        self._versions = [1, register_variant(self._registry, folder, temperature=1.1)]
        self._redis, self._every_s = redis, every_s
        self._ended = threading.Event()
        self.moves = self.restarts = 0

    def run(self) -> None:
        while not self._ended.wait(self._every_s):
            self._versions.reverse()
            lifecycle = self._registry.lifecycle
            with suppress(RegistryError):
                lifecycle.transition(NAME, self._versions[0], "staging", actor=ACTOR)
                lifecycle.transition(NAME, self._versions[0], "production", actor=ACTOR)
                self.moves += 1
            self._redis.stop()
            self._ended.wait(_AWAY_S)
            self._redis.start()
            self.restarts += 1

    def end(self) -> None:
        """Lets the present one end."""
        self._ended.set()
        self.join(60)


def soak(stack: Stack, redis: RedisServer, given: argparse.Namespace, folder: Path) -> Any:
    """The run; its figures."""
    series: Series = defaultdict(list)
    lasts_s = given.minutes * 60
    disturbances = Disturbances(stack, redis, given.disturb_minutes * 60, folder)
    began_s = time.monotonic()
    bodies = numbered_bodies(_TEXTS)
    with BackgroundLoad(stack.url, bodies, rate_per_s=given.rate, timeout_s=10.0) as load:
        disturbances.start()
        while (at_s := time.monotonic() - began_s) < lasts_s:
            sample(stack, series, at_s)
            time.sleep(max(2.0, lasts_s / 400))
        disturbances.end()
    return {
        "minutes": given.minutes,
        "requests_per_s": given.rate,
        "requests": load.statuses.total(),
        "failed": load.failed,
        "statuses": dict(load.statuses),
        "alias_moves": disturbances.moves,
        "redis_restarts": disturbances.restarts,
        "slopes": verdicts(series, lasts_s),
    }


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The steepest slopes as lines."""
    steep = sorted(rows, key=lambda row: -row["per_hour"] / row["limit"]["per_hour"])[:12]
    return "\n".join(json.dumps(row) for row in steep)


def main() -> int:
    """Runs it; 1 when something grows or a request failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--rate", type=float, default=200.0, help="in a second; half of two cores")
    parser.add_argument("--disturb-minutes", type=float, default=15.0, help="between disturbances")
    given = parser.parse_args()
    facts = run_facts()
    with tempfile.TemporaryDirectory() as name, RedisServer(Path(name)) as redis:
        folder = Path(name)
        args = {"redis": {"host": "127.0.0.1", "port": redis.port}, "cache": {"l2": "redis"}}
        with private_stack(folder / "state", serve_config(folder, args)) as stack:
            found = soak(stack, redis, given, folder)
    result(RESULTS / "soak.json", {**facts, **found})
    say(table(found["slopes"]))
    return int(found["failed"] > 0 or any(row["broken"] for row in found["slopes"]))


if __name__ == "__main__":
    sys.exit(main())
