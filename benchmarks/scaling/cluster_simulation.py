"""The split graph on many nodes, by discrete events: texts/s, p99 and cost for 1 to 1,000 engines.

``python -m benchmarks.scaling.cluster_simulation`` writes ``results/cluster.json``; what follows is
in ``docs/scale.md``. One process per ingress takes texts in and hands answers out, one CPU
each; engines are cores; each ingress may have two batches at each engine that it is connected to
(``deployments/transport/remote_stages.py``), and takes the one with the most room. Everything else
(controller, registry, Redis) is off the request path and counted on paper below.
"""

import argparse
import heapq
import itertools
import random
import sys
from collections import deque
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from benchmarks.harness.output import RESULTS, result, run_facts

RESULT = RESULTS / "cluster.json"


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds, of MiniLM INT8 on one core of the machine of ``docs/scale.md``.

    Attributes:
        engine_batch_s: Of a batch, beside its texts.
        engine_text_s: Of a text in a batch.
        ingress_text_s: CPU of the ingress for a text, its share of messages included.
        tokenizer_text_s: CPU of a tokenizer for a text.
        front_text_s: CPU of HAProxy and of Ray beside, for a text.
        network_s: One way between two nodes.
        node_hour: What a node costs, in dollars.
        node_cores: Its cores.
    """

    engine_batch_s: float = 0.00086
    engine_text_s: float = 0.00219
    ingress_text_s: float = 0.00045
    tokenizer_text_s: float = 0.0001
    front_text_s: float = 0.0002
    network_s: float = 0.0002
    node_hour: float = 0.34
    node_cores: int = 8


@dataclass(frozen=True, slots=True)
class Cluster:
    """What stands there.

    Attributes:
        engines: One for each core of the model nodes.
        ingresses: Processes that take texts.
        connected: Engines that each ingress is connected to; 0 is all.
        load: Offered, as a share of what the engines can do in batches of eight.
    """

    engines: int
    ingresses: int
    connected: int = 0
    load: float = 0.7


_CREDITS = 2
# Engines that an ingress of a cell is connected to.
_CELL = 32
_MOST_TEXTS = 8
_ARRIVES, _READY, _AT_ENGINE, _RAN, _BATCH_DONE, _ANSWERED = range(6)


@dataclass(slots=True)
class _Batch:
    """What an ingress sent to an engine in one message."""

    ingress: int
    came_s: list[float]
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.came_s)


class Simulation:
    """One run; ``run`` returns the latency of each text that came after the first fifth."""

    def __init__(self, cluster: Cluster, costs: Costs, texts: int, seed: int = 1) -> None:
        self._cluster = cluster
        self._costs = costs
        self._texts = texts
        self._random = random.Random(seed)
        self._order = itertools.count()
        self._events: list[tuple[float, int, int, Any]] = []
        self._waiting: list[deque[tuple[float, int]]] = [deque() for _ in range(cluster.ingresses)]
        self._busy_until = [0.0] * cluster.ingresses
        self._queued: list[deque[tuple[float, _Batch]]] = [deque() for _ in range(cluster.engines)]
        self._running = [False] * cluster.engines
        self._reach = [self._connected(i) for i in range(cluster.ingresses)]
        # Engines with a free credit, by ingress; one may be in a list twice.
        self._free = [deque(reach * _CREDITS) for reach in self._reach]
        self.batches = 0
        self.latencies_s: list[float] = []
        self.ended_s = 0.0

    def _connected(self, ingress: int) -> list[int]:
        count = self._cluster.connected or self._cluster.engines
        first = ingress * self._cluster.engines // self._cluster.ingresses
        found = [(first + i) % self._cluster.engines for i in range(count)]
        self._random.shuffle(found)
        return found

    def rate(self) -> float:
        """Texts offered in a second."""
        one = self._costs.engine_batch_s + _MOST_TEXTS * self._costs.engine_text_s
        return self._cluster.load * self._cluster.engines * _MOST_TEXTS / one

    def run(self) -> list[float]:
        """Seconds of each text, those of the warm-up left out."""
        at = 0.0
        for number in range(self._texts):
            at += self._random.expovariate(self.rate())
            self._push(at, _ARRIVES, (number % self._cluster.ingresses, at))
        while self._events:
            now, _, kind, what = heapq.heappop(self._events)
            if kind == _ARRIVES:
                ingress, came_s = what
                self._push(self._work(ingress, now), _READY, (ingress, came_s))
            elif kind == _READY:
                ingress, came_s = what
                self._waiting[ingress].append((came_s, ingress))
                self._dispatch(ingress, now)
            elif kind == _AT_ENGINE:
                engine, batch = what
                self._queued[engine].extend((came_s, batch) for came_s in batch.came_s)
                self._start(engine, now)
            elif kind == _RAN:
                engine, texts = what
                self._ran(engine, texts, now)
            elif kind == _BATCH_DONE:
                engine, batch = what
                self._batch_done(engine, batch, now)
            else:
                self.latencies_s.append(now - what)
                self.ended_s = now
        return self.latencies_s[len(self.latencies_s) // 5 :]

    def _push(self, at: float, kind: int, what: Any) -> None:
        heapq.heappush(self._events, (at, next(self._order), kind, what))

    def _work(self, ingress: int, now: float) -> float:
        """When the ingress has done its half for a text."""
        half_s = self._costs.ingress_text_s / 2
        self._busy_until[ingress] = max(self._busy_until[ingress], now) + half_s
        return self._busy_until[ingress]

    def _dispatch(self, ingress: int, now: float) -> None:
        waiting, free = self._waiting[ingress], self._free[ingress]
        while waiting and free:
            engine = free.popleft()
            texts = [waiting.popleft()[0] for _ in range(min(len(waiting), _MOST_TEXTS))]
            self._push(now + self._costs.network_s, _AT_ENGINE, (engine, _Batch(ingress, texts)))

    def _start(self, engine: int, now: float) -> None:
        """An engine that is free takes the oldest of what waits, whoever sent it."""
        queue = self._queued[engine]
        if self._running[engine] or not queue:
            return
        texts = [queue.popleft() for _ in range(min(len(queue), _MOST_TEXTS))]
        took_s = self._costs.engine_batch_s + len(texts) * self._costs.engine_text_s
        self._running[engine] = True
        self.batches += 1
        self._push(now + took_s, _RAN, (engine, texts))

    def _ran(self, engine: int, texts: list[tuple[float, "_Batch"]], now: float) -> None:
        self._running[engine] = False
        for _, batch in texts:
            batch.left -= 1
            if not batch.left:
                self._push(now + self._costs.network_s, _BATCH_DONE, (engine, batch))
        self._start(engine, now)

    def _batch_done(self, engine: int, batch: "_Batch", now: float) -> None:
        ingress = batch.ingress
        self._free[ingress].append(engine)
        for came_s in batch.came_s:
            self._push(self._work(ingress, now), _ANSWERED, came_s)
        self._dispatch(ingress, now)


def percentile(values: list[float], share: float) -> float:
    """By the nearest rank."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def figures(cluster: Cluster, costs: Costs, texts: int) -> dict[str, Any]:
    """What one cluster does."""
    simulation = Simulation(cluster, costs, texts)
    latencies_s = simulation.run()
    per_s = texts / simulation.ended_s
    beside_s = costs.ingress_text_s + costs.tokenizer_text_s + costs.front_text_s
    cores = cluster.engines + per_s * beside_s
    nodes = max(1, -(-int(cores * 100) // (100 * costs.node_cores)))
    return {
        **asdict(cluster),
        "nodes": nodes,
        "texts_per_s": round(per_s),
        "p50_ms": round(percentile(latencies_s, 0.5) * 1_000, 1),
        "p99_ms": round(percentile(latencies_s, 0.99) * 1_000, 1),
        "texts_in_batch": round(texts / simulation.batches, 1),
        "dollars_per_million": round(nodes * costs.node_hour / 3_600 / per_s * 1e6, 3),
        "connections": cluster.ingresses * (cluster.connected or cluster.engines),
    }


def ingresses_for(engines: int, load: float, costs: Costs) -> int:
    """So many that each works for at most 60 % of its time."""
    per_engine = 1 / (costs.engine_batch_s / _MOST_TEXTS + costs.engine_text_s)
    return max(1, -(-int(engines * per_engine * load * costs.ingress_text_s * 100) // 60))


def main() -> int:
    """Prints and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=100, help="for each engine, 20,000 at least")
    args = parser.parse_args()
    costs = Costs()
    rows = []
    for engines in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000):
        for load in (0.5, 0.8, 0.95):
            count, texts = ingresses_for(engines, load, costs), max(20_000, args.texts * engines)
            whole = Cluster(engines, count, load=load)
            rows.append(figures(whole, costs, texts))
            if engines > _CELL:
                cells = -(-engines // _CELL)
                cell = replace(whole, ingresses=max(count, cells), connected=_CELL)
                rows.append(figures(cell, costs, texts))
    for row in rows:
        print(*(f"{name}={value}" for name, value in row.items()))
    result(RESULT, {**run_facts(), "costs": asdict(costs), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
