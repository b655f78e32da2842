"""What traffic is compared with, and what of it is tested: values between 0 and 1. Pure.

Histograms are compared by means of bounded values, which ``drift.py`` bets on:

- ``rank`` of an ordered signal: the share of the reference below a bin plus half of the share in
  it. Its reference mean is exactly 1/2, and its shift is how much likelier than not a new text
  exceeds an old one.
- ``spread``: the distance of the rank from the middle, times two; sees wider or narrower tails.
- a share of each kind of a signal whose bins are kinds.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from deployments.inference.signals import Histograms, Signal, signals_of

Values = npt.NDArray[np.float64]
# Standard errors of the reference itself that are allowed for.
_REFERENCE_Z = 3.0


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Shifts of a mean that are no drift.

    Attributes:
        rank: Of ranks and spreads.
        share: Of shares.
    """

    rank: float = 0.02
    share: float = 0.03


@dataclass(frozen=True, slots=True)
class Measure:
    """One mean that is tested in both directions.

    Attributes:
        signal: What it is made from.
        name: ``rank``, ``spread``, or the kind.
        values: ``[bins] float64`` in [0, 1], the value of a text in each bin.
        mean: In the reference.
        lowest: The reference's own uncertainty: the mean of all traffic may be as low,
        highest: or as high.
        tolerance: Shift that is no drift.
    """

    signal: Signal
    name: str
    values: Values
    mean: float
    lowest: float
    highest: float
    tolerance: float

    def limits(self, *, tolerant: bool) -> tuple[float, float]:
        """Lowest and highest mean that is not betted against."""
        if not tolerant:
            return self.lowest, self.highest
        return (
            min(self.lowest, self.mean - self.tolerance),
            max(self.highest, self.mean + self.tolerance),
        )

    def mean_of(self, counts: Histograms) -> float | None:
        """The mean of other traffic; None without any."""
        row = np.asarray(counts[self.signal.name], np.float64)
        total = row.sum()
        return float(row @ self.values / total) if total else None


@dataclass(frozen=True)
class Reference:
    """Histograms of traffic that is taken as usual.

    Attributes:
        labels: Of the model.
        counts: The histograms.
        tolerances: Shifts that are no drift.
    """

    labels: tuple[str, ...]
    counts: Histograms
    tolerances: Tolerances = field(default_factory=Tolerances)

    @property
    def n(self) -> int:
        """Distinct texts."""
        return sum(self.counts["label"])

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """What is tested; the same number for every reference of a model."""
        return tuple(self._measures())

    def _measures(self) -> Iterator[Measure]:
        for signal in signals_of(self.labels):
            row = np.asarray(self.counts[signal.name], np.float64)
            n = max(1.0, float(row.sum()))
            if signal.edges:
                rank = (np.cumsum(row) - row / 2) / n
                for name, values in (("rank", rank), ("spread", 2 * np.abs(rank - 0.5))):
                    mean = float(row @ values / n)
                    spread = math.sqrt(max(0.0, float(row @ values**2 / n) - mean**2))
                    error = _REFERENCE_Z * spread / math.sqrt(n)
                    rank_tolerance = self.tolerances.rank
                    low, high = mean - error, mean + error
                    yield Measure(signal, name, values, mean, low, high, rank_tolerance)
                continue
            # Of two kinds one share says it all.
            kinds = signal.kinds if len(signal.kinds) != 2 else signal.kinds[1:]
            for kind in kinds:
                values = np.asarray([float(kind == other) for other in signal.kinds])
                share = float(row @ values / n)
                low, high = wilson(share, n)
                yield Measure(signal, kind, values, share, low, high, self.tolerances.share)


def wilson(share: float, n: float, z: float = _REFERENCE_Z) -> tuple[float, float]:
    """Wilson's interval of a share: right also where the share is 0 or n is small.

    Wilson, Journal of the American Statistical Association 22 (1927).
    """
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))
