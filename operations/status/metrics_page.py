"""This application's series, read from Ray's metrics pages or from one ingress's own page."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Self

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from operations.clients.http_client import fetch

_TIMEOUT_S = 5.0
_RAY = "ray_"
_PREFIXES = ("sentiment_", "kafka_")


class MetricsPage:
    """This application's samples, by name."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._samples: dict[str, list[Sample]] = defaultdict(list)
        for sample in samples:
            if not math.isnan(sample.value):
                self._samples[sample.name].append(sample)

    @classmethod
    def of_pages(cls, pages: Iterable[str], replicas: frozenset[str]) -> Self:
        """From Ray's pages, of replicas that live: those of dead ones stay on them for minutes."""
        found = (sample for page in pages for sample in samples_of(page))
        return cls(sample for sample in found if sample.labels.get("replica") in replicas)

    def total(self, name: str, **labels: str) -> float:
        """Sum over all series with these labels; 0 for none."""
        return sum(sample.value for sample in self._of(name, labels))

    def largest(self, name: str, **labels: str) -> float | None:
        """The largest value; None without a series."""
        return max((sample.value for sample in self._of(name, labels)), default=None)

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Sums by the value of a label, largest first."""
        sums: dict[str, float] = defaultdict(float)
        for sample in self._of(name, labels):
            sums[sample.labels.get(label, "")] += sample.value
        return dict(sorted(sums.items(), key=lambda item: -item[1]))

    def _of(self, name: str, labels: Mapping[str, str]) -> list[Sample]:
        wanted = labels.items()
        return [s for s in self._samples.get(name, ()) if wanted <= s.labels.items()]


def samples_of(page: str) -> Iterable[Sample]:
    """This application's samples on a Prometheus page, without Ray's prefix."""
    lines = [
        line.removeprefix(_RAY)
        for line in page.splitlines()
        if line.removeprefix(_RAY).startswith(_PREFIXES)
    ]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        yield from family.samples


def read_page(address: str, port: int) -> str | None:
    """Ray's metrics page of a node; None when it cannot be reached from here."""
    found = fetch(f"http://{address}:{port}/metrics", _TIMEOUT_S)
    return found.text if found is not None and found.is_success else None
