"""How often answers are right, with a range that holds however often it is read. Pure.

Right answers among ``n`` judged ones, drawn at random: all accuracies ``p`` are in the range for
which the mixture bet ``B(k + 1/2, n - k + 1/2) / B(1/2, 1/2)`` has not won ``1 / alpha`` against
``p``. By Ville's inequality the range ever misses the truth with a chance of at most ``alpha``.

Robbins, Annals of Mathematical Statistics 41 (1970); Howard, Ramdas, McAuliffe and Sekhon, Annals
of Statistics 49 (2021); Kaufmann and Koolen, JMLR 22 (2021) for the mixture.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from deployments.insight.drift import FalseAlarms
from registry.releases.sequential_test import STAKES

# A fall that is to be told.
TOLERANCE = 0.02
_STEPS = 60
_HORIZON_DAYS = 28.0
_ALARMS = 0.05


@dataclass(frozen=True, slots=True)
class Range:
    """An estimate and the range that holds at any time; without judged answers all of 0 to 1."""

    value: float | None
    low: float
    high: float
    n: int


def confidence_sequence(right: int, n: int, alpha: float) -> Range:
    """The range of the accuracy.

    Args:
        right: Judged answers that were right.
        n: Judged answers, drawn with equal chance.
        alpha: Chance that the range ever misses the truth.
    """
    if n == 0:
        return Range(None, 0.0, 1.0, 0)
    value = right / n
    won = _log_beta(right + 0.5, n - right + 0.5) - _log_beta(0.5, 0.5)
    allowed = math.log(1 / alpha)

    def outside(p: float) -> bool:
        if not 0.0 < p < 1.0:
            return not (right == n if p >= 1.0 else right == 0)
        return won - right * math.log(p) - (n - right) * math.log1p(-p) >= allowed

    low = 0.0 if not outside(0.0) else _edge(outside, 0.0, value)
    high = 1.0 if not outside(1.0) else _edge(outside, 1.0, value)
    return Range(value, low, high, n)


def combined(strata: Mapping[float, tuple[int, int]], alpha: float) -> Range:
    """The accuracy over answers that were drawn with different chances.

    Args:
        strata: By chance: right and judged answers. Each stands for its number over its chance
            answers.
        alpha: Shared by the strata.
    """
    known = {chance: counts for chance, counts in strata.items() if counts[1]}
    if not known:
        return Range(None, 0.0, 1.0, 0)
    weights = {chance: n / chance for chance, (_, n) in known.items()}
    total = sum(weights.values())
    value = low = high = 0.0
    for chance, (right, n) in known.items():
        part = confidence_sequence(right, n, alpha / len(known))
        share = weights[chance] / total
        value += share * right / n
        low += share * part.low
        high += share * part.high
    return Range(value, low, high, sum(n for _, n in known.values()))


def lost(days: Iterable[tuple[int, int]], reference: float) -> float:
    """Evidence that the accuracy is below ``reference`` by over two points; 1 is an alarm.

    Bets on blocks of a day of judgement, as ``drift.py`` makes them: at most 5 of 100 systems
    that are within the two points are ever alarmed in 28 days.

    Args:
        days: Right and judged answers of each day, the first day first.
        reference: The accuracy that the model should have.
    """
    limit = reference - TOLERANCE
    if not 0.0 < limit < 1.0:
        return 0.0
    stakes = [stake / (1.0 - limit) for stake in STAKES]
    sums = [-math.inf] * len(stakes)
    for right, n in days:
        for index, stake in enumerate(stakes):
            # A right answer loses 1 - limit of the stake, a wrong one wins limit.
            won = right * math.log1p(-stake * (1.0 - limit)) + (n - right) * math.log1p(
                stake * limit
            )
            sums[index] = _log_add(sums[index], 0.0) + won
    if not any(math.isfinite(each) for each in sums):
        return 0.0
    most = max(sums)
    log_sum = most + math.log(sum(math.exp(each - most) for each in sums) / len(sums))
    threshold = FalseAlarms(_ALARMS, _HORIZON_DAYS, 86_400.0).threshold(1)
    return max(0.0, log_sum / threshold)


def _edge(outside: Callable[[float], bool], far: float, near: float) -> float:
    for _ in range(_STEPS):
        middle = (far + near) / 2
        far, near = (middle, near) if outside(middle) else (far, middle)
    return far


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _log_add(a: float, b: float) -> float:
    most = max(a, b)
    return most + math.log(math.exp(a - most) + math.exp(b - most))
