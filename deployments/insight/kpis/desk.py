"""What the routes ask of the figures. Every method blocks: use a thread."""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from configs.schema.app import AppConfig
from deployments.insight.errors import NotWatched
from deployments.insight.kpis.kpis import (
    about,
    business,
    cost,
    day_of,
    deviation,
    low_confidence,
    percentile,
    performance,
)
from deployments.insight.kpis.schemas import (
    BusinessKpis,
    Compliance,
    CostKpis,
    PerformanceKpis,
    QualityKpis,
    SloKpis,
)
from deployments.insight.kpis.slo import (
    BUDGET_S,
    TIMES,
    Goal,
    availability,
    objectives,
    served,
    within,
)
from deployments.insight.kpis.store import KpiStore, Window
from deployments.telemetry.figures import Figures

_MINUTE_S = 60.0
_DAY_S = 86_400.0


class KpiDesk:
    """Keeps nothing in memory: all state is in the store."""

    def __init__(
        self, config: AppConfig, store: KpiStore, clock: Callable[[], float] = time.time
    ) -> None:
        self._config = config.kpis
        self._cpus = _cpus(config)
        self._store = store
        self._clock = clock
        self._window_s = config.kpis.history_hours * 3_600

    def business(self, name: str) -> BusinessKpis:
        """What a registered model answered."""
        return business(self._window(name), name, self._config)

    def quality(self, name: str, **more: Any) -> QualityKpis:
        """How surely it was answered; ``more`` is what other parts know."""
        window = self._window(name)
        figures = window.figures
        count, rate = low_confidence(figures)
        parts = {"p5": 0.05, "p50": 0.5, "p95": 0.95, "p99": 0.99}
        found = {
            f"confidence_{name}": percentile(figures, "score", part) for name, part in parts.items()
        }
        return QualityKpis.model_validate(
            about(window)
            | found
            | {"model_name": name}
            | {
                "low_confidence_rate": rate,
                "low_confidence_count": count,
                "confidence_std": deviation(figures, "score"),
            }
            | more
        )

    def cost(self, name: str) -> CostKpis:
        """What it cost."""
        now_s = self._clock()
        window = self._window(name)
        starts = [now_s - now_s % _DAY_S - day * _DAY_S for day in range(8)]
        inside = [start for start in starts if start + _DAY_S > window.begins_s]
        lengths_s = [now_s - start for start in inside]
        sums = self._store.window(now_s, *lengths_s, name=name) if inside else []
        days: dict[str, Figures] = {}
        later: Figures = {}
        for start, upto_now in zip(inside, sums, strict=True):
            days[day_of(start)] = _less(upto_now.figures, later)
            later = upto_now.figures
        return cost(window, days, name, self._cpus, self._config)

    def performance(self, name: str, backend: str) -> PerformanceKpis:
        """How fast it was answered; by ``backend`` unless that is empty."""
        times = self._window_s, _MINUTE_S
        window, minute = self._store.window(self._clock(), *times, name=name)
        return performance(window, minute, name, backend, self._config)

    def check_name(self, name: str) -> None:
        """Refuses a model of which nothing is known.

        Raises:
            NotWatched: It has answered nothing in the window.
        """
        (window,) = self._store.window(self._clock(), self._window_s)
        if name not in window.names:
            hours = self._config.history_hours
            raise NotWatched(
                f"no model {name!r} has answered here in the last {hours:g} h",
                {"models": sorted(window.names)},
            )

    def slo(self, available: float, p95_ms: float, p99_ms: float) -> SloKpis:
        """Whether the service keeps its objectives, whichever models answered.

        Args:
            available: Percent of valid requests without a 5xx.
            p95_ms: Time within which 95 % are answered.
            p99_ms: Time within which 99 % are answered.
        """
        window, month, *times = self._store.window(
            self._clock(), self._window_s, BUDGET_S, *TIMES.values()
        )
        goals = [
            Goal("availability", available / 100, availability),
            Goal("served", available / 100, served),
            Goal("latency_p95", 0.95, within(p95_ms)),
            Goal("latency_p99", 0.99, within(p99_ms)),
        ]
        by_time = {name: each.figures for name, each in zip(TIMES, times, strict=True)}
        found = objectives(goals, window.figures, month.figures, by_time)
        good, valid = availability(window.figures)
        current = 100 * good / valid if valid else None
        shown = {
            "availability": Compliance(
                current=current,
                target=available,
                ok=None if current is None else current >= available,
            ),
            "latency_p95": _in_time(window.figures, 0.95, p95_ms),
            "latency_p99": _in_time(window.figures, 0.99, p99_ms),
        }
        kept = [each.ok for each in shown.values()]
        compliant = None if None in kept else all(kept)
        return SloKpis.model_validate(
            about(window) | shown | {"compliant": compliant, "objectives": found}
        )

    def add(self, source: str, number: int, name: str, figures: Figures) -> None:
        """See ``KpiStore.add``."""
        self._store.add(source, number, name, figures, self._clock())

    def upkeep(self) -> None:
        """Sums up and deletes what is old."""
        self._store.roll_up(self._clock(), self._window_s)

    def is_fresh(self) -> bool:
        """Whether a replica was heard in the last minute."""
        (minute,) = self._store.window(self._clock(), _MINUTE_S)
        return minute.replicas > 0

    def _window(self, name: str) -> Window:
        (window,) = self._store.window(self._clock(), self._window_s, name=name)
        return window


def _in_time(figures: Figures, part: float, target_ms: float) -> Compliance:
    seconds = percentile(figures, "latency", part)
    if seconds is None:
        return Compliance(current=None, target=target_ms, ok=None)
    return Compliance(current=seconds * 1_000, target=target_ms, ok=seconds * 1_000 <= target_ms)


def _less(all_: Figures, part: Figures) -> Figures:
    found: Figures = defaultdict(float)
    for name, value in all_.items():
        found[name] = value - part.get(name, 0.0)
    return dict(found)


def _cpus(config: AppConfig) -> float:
    """CPUs of all replicas that are always there."""
    sizes = [config.replicas.ingress, config.replicas.registry, config.replicas.insight]
    if config.topology == "split":
        sizes += [config.replicas.tokenizer]
    found = sum(size.num_replicas * size.num_cpus for size in sizes)
    return found + max(1, config.replicas.model.num_replicas) * config.replicas.model.num_cpus
