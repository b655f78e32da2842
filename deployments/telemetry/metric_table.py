"""Metric families as a table: a class body that declares them, an instance that has them.

class JobMetrics(MetricTable):
    texts = counter("sentiment_job_texts", "Texts of batch jobs.", "result", known=("failed",))

JobMetrics(registry).texts.labels("failed").inc()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_KINDS: dict[str, Callable[..., Counter | Gauge | Histogram]] = {
    "counter": Counter,
    "gauge": Gauge,
    "histogram": Histogram,
}
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One row of a table.

    Attributes:
        kind: ``counter``, ``gauge`` or ``histogram``.
        name: Of the family; Prometheus adds ``_total`` to a counter's series.
        text: The help text.
        labels: Label names.
        known: Values of its one label whose series exist from the start.
        buckets: Upper bounds of a histogram.
    """

    kind: str
    name: str
    text: str
    labels: tuple[str, ...]
    known: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def make(self, registry: CollectorRegistry) -> Counter | Gauge | Histogram:
        """The family, registered, with its known series."""
        options = {"buckets": self.buckets} if self.buckets else {}
        made = _KINDS[self.kind](self.name, self.text, self.labels, registry=registry, **options)
        for value in self.known:
            made.labels(value)
        return made


# In a class body these stand for what an instance of the class has, hence their return types.


def counter(name: str, text: str, *labels: str, known: tuple[str, ...] = ()) -> Counter:
    """Declares a counter.

    A series that begins with its first event has not risen by it, and no rate shows it; so
    ``known`` lists the values of a single label that code counts.
    """
    return cast("Counter", Family("counter", name, text, labels, known=known))


def gauge(name: str, text: str, *labels: str) -> Gauge:
    """Declares a gauge."""
    return cast("Gauge", Family("gauge", name, text, labels))


def histogram(
    name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS
) -> Histogram:
    """Declares a histogram, by default of seconds."""
    return cast("Histogram", Family("histogram", name, text, labels, buckets=buckets))


class MetricTable:
    """Base of the classes whose body declares families.

    Attributes:
        declared: The families, by attribute.
    """

    declared: ClassVar[dict[str, Family]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        body = vars(cls).items()
        cls.declared = {name: family for name, family in body if isinstance(family, Family)}
        for name in cls.declared:
            # A class attribute of the same name makes reading the instance's half as slow again.
            delattr(cls, name)

    def __init__(self, registry: CollectorRegistry) -> None:
        """Makes the families, in ``registry``."""
        for name, family in self.declared.items():
            setattr(self, name, family.make(registry))
