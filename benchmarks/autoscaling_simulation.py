"""Days of traffic against autoscaling policies: waits, refusals and GPU-hours, simulated.

A discrete-event simulation: texts arrive (a day's curve with bursts), wait in one queue, leave
in batches for replicas, which cost a fixed part and a part for each text. Replicas start in
seconds where a card has room and in minutes where a machine must come first; machines that
are idle for a while go. Policies see what Ray Serve would show them, mean over the look-back
period, and Serve's own delays are applied to what they want. No process is started; the
figures are those of the model, not of a machine.

Usage: ``python -m benchmarks.autoscaling_simulation --days 1 --plot docs/guides/images``
"""

import argparse
import heapq
import json
import math
import random
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from deployments.autoscaling import BUSY, WAIT, ModelPolicy

TICK_S = 0.02


@dataclass(frozen=True, slots=True)
class World:
    """What a cluster costs and how long it takes."""

    batch_s: float = 0.004  # fixed part of one batch
    text_s: float = 0.0011  # and for each of its texts
    batch_texts: int = 64
    per_card: int = 4
    min_replicas: int = 4
    max_replicas: int = 48
    replica_start_s: float = 25.0
    machine_start_s: float = 240.0
    machine_idle_s: float = 300.0
    deadline_s: float = 1.0
    look_back_s: float = 30.0
    control_s: float = 5.0
    upscale_delay_s: float = 30.0
    downscale_delay_s: float = 600.0


@dataclass
class View:
    """What a policy sees: the part of Ray Serve's context that ours reads."""

    current_num_replicas: int
    total_num_requests: float
    aggregated_metrics: dict[str, dict[str, float]]


Policy = Callable[[View], tuple[float, dict[str, object]]]


def by_requests(target: float) -> Policy:
    """Ray Serve's default policy: requests in flight over the target for each replica."""
    return lambda view: (max(1.0, view.total_num_requests / target), {})


@dataclass
class Outcome:
    """What came of one policy."""

    waits_ms: list[float] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    gpu_hours: float = 0.0
    replica_hours: float = 0.0
    scalings: int = 0
    timeline: list[tuple[float, float, int, float]] = field(default_factory=list)

    def figures(self) -> dict[str, float]:
        """The figures of the table."""
        waits = sorted(self.waits_ms)

        def at(share: float) -> float:
            return waits[min(len(waits) - 1, int(len(waits) * share))]

        return {
            "p50_ms": round(at(0.5), 1),
            "p99_ms": round(at(0.99), 1),
            "p999_ms": round(at(0.999), 1),
            "refused_percent": round(100 * self.refused / (self.refused + self.answered), 3),
            "gpu_hours": round(self.gpu_hours, 1),
            "replica_hours": round(self.replica_hours, 1),
            "scalings": self.scalings,
        }


def rate(at_s: float, bursts: list[tuple[float, float, float]]) -> float:
    """Texts a second: a day's curve, and bursts of (start, length, height)."""
    day = 1_400 - 1_100 * math.cos(2 * math.pi * at_s / 86_400)
    return day + sum(height for start, length, height in bursts if start <= at_s < start + length)


def bursts_of(days: float, seed: int) -> list[tuple[float, float, float]]:
    """Eight a day, of one to fifteen minutes, up to three times the mean."""
    chance = random.Random(seed)
    return [
        (chance.uniform(0, days * 86_400), chance.uniform(60, 900), chance.uniform(500, 4_500))
        for _ in range(round(8 * days))
    ]


def simulate(policy: Policy, world: World, days: float, seed: int = 7) -> Outcome:
    """Runs one policy over the trace of a seed; the same seed is the same trace."""
    return _Simulation(policy, world, days, seed).run()


