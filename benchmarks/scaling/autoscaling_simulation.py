"""Days of traffic against autoscaling policies: waits, refusals and GPU-hours, simulated.

A discrete-event simulation: texts arrive (a day's curve with bursts), wait for a tokenizer on CPU
machines and then for a model on GPU machines (``autoscaling_stage.py``); the ingress refuses what
by the queues before it would miss its deadline. Policies see what Ray Serve would show them of both
deployments. No process is started; the figures are those of the model, not of a machine.

Usage: ``python -m benchmarks.scaling.autoscaling_simulation --days 3 --plot docs/guides/images``
"""

import argparse
import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import repeat
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness.machine import whole_cores
from benchmarks.scaling.autoscaling_stage import Delays, Size, Stage, View
from deployments.autoscaling import GraphPolicy, ModelPolicy

TICK_S = 0.02
_SAMPLED = 0.05


class Id(NamedTuple):
    """A deployment, as Ray Serve names it to a policy of the application."""

    name: str


TOKENIZER, MODEL = Id("Tokenizer"), Id("Model")
Policy = Callable[[Mapping[Id, View]], Mapping[Id, float]]


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a cluster costs and how long it takes: assumptions, but for the tokenizer's times.

    Those are what the benchmarks measured: 0.4 ms of CPU a text in hops of sixteen.
    """

    model: Size = Size(
        batch_s=0.004,
        text_s=0.0011,
        min_replicas=4,
        max_replicas=48,
        per_machine=4,  # a quarter of a card each
        replica_start_s=25.0,
        machine_start_s=240.0,
    )
    tokenizer: Size = Size(
        batch_s=0.004,
        text_s=0.00015,
        min_replicas=1,
        max_replicas=12,
        per_machine=6,
        replica_start_s=10.0,
        machine_start_s=120.0,
    )
    delays: Delays = Delays()
    deadline_s: float = 1.0


def by_requests(target: float) -> Policy:
    """Ray Serve's default policy for each deployment: requests in flight over the target."""
    return lambda views: {
        key: max(1.0, view.total_num_requests / target) for key, view in views.items()
    }


def by_hops(target: float, texts: int) -> Policy:
    """The same where one request carries so many texts, as the ingress's micro-batches do."""
    return lambda views: {
        key: max(1.0, math.ceil(view.total_num_requests / texts) / target)
        for key, view in views.items()
    }


def each(model: ModelPolicy, tokenizer: Policy) -> Policy:
    """A policy of its own for each deployment."""
    return lambda views: {**tokenizer(views), MODEL: model(views[MODEL])[0]}


def together(policy: GraphPolicy) -> Policy:
    """One policy for the application."""
    return lambda views: policy(views)[0]


@dataclass
class PolicyResult:
    """What came of one policy."""

    waits_ms: list[float] = field(default_factory=list)
    answered: int = 0
    refused: int = 0
    gpu_hours: float = 0.0
    replica_hours: float = 0.0
    tokenizer_hours: float = 0.0
    cpu_machine_hours: float = 0.0
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
            "tokenizer_hours": round(self.tokenizer_hours, 1),
            "cpu_machine_hours": round(self.cpu_machine_hours, 1),
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


def simulate(policy: Policy, world: Cluster, days: float, seed: int = 7) -> PolicyResult:
    """Runs one policy over the trace of a seed; the same seed is the same trace."""
    return _Simulation(policy, world, days, seed).run()


