"""Figures → KPIs. Pure. Bins are summed over replicas first; percentiles are never averaged."""

import math
from collections import defaultdict
from datetime import UTC, datetime

from configs.schema.kpis import KpisConfig
from deployments.insight.kpis.schemas import (
    BackendLatency,
    BusinessKpis,
    CostKpis,
    PerformanceKpis,
)
from deployments.insight.kpis.store import Window
from deployments.telemetry.figures import Figures

_MONTH_S = 30 * 86_400.0
_HIGH, _LOW = 0.8, 0.6
# Lower ends of what is called so.
_BANDS = {"0.95-1": (0.95, 1.0), "0.8-0.95": (0.8, 0.95), "0.6-0.8": (0.6, 0.8), "0-0.6": (0, 0.6)}


def bounds_of(figures: Figures, name: str) -> list[float]:
    """Upper ends of a histogram's bins, the open one left out."""
    prefix = f"{name}|"
    found = (float(key[len(prefix) :]) for key in figures if key.startswith(prefix))
    return sorted(bound for bound in found if math.isfinite(bound))


def at_most(figures: Figures, name: str, bound: float) -> float:
    """Observations up to a bound of the histogram."""
    return sum(
        value
        for key, value in figures.items()
        if key.startswith(f"{name}|") and float(key[len(name) + 1 :]) == bound
    )


def percentile(figures: Figures, name: str, part: float) -> float | None:
    """By linear interpolation within a bin; None without observations."""
    count = figures.get(f"{name}_count", 0.0)
    if not count:
        return None
    wanted, low, below = part * count, 0.0, 0.0
    for bound in bounds_of(figures, name):
        upto = at_most(figures, name, bound)
        if upto >= wanted and upto > below:
            return low + (bound - low) * (wanted - below) / (upto - below)
        low, below = bound, upto
    return low


def mean(figures: Figures, name: str) -> float | None:
    """Of all observations."""
    count = figures.get(f"{name}_count", 0.0)
    return figures.get(f"{name}_sum", 0.0) / count if count else None


def deviation(figures: Figures, name: str) -> float | None:
    """Standard deviation from the middles of the bins."""
    count = figures.get(f"{name}_count", 0.0)
    if not count:
        return None
    low = below = first = second = 0.0
    for bound in bounds_of(figures, name):
        upto = at_most(figures, name, bound)
        middle, n = (low + bound) / 2, upto - below
        first, second = first + n * middle, second + n * middle * middle
        low, below = bound, upto
    return math.sqrt(max(0.0, second / count - (first / count) ** 2))


def about(window: Window) -> dict[str, float | int | bool]:
    """What every answer says of its window."""
    return {
        "window_s": window.seconds,
        "begins": window.begins_s,
        "ends": window.ends_s,
        "replicas_heard": window.replicas,
        "complete": window.replicas == window.expected,
    }


def texts(figures: Figures) -> tuple[dict[str, int], int]:
    """Texts by label, and those that a cache answered."""
    by_label: dict[str, int] = defaultdict(int)
    cached = 0
    for key, value in figures.items():
        if key.startswith("texts|"):
            label, _, from_cache = key[len("texts|") :].rpartition("|")
            by_label[label] += round(value)
            cached += round(value) if from_cache == "true" else 0
    return dict(by_label), cached


def business(window: Window, name: str, config: KpisConfig) -> BusinessKpis:
    """What was answered."""
    figures = window.figures
    by_label, _ = texts(figures)
    total = sum(by_label.values())
    scored = figures.get("score_count", 0.0)
    bands = {
        name: round(
            at_most(figures, "score", high) - (at_most(figures, "score", low) if low else 0)
        )
        for name, (low, high) in _BANDS.items()
    }
    return BusinessKpis(
        **about(window),
        model_name=name,
        total_predictions=total,
        positive_ratio=_ratio(by_label, "pos"),
        negative_ratio=_ratio(by_label, "neg"),
        avg_confidence=mean(figures, "score"),
        high_quality_ratio=(scored - at_most(figures, "score", _HIGH)) / scored if scored else None,
        predictions_by_label=by_label if config.detailed else {},
        predictions_by_confidence=bands if config.detailed else {},
    )


def low_confidence(figures: Figures) -> tuple[int, float | None]:
    """Texts with a score below 0.6, and their share."""
    scored, low = figures.get("score_count", 0.0), at_most(figures, "score", _LOW)
    return round(low), low / scored if scored else None


def cost(
    window: Window, days: dict[str, Figures], name: str, cpus: float, config: KpisConfig
) -> CostKpis:
    """What it cost.

    Args:
        window: Sums of the window.
        days: Sums of each day in it.
        name: The registered model.
        cpus: CPUs of all replicas at the start.
        config: Prices.
    """
    by_label, cached = texts(window.figures)
    total = sum(by_label.values())
    if config.cpu_hour:
        spent = window.seconds / 3_600 * cpus * config.cpu_hour
    else:
        spent = (total - cached) * config.cost_per_1k / 1_000
    shares = {day: sum(texts(figures)[0].values()) for day, figures in days.items()}
    return CostKpis(
        **about(window),
        model_name=name,
        total_cost_usd=spent,
        cost_per_prediction_usd=spent / total if total else None,
        monthly_estimate_usd=spent * _MONTH_S / window.seconds if window.seconds else 0.0,
        cached_predictions=cached,
        cache_savings_percent=100 * cached / total if total else None,
        cost_by_day={day: spent * n / total for day, n in shares.items()} if total else {},
        basis="replicas" if config.cpu_hour else "flat",
    )


def performance(
    window: Window, minute: Window, name: str, backend: str, config: KpisConfig
) -> PerformanceKpis:
    """How fast it was answered."""
    figures = window.figures
    average, p95 = _ms(mean(figures, "latency")), _ms(percentile(figures, "latency", 0.95))
    of_engine = BackendLatency(
        avg_ms=average, p95_ms=p95, count=round(figures.get("latency_count", 0.0))
    )
    return PerformanceKpis(
        **about(window),
        model_name=name,
        latency_avg_ms=average,
        latency_p50_ms=_ms(percentile(figures, "latency", 0.5)),
        latency_p95_ms=p95,
        latency_p99_ms=_ms(percentile(figures, "latency", 0.99)),
        latency_by_backend={backend: of_engine} if config.detailed and backend else {},
        throughput_rps=sum(texts(minute.figures)[0].values()) / 60,
    )


def day_of(at_s: float) -> str:
    """A date in UTC."""
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()


def _ratio(by_label: dict[str, int], start: str) -> float | None:
    total = sum(by_label.values())
    mine = [n for label, n in by_label.items() if label.casefold().startswith(start)]
    return sum(mine) / total if mine and total else None


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1_000
