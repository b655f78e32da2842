"""Totals of one replica's metrics by short names, for sums over replicas. Read between answers.

``answers|good``, ``answers|5xx``, ``answers|429``: requests that predict, by how they ended; other
refusals are the caller's. ``latency|LE``, ``score|LE``: cumulative counts up to a bound, with
``_sum`` and ``_count``. ``texts|LABEL|CACHED``: texts by predicted label.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import Counter, Histogram
from prometheus_client.samples import Sample

if TYPE_CHECKING:
    from deployments.telemetry.metrics import Metrics

Figures = dict[str, float]
_PREDICT = ("/api/v1/predict", "/v2/")


def figures_of(metrics: "Metrics") -> Figures:
    """Totals since the replica started."""
    found: Figures = defaultdict(float)
    for sample in _samples(metrics.requests):
        if sample.labels["endpoint"].startswith(_PREDICT):
            status = int(sample.labels["status_code"])
            ended = "5xx" if status >= 500 else "good" if status < 400 else str(status)
            if ended in ("good", "5xx", "429"):
                found[f"answers|{ended}"] += sample.value
    for sample in _samples(metrics.request_seconds):
        if sample.labels["endpoint"].startswith(_PREDICT):
            found[_of_histogram("latency", sample)] += sample.value
    for sample in _samples(metrics.score):
        found[_of_histogram("score", sample)] += sample.value
    for sample in _samples(metrics.predictions):
        found[f"texts|{sample.labels['label']}|{sample.labels['cached']}"] += sample.value
    return dict(found)


def added(now: Figures, before: Figures) -> Figures:
    """What came since then."""
    grown = {name: value - before.get(name, 0.0) for name, value in now.items()}
    return {name: value for name, value in grown.items() if value}


def _samples(family: Counter | Histogram) -> Iterator[Sample]:
    for metric in family.collect():
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                yield sample


def _of_histogram(name: str, sample: Sample) -> str:
    if "le" in sample.labels:
        return f"{name}|{sample.labels['le']}"
    return f"{name}_{sample.name.rpartition('_')[2]}"
