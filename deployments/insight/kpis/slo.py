"""Objectives: good among valid requests, budgets, burn rates. Pure.

Valid are requests that were ours to answer: all but 4xx, and 429. Burn is the share of bad ones
over the share that the target allows; two times together alarm, a long one for weight and a short
one for now (Google SRE Workbook, chapter 5).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deployments.insight.kpis.kpis import at_most, bounds_of
from deployments.insight.kpis.schemas import Budget, Objective
from deployments.telemetry.figures import Figures

TIMES = {
    "5m": 300.0,
    "30m": 1_800.0,
    "1h": 3_600.0,
    "2h": 7_200.0,
    "6h": 21_600.0,
    "1d": 86_400.0,
    "3d": 259_200.0,
}
BUDGET_S = 28 * 86_400.0
# Kind, burn, long and short time.
_RULES = (("page", 14.4, "1h", "5m"), ("page", 6.0, "6h", "30m"), ("ticket", 1.0, "3d", "6h"))
# Fewer bad requests than these prove nothing.
_MIN_BAD = 20

Count = Callable[[Figures], tuple[float, float]]
"""Good and valid requests."""


@dataclass(frozen=True, slots=True)
class Goal:
    """One objective."""

    name: str
    target: float
    count: Count


def availability(figures: Figures) -> tuple[float, float]:
    """Answered without a 5xx, among all that were ours to answer."""
    valid = sum(figures.get(f"answers|{end}", 0.0) for end in ("good", "5xx", "429"))
    return valid - figures.get("answers|5xx", 0.0), valid


def served(figures: Figures) -> tuple[float, float]:
    """Answered at all: what was refused to shed load is bad here."""
    good = figures.get("answers|good", 0.0)
    return good, sum(figures.get(f"answers|{end}", 0.0) for end in ("good", "5xx", "429"))


def within(threshold_ms: float) -> Count:
    """Answered in time, by the nearest bound of the histogram that is not below the threshold."""

    def count(figures: Figures) -> tuple[float, float]:
        bounds = [bound for bound in bounds_of(figures, "latency") if bound * 1_000 >= threshold_ms]
        valid = figures.get("latency_count", 0.0)
        return (at_most(figures, "latency", min(bounds)) if bounds else 0.0), valid

    return count


def objective(
    goal: Goal, window: Figures, month: Figures, times: Mapping[str, Figures]
) -> Objective:
    """An objective's state.

    Args:
        goal: What is asked.
        window: Figures of the window that is shown.
        month: Figures of the budget's time.
        times: Figures by the names of ``TIMES``.
    """
    good, valid = goal.count(window)
    month_good, month_valid = goal.count(month)
    allowed = month_valid * (1 - goal.target)
    spent = month_valid - month_good
    burns = {name: _burn(goal, figures) for name, figures in times.items()}
    alerts = []
    for kind, limit, long, short in _RULES:
        long_burn, short_burn = burns[long], burns[short]
        if long_burn is None or short_burn is None or min(long_burn, short_burn) < limit:
            continue
        long_good, long_valid = goal.count(times[long])
        enough = long_valid - long_good >= _MIN_BAD
        alerts.append(f"{kind if enough else 'insufficient'} {long} {short}")
    return Objective(
        name=goal.name,
        target=goal.target,
        sli=good / valid if valid else None,
        good=round(good),
        valid=round(valid),
        budget=Budget(
            allowed=allowed,
            spent=round(spent),
            left_share=1 - spent / allowed if allowed else None,
        ),
        burn=burns,
        alerts=alerts,
    )


def objectives(
    goals: Sequence[Goal], window: Figures, month: Figures, times: Mapping[str, Figures]
) -> list[Objective]:
    """All of them."""
    return [objective(goal, window, month, times) for goal in goals]


def _burn(goal: Goal, figures: Figures) -> float | None:
    good, valid = goal.count(figures)
    if not valid or goal.target >= 1:
        return None
    return (1 - good / valid) / (1 - goal.target)