class _Simulation:
    def __init__(self, policy: Policy, world: World, days: float, seed: int) -> None:
        self._policy, self._world = policy, world
        self._end_s = days * 86_400
        self._bursts = bursts_of(days, seed)
        self._chance = random.Random(seed + 1)
        self._sample = random.Random(seed + 2)
        self._queue: deque[tuple[float, int]] = deque()
        self._queued = 0
        self._running_texts = 0
        self._idle = self._alive = self._target = world.min_replicas
        self._starting: list[float] = []
        self._machines = math.ceil(world.min_replicas / world.per_card)
        self._machine_idle_since: float | None = None
        self._busy_s = 0.0
        self._view: deque[tuple[float, float, float]] = deque()
        self._wish: tuple[int, float] | None = None
        self._outcome = Outcome()
        self._done: list[tuple[float, int]] = []

    def run(self) -> Outcome:
        """Steps from tick to tick; batches end at their own times in between."""
        world, now, next_control = self._world, 0.0, self._world.control_s
        while now < self._end_s:
            now += TICK_S
            while self._done and self._done[0][0] <= now:
                ended, texts = heapq.heappop(self._done)
                self._running_texts -= texts
                self._release()
                self._dispatch(ended)
            while self._starting and self._starting[0] <= now:
                heapq.heappop(self._starting)
                self._alive += 1
                self._idle += 1
            self._arrive(now)
            self._dispatch(now)
            if now >= next_control:
                self._control(now)
                next_control += world.control_s
        return self._outcome

    def _release(self) -> None:
        if self._alive > self._target:
            self._alive -= 1  # what was to go had a batch to finish
        else:
            self._idle += 1

    def _arrive(self, now: float) -> None:
        mean = rate(now, self._bursts) * TICK_S
        texts = max(0, round(self._chance.gauss(mean, math.sqrt(mean))))
        world = self._world
        pace = max(1, self._alive) / (world.text_s + world.batch_s / world.batch_texts)
        room = max(0, int(world.deadline_s * pace) - self._queued)
        taken = min(texts, room)
        self._outcome.refused += texts - taken
        if taken:
            self._queue.append((now, taken))
            self._queued += taken

    def _dispatch(self, now: float) -> None:
        world = self._world
        while self._idle > 0 and self._queued:
            texts = 0
            while self._queue and texts < world.batch_texts:
                at, count = self._queue[0]
                part = min(count, world.batch_texts - texts)
                wait_s = now - at
                texts += part
                self._queue[0] = (at, count - part)
                if count == part:
                    self._queue.popleft()
                if self._sample.random() < 0.05:
                    service_s = world.batch_s + world.text_s * texts
                    self._outcome.waits_ms += [1_000 * (wait_s + service_s)] * part
            service_s = world.batch_s + world.text_s * texts
            self._queued -= texts
            self._running_texts += texts
            self._outcome.answered += texts
            self._busy_s += service_s
            self._idle -= 1
            heapq.heappush(self._done, (now + service_s, texts))

    def _control(self, now: float) -> None:
        world = self._world
        busy = min(1.0, self._busy_s / world.control_s / max(1, self._alive))
        self._busy_s = 0.0
        wait_s = self._queued / max(1, self._alive) * world.text_s
        self._view.append((busy, wait_s, float(self._queued + self._running_texts)))
        if len(self._view) > world.look_back_s / world.control_s:
            self._view.popleft()
        seen = zip(*self._view, strict=True)
        busy, wait_s, requests = (sum(part) / len(self._view) for part in seen)
        view = View(self._alive, requests, {BUSY: {"mean": busy}, WAIT: {"mean": wait_s}})
        wanted = math.ceil(self._policy(view)[0] - 1e-9)
        self._decide(min(world.max_replicas, max(world.min_replicas, wanted)), now)
        self._machines_follow(now)
        self._outcome.gpu_hours += self._machines * world.control_s / 3_600
        self._outcome.replica_hours += self._alive * world.control_s / 3_600
        if now % 60 < world.control_s:
            self._outcome.timeline.append(
                (now / 3_600, rate(now, self._bursts), self._alive, 1_000 * wait_s)
            )

    def _decide(self, wanted: int, now: float) -> None:
        """Serve's delays: the same direction must be wanted for a while."""
        direction = (wanted > self._target) - (wanted < self._target)
        if direction == 0:
            self._wish = None
            return
        if self._wish is None or self._wish[0] != direction:
            self._wish = (direction, now)
        world = self._world
        delay_s = world.upscale_delay_s if direction > 0 else world.downscale_delay_s
        if now - self._wish[1] < delay_s:
            return
        self._wish = None
        self._outcome.scalings += 1
        for _ in range(wanted - self._target):
            heapq.heappush(self._starting, now + self._start_s())
            self._target += 1
        while self._target > wanted:
            self._target -= 1
            if self._starting:
                self._starting.pop()
                heapq.heapify(self._starting)
            elif self._idle:
                self._idle -= 1
                self._alive -= 1

    def _start_s(self) -> float:
        """A replica on a card with room, or behind a machine that must come first."""
        if self._target < self._machines * self._world.per_card:
            return self._world.replica_start_s
        self._machines += 1
        return self._world.machine_start_s + self._world.replica_start_s

    def _machines_follow(self, now: float) -> None:
        needed = math.ceil(max(self._target, self._alive) / self._world.per_card)
        if self._machines <= needed:
            self._machine_idle_since = None
        elif self._machine_idle_since is None:
            self._machine_idle_since = now
        elif now - self._machine_idle_since >= self._world.machine_idle_s:
            self._machines = needed


def policies() -> Iterator[tuple[str, Policy, World]]:
    """Ray's default, the default with a target that suits batches, and ours."""
    yield "Ray default (2 requests)", by_requests(2), World()
    yield "requests, target 32", by_requests(32), World(upscale_delay_s=10)
    yield "sentigraph ModelPolicy", ModelPolicy(), World(upscale_delay_s=10)


def plot(results: dict[str, Outcome], folder: Path) -> None:
    """Replicas over the day for each policy, above the traffic."""
    import matplotlib as mpl  # noqa: PLC0415 - for the picture only

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(3, 1, figsize=(10, 8), sharex=True)
    for name, outcome in results.items():
        hours, traffic, replicas, waits = zip(*outcome.timeline, strict=True)
        axes[1].plot(hours, replicas, label=name, linewidth=1)
        axes[2].plot(hours, waits, label=name, linewidth=0.7)
    axes[0].plot(hours, traffic, color="black", linewidth=0.7)
    for axis, title in zip(axes, ("texts/s", "replicas", "predicted wait, ms"), strict=True):
        axis.set_ylabel(title)
        axis.grid(alpha=0.3)
    axes[2].set_yscale("symlog")
    axes[1].legend(fontsize=8)
    axes[2].set_xlabel("hours")
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "autoscaling.png", dpi=90, bbox_inches="tight")


def main() -> None:
    """Prints the table; writes JSON and picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--plot", type=Path, help="folder for autoscaling.png")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    results = {
        name: simulate(policy, world, args.days, args.seed) for name, policy, world in policies()
    }
    figures = {name: outcome.figures() for name, outcome in results.items()}
    for name, row in figures.items():
        print(f"{name:28}", *(f"{key}={value:g}" for key, value in row.items()))
    if args.json:
        record = {"days": args.days, "seed": args.seed, **figures}
        args.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if args.plot:
        plot(results, args.plot)


if __name__ == "__main__":
    main()
