"""Copies a replica's metrics to Ray's own, so that one scrape of a pod has all of them.

``/api/v1/metrics`` shows the replica that answers. Ray's agent collects the metrics of every
process on its node and labels them with the replica, so the copies are complete. Copying every
few seconds costs a request nothing; counting twice would.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from prometheus_client import CollectorRegistry

INTERVAL_S = 10.0


class Gauge(Protocol):
    """The part of Ray's gauge that is used."""

    def set(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Sets one series."""
        ...


MakeGauge = Callable[[str, str, Sequence[str]], Gauge]


class RayMetricsExporter:
    """Copies every sample of a registry to a gauge of the same name.

    Counters and histogram buckets become gauges as well; they still only rise until the
    replica restarts, which is all that ``rate`` and ``histogram_quantile`` ask for.
    """

    def __init__(self, registry: CollectorRegistry, make: MakeGauge) -> None:
        """Copies nothing yet.

        Args:
            registry: Read at each copy.
            make: Gauge of a name, a help text and label names; called once for each name.
        """
        self._registry = registry
        self._make = make
        self._gauges: dict[str, Gauge] = {}
        self._copied: set[tuple[str, frozenset[tuple[str, str]]]] = set()

    def copy(self) -> int:
        """Copies all samples; returns how many.

        A series that no longer exists becomes 0: Ray's gauges cannot drop one, and an unloaded
        version or a partition of another replica must not look alive.
        """
        copied = set()
        for family in self._registry.collect():
            for sample in family.samples:
                if sample.name.endswith("_created"):
                    continue
                gauge = self._gauges.get(sample.name)
                if gauge is None:
                    labels = tuple(sample.labels)
                    gauge = self._make(sample.name, family.documentation, labels)
                    self._gauges[sample.name] = gauge
                tags = {name: _ascii(value) for name, value in sample.labels.items()}
                gauge.set(sample.value, tags=tags)
                copied.add((sample.name, frozenset(tags.items())))
        for name, gone in self._copied - copied:
            self._gauges[name].set(0.0, tags=dict(gone))
        self._copied = copied
        return len(copied)

    async def run(self, interval_s: float = INTERVAL_S) -> None:
        """Copies every ``interval_s`` until it is cancelled."""
        while True:
            self.copy()
            await asyncio.sleep(interval_s)


def _ascii(value: str) -> str:
    # Ray refuses other characters, which a model's labels may have, and would end the copying.
    return value if value.isascii() else value.encode("ascii", "backslashreplace").decode()
