"""Sequential tests by betting: the error rates hold however often the counts are read. Pure.

An observation says that the candidate did worse (+1), the same (0) or better (-1) than the
champion. A bettor stakes capital on it being worse on average than ``limit``. Against a
candidate within the limit that is a losing game: the capital is a non-negative supermartingale,
so the chance that it *ever* reaches ``1 / a`` is at most ``a`` (Ville 1939), however often and
for whatever reason it is read. No independence is assumed, only that each observation's
mean, given those before, is within the limit. The capital of a fixed stake depends on counts
alone, so the order in which replicas report does not matter. The best stake is not known
beforehand: the capital is spread over a grid of them.

Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of
the Royal Statistical Society B 86 (2024); the grid is their "diversified Kelly bettor".
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

# Shares of the largest stake that cannot ruin the bettor; each gets the same part of the capital.
STAKES = (0.95, 0.75, 0.55, 0.4, 0.28, 0.19, 0.12, 0.075, 0.045, 0.025, 0.012, 0.005)


@dataclass(frozen=True, slots=True)
class PairedCount:
    """How often the candidate did worse, the same and better than the champion."""

    worse: int = 0
    same: int = 0
    better: int = 0

    def __add__(self, other: "PairedCount") -> "PairedCount":
        return PairedCount(
            self.worse + other.worse, self.same + other.same, self.better + other.better
        )

    @property
    def total(self) -> int:
        """Observations."""
        return self.worse + self.same + self.better

    @property
    def mean(self) -> float:
        """Their mean, from -1 to 1; 0 without any."""
        return (self.worse - self.better) / max(1, self.total)


def evidence_beyond(counts: PairedCount, limit: float, *, paired: bool) -> float:
    """Logarithm of the capital that was won by betting that the mean is above ``limit``.

    Args:
        counts: The counts so far.
        limit: In (0, 1).
        paired: Whether the candidate can do better at all; if not, stakes may be higher.

    Returns:
        At most 0 on average, as its exponential, while the mean is ``limit`` or less.
    """
    lowest = -1.0 if paired or counts.better else 0.0
    return _mixture(_capital(counts, limit, 1.0 / (limit - lowest)))


def evidence_within(counts: PairedCount, limit: float) -> float:
    """The same for the opposite bet, that the mean is below ``limit``."""
    return _mixture(_capital(counts, limit, -1.0 / (1.0 - limit)))


def _capital(counts: PairedCount, limit: float, largest: float) -> Iterator[float]:
    values = ((counts.worse, 1.0), (counts.same, 0.0), (counts.better, -1.0))
    for part in STAKES:
        stake = part * largest
        yield sum(n * math.log1p(stake * (value - limit)) for n, value in values if n)


def _mixture(logs: Iterator[float]) -> float:
    found = list(logs)
    most = max(found)
    return most + math.log(sum(math.exp(log - most) for log in found) / len(found))
