"""Versions side by side: figures on equal datasets, parameters, labels, files, trends. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.catalog.evaluations import latest
from registry.catalog.intervals import wilson_interval
from registry.catalog.metadata import Metadata, metadata_of
from registry.records import Measurement, ModelVersion

TEXTS = "texts"
ACCURACIES = ("accuracy", "macro_accuracy")


@dataclass(frozen=True, slots=True)
class Figure:
    """A version's figure with the 95 % interval where it is a share of a known number of texts."""

    metric: str
    value: float
    dataset: str
    dataset_digest: str
    interval: tuple[float, float] | None

    def text(self) -> str:
        """Value and interval for a table."""
        if self.interval is None:
            return f"{self.value:.4g}"
        return f"{self.value:.4f} ({self.interval[0]:.4f}-{self.interval[1]:.4f})"


@dataclass(frozen=True, slots=True)
class Compared:
    """One metric of two versions on one dataset; ``difference`` is b - a."""

    metric: str
    dataset: str
    dataset_digest: str
    a: float
    b: float
    difference: float
    interval_a: tuple[float, float] | None
    interval_b: tuple[float, float] | None


def compare_figures(
    a: Sequence[Measurement], b: Sequence[Measurement], dataset: str = ""
) -> tuple[list[Compared], list[str]]:
    """Figures that both have on the same dataset, and the metrics that cannot be compared.

    Those on ``dataset`` come first.
    """
    mine, theirs = _newest(a), _newest(b)
    pairs = [
        Compared(
            *key,
            mine[key],
            theirs[key],
            theirs[key] - mine[key],
            _interval(mine, key),
            _interval(theirs, key),
        )
        for key in sorted(mine.keys() & theirs.keys(), key=lambda key: (key[1] != dataset, key))
    ]
    compared = {pair.metric for pair in pairs}
    return pairs, sorted({m.metric for m in (*a, *b)} - compared)


def shown_figures(
    versions: Sequence[tuple[ModelVersion, Sequence[Measurement]]],
    *,
    dataset: str = "",
    metrics: Sequence[str] = ACCURACIES,
) -> dict[int, Figure]:
    """The newest figure of each version on one dataset, so that all can be compared, by number.

    The dataset is the named one; else the one that the champion was measured on last, or most
    versions were. Of one name with several digests, likewise. The metric is the first of
    ``metrics`` that anybody has there.
    """
    found = {version.version: _newest(measured) for version, measured in versions}
    measured_s = {
        (m.metric, m.dataset, m.dataset_digest): m.measured_s for _, ms in versions for m in ms
    }
    champion = next((v.version for v, _ in versions if "champion" in v.aliases), 0)
    for metric in metrics:
        keys = {key for mine in found.values() for key in mine if key[0] == metric}
        if keys := {key for key in keys if dataset in ("", key[1])}:
            chosen = max(
                keys,
                key=lambda key: (
                    key in found.get(champion, {}),
                    sum(key in mine for mine in found.values()),
                    measured_s[key],
                ),
            )
            return {
                number: Figure(metric, mine[chosen], *chosen[1:], _interval(mine, chosen))
                for number, mine in found.items()
                if chosen in mine
            }
    return {}


def with_interval(figure: Measurement, measured: Sequence[Measurement]) -> Figure:
    """A measurement with its interval, from the number of texts that were measured with it."""
    key = (figure.metric, figure.dataset, figure.dataset_digest)
    numbers = {k: v for k, v in _newest(measured).items() if k[0] == TEXTS}
    interval = _interval({**numbers, key: figure.value}, key)
    return Figure(figure.metric, figure.value, figure.dataset, figure.dataset_digest, interval)


def compare_descriptions(
    a: tuple[ModelVersion, Metadata], b: tuple[ModelVersion, Metadata]
) -> dict[str, Any]:
    """Labels, metadata and parameters in which two versions differ."""
    mine, theirs = a[1].model_dump(), b[1].model_dump()
    parameters = _differing(mine.pop("hyperparameters"), theirs.pop("hyperparameters"))
    return {
        "labels": {
            "same": set(a[0].labels) == set(b[0].labels),
            "only_a": sorted(set(a[0].labels) - set(b[0].labels)),
            "only_b": sorted(set(b[0].labels) - set(a[0].labels)),
        },
        "metadata": _differing(mine, theirs),
        "hyperparameters": parameters,
    }


def compare_files(
    a: Mapping[str, tuple[str, int]], b: Mapping[str, tuple[str, int]]
) -> list[dict[str, Any]]:
    """Every file of two bundles: whether it is the same, and how large it is in each."""
    return [
        {
            "name": name,
            "same": a.get(name) == b.get(name),
            "bytes_a": a[name][1] if name in a else None,
            "bytes_b": b[name][1] if name in b else None,
        }
        for name in sorted(a.keys() | b.keys())
    ]


def with_declared(
    version: ModelVersion, measured: Sequence[Measurement]
) -> tuple[Measurement, ...]:
    """A version's figures, and the metrics that its author declared and that were not measured."""
    metadata = metadata_of(version)
    known = {m.metric for m in measured}
    declared = (
        Measurement(metric, value, metadata.dataset_name, "", version.created_s)
        for metric, value in metadata.performance_metrics.items()
        if metric not in known and isinstance(value, int | float) and math.isfinite(value)
    )
    return (*measured, *declared)


def rank(
    versions: Sequence[tuple[ModelVersion, Sequence[Measurement]]],
    metric: str,
    *,
    higher_is_better: bool,
    dataset: str,
) -> list[tuple[ModelVersion, Measurement | None]]:
    """Versions by their newest figure, best first; those without it last, newest first."""
    sign = -1 if higher_is_better else 1
    found = [
        (version, latest([m for m in figures if dataset in ("", m.dataset)], metric))
        for version, figures in versions
    ]
    return sorted(
        found,
        key=lambda item: (
            item[1] is None,
            sign * (item[1].value if item[1] else 0),
            -item[0].version,
        ),
    )


def _newest(measurements: Sequence[Measurement]) -> dict[tuple[str, str, str], float]:
    """Newest figure by metric and dataset; those without a dataset digest prove nothing."""
    ordered = sorted(measurements, key=lambda m: m.measured_s)
    return {(m.metric, m.dataset, m.dataset_digest): m.value for m in ordered if m.dataset_digest}


def _interval(
    newest: Mapping[tuple[str, str, str], float], key: tuple[str, str, str]
) -> tuple[float, float] | None:
    """The Wilson interval of an accuracy over all texts; None for every other figure."""
    texts = newest.get((TEXTS, *key[1:]), 0)
    value = newest[key]
    if key[0] != ACCURACIES[0] or texts < 1 or not 0 <= value <= 1:
        return None
    return wilson_interval(round(value * texts), int(texts))


def _differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        key: {"a": a.get(key), "b": b.get(key)}
        for key in sorted(a.keys() | b.keys())
        if a.get(key) != b.get(key)
    }