class _Simulation:
    def __init__(self, policy: Policy, world: Cluster, days: float, seed: int) -> None:
        self._policy, self._world = policy, world
        self._end_s = days * 86_400
        self._bursts = bursts_of(days, seed)
        self._chance = random.Random(seed + 1)
        self._sample = random.Random(seed + 2)
        self._tokenizer = Stage(world.tokenizer, world.delays, reports=False)
        self._model = Stage(world.model, world.delays, reports=True)
        self._outcome = PolicyResult()

    def run(self) -> PolicyResult:
        """Steps from tick to tick; batches end at their own times in between."""
        control_s = self._world.delays.control_s
        now, next_control = 0.0, control_s
        while now < self._end_s:
            now += TICK_S
            self._finish(now)
            for stage in (self._tokenizer, self._model):
                stage.started(now)
            self._arrive(now)
            self._tokenizer.dispatch(now)
            self._model.dispatch(now)
            if now >= next_control:
                self._control(now)
                next_control += control_s
        self._outcome.scalings = self._tokenizer.scalings + self._model.scalings
        return self._outcome

    def _finish(self, now: float) -> None:
        while (batch := self._tokenizer.ended(now)) is not None:
            for at, texts in batch.parts:
                self._model.take(at, texts)
            self._tokenizer.dispatch(batch.ended_s)
            self._model.dispatch(batch.ended_s)
        while (batch := self._model.ended(now)) is not None:
            for at, texts in batch.parts:
                self._outcome.answered += texts
                if self._sample.random() < _SAMPLED:
                    self._outcome.waits_ms += [1_000 * (batch.ended_s - at)] * texts
            self._model.dispatch(batch.ended_s)

    def _arrive(self, now: float) -> None:
        mean = rate(now, self._bursts) * TICK_S
        texts = max(0, round(self._chance.gauss(mean, math.sqrt(mean))))
        deadline_s = self._world.deadline_s
        # Both stages must get through what waits for them; a text waits for the model all along.
        room = min(
            int(deadline_s * self._tokenizer.pace) - self._tokenizer.queued,
            int(deadline_s * self._model.pace) - self._model.queued - self._tokenizer.queued,
        )
        taken = min(texts, max(0, room))
        self._outcome.refused += texts - taken
        if taken:
            self._tokenizer.take(now, taken)

    def _control(self, now: float) -> None:
        tokenizer, model, outcome = self._tokenizer, self._model, self._outcome
        # A tokenizer's request is under way until the model has answered it.
        behind = model.queued + model.running
        views = {
            TOKENIZER: tokenizer.view(tokenizer.queued + tokenizer.running + behind),
            MODEL: model.view(behind),
        }
        wanted = self._policy(views)
        tokenizer.decide(wanted[TOKENIZER], now)
        model.decide(wanted[MODEL], now)
        hours = self._world.delays.control_s / 3_600
        outcome.gpu_hours += model.machines * hours
        outcome.replica_hours += model.alive * hours
        outcome.tokenizer_hours += tokenizer.alive * hours
        outcome.cpu_machine_hours += tokenizer.machines * hours
        if now % 60 < self._world.delays.control_s:
            traffic = rate(now, self._bursts)
            outcome.timeline.append((now / 3_600, traffic, model.alive, 1_000 * model.wait_s))


def policies() -> Iterator[tuple[str, Policy, Cluster]]:
    """Ray's default, the default with a target that suits batches, and ours."""
    quick = Cluster(delays=replace(Delays(), upscale_s=10))
    yield "Ray default (2 requests)", by_requests(2), Cluster()
    yield "Ray default, micro-batches", by_hops(2, 64), Cluster()
    yield "requests, target 32", by_requests(32), quick
    yield "sentigraph ModelPolicy", each(ModelPolicy(), by_requests(32)), quick
    yield "sentigraph GraphPolicy", together(GraphPolicy(tokenizers_per_model=0.25)), quick


def _play(name: str, days: float, seed: int) -> PolicyResult:
    """One of ``policies``, by its name: a process cannot be handed a function made in another."""
    policy, world = next((policy, world) for known, policy, world in policies() if known == name)
    return simulate(policy, world, days, seed)


def main() -> None:
    """Prints the table; writes JSON and picture where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--days", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--plot", type=Path, help="folder for autoscaling.png")
    parser.add_argument("--json", type=Path, help="file for the figures")
    args = parser.parse_args()
    results = {}
    names = [name for name, _, _ in policies()]
    with ProcessPoolExecutor(min(len(names), whole_cores())) as processes:
        played = processes.map(_play, names, repeat(args.days), repeat(args.seed))
        for name, outcome in zip(names, played, strict=True):
            results[name] = outcome
            shown = (f"{key}={value:g}" for key, value in outcome.figures().items())
            print(f"{name:28}", *shown, flush=True)
    if args.json:
        figures = {name: outcome.figures() for name, outcome in results.items()}
        record = {"days": args.days, "seed": args.seed, **figures}
        args.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if args.plot:
        from benchmarks.scaling.autoscaling_chart import plot  # noqa: PLC0415 - matplotlib

        plot({name: outcome.timeline for name, outcome in results.items()}, args.plot)


if __name__ == "__main__":
    main()
