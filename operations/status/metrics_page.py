"""The series of all replicas, from Ray's pages, or those of one ingress, from its own."""

import math
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_S = 5.0
_PREFIX = "ray_"
_OURS = ("sentiment_", "kafka_")


@dataclass(frozen=True, slots=True)
class Sample:
    """One series and its value now."""

    name: str
    labels: Mapping[str, str]
    value: float


class MetricsPage:
    """Samples of ours, by name."""

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

    @classmethod
    def of_ingress(cls, page: str) -> Self:
        """From the page of the ingress replica that answered."""
        return cls(samples_of(page))

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
    """Our samples on a Prometheus page, without the prefix that Ray puts before them."""
    lines = [
        line.removeprefix(_PREFIX)
        for line in page.splitlines()
        if line.removeprefix(_PREFIX).startswith(_OURS)
    ]
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            yield Sample(sample.name, sample.labels, sample.value)


def read_page(address: str, port: int) -> str | None:
    """Ray's metrics page of a node; None when it cannot be reached from here."""
    try:
        with urllib.request.urlopen(
            f"http://{address}:{port}/metrics", timeout=_TIMEOUT_S
        ) as response:  # nosec B310
            return str(response.read().decode("utf-8", "replace"))
    except (OSError, ValueError):
        return None
