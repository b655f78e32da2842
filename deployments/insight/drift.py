"""Whether traffic has left its reference: bets that add up over blocks of texts. Pure.

For each ``Measure`` and direction a bettor stakes capital on the mean of new traffic being beyond
a limit. While the mean is within the limit, the Shiryaev-Roberts sum ``R = (R + 1) * E`` grows by
at most 1 for each block on average (``E`` is the factor that the block won), so ``R`` minus the
number of blocks is a supermartingale. By Ville's inequality the chance that any of ``tests`` sums
ever reaches ``tests * blocks / alpha`` within ``blocks`` blocks is at most ``alpha``: that is the
false-alarm rate. Nothing is assumed of the texts but that their means, given what came before, are
within the limits; neither independence nor a fixed number of looks.

Two levels: ``changed`` is a shift beyond the reference's own uncertainty, ``drifted`` one beyond a
tolerance as well. The stakes are those of ``registry/releases/sequential_test.py``.

Ville 1939; Waudby-Smith and Ramdas, Journal of the Royal Statistical Society B 86 (2024); Shin,
Ramdas and Rinaldo, "E-detectors", arXiv 2203.03532.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from deployments.inference.signals import Histograms, signals_of
from deployments.insight.reference import Measure, Reference
from registry.releases.sequential_test import STAKES

Level = Literal["none", "changed", "drifted"]
LEVELS: tuple[Level, ...] = ("none", "changed", "drifted")
Evidence = npt.NDArray[np.float64]
# A smaller reference says too little for an alarm.
MIN_REFERENCE = 1_000
_DIRECTIONS = (1.0, -1.0)
_STAKES = np.asarray(STAKES)
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """The false-alarm rate that is promised.

    Attributes:
        alpha: Chance of any false alarm, over all tests of a level, within the horizon.
        horizon_days: The horizon.
        block_s: A block takes at least so long.
    """

    alpha: float = 0.05
    horizon_days: float = 28.0
    block_s: float = 10.0

    def threshold(self, tests: int) -> float:
        """Logarithm of the sum at which a test alarms."""
        blocks = self.horizon_days * _DAY_S / self.block_s
        return math.log(tests * blocks / self.alpha)


class Drift:
    """The sums of one model and one reference.

    Attributes:
        reference: What traffic is compared with.
        threshold: Logarithm of the sum that alarms.
        log_sums: ``[levels, tests, stakes] float64``, logarithms of the sums; the state.
    """

    def __init__(
        self, reference: Reference, rate: FalseAlarms, log_sums: bytes | None = None
    ) -> None:
        """Begins without evidence, or goes on from ``log_sums`` of an equal reference."""
        self.reference = reference
        self._tests = [
            (measure, direction) for measure in reference.measures for direction in _DIRECTIONS
        ]
        self.threshold = rate.threshold(len(self._tests))
        shape = (len(LEVELS) - 1, len(self._tests), len(_STAKES))
        self.log_sums: Evidence = np.full(shape, -np.inf)
        if log_sums is not None:
            self.log_sums = np.frombuffer(log_sums, np.float64).reshape(shape).copy()
        self._wins = [
            [_wins(measure, direction, tolerant=tolerant) for measure, direction in self._tests]
            for tolerant in (False, True)
        ]

    @property
    def tests(self) -> int:
        """One-sided tests of each level."""
        return len(self._tests)

    def add(self, block: Histograms) -> None:
        """Takes the counts of one block."""
        rows = {name: np.asarray(row, np.float64) for name, row in block.items()}
        won = np.asarray(
            [
                [
                    wins @ rows[measure.signal.name]
                    for wins, (measure, _) in zip(level, self._tests, strict=True)
                ]
                for level in self._wins
            ]
        )
        self.log_sums = np.logaddexp(self.log_sums, 0.0) + won

    def evidence(self) -> dict[tuple[Level, str], float]:
        """By level and signal: the strongest test, as a part of what alarms; 1 is an alarm.

        It is the ratio of logarithms, and never below 0.
        """
        with np.errstate(divide="ignore"):
            sums = np.logaddexp.reduce(self.log_sums, axis=2) - math.log(len(_STAKES))
        found: dict[tuple[Level, str], float] = {}
        for position, level in enumerate(LEVELS[1:]):
            for (measure, _), log_sum in zip(self._tests, sums[position], strict=True):
                key = (level, measure.signal.name)
                found[key] = max(found.get(key, 0.0), float(log_sum) / self.threshold)
        return found

    def levels(self) -> dict[str, Level]:
        """The level that the sums have reached now, by signal."""
        reached: dict[str, Level] = {s.name: "none" for s in signals_of(self.reference.labels)}
        for (level, signal), evidence in self.evidence().items():
            if level == "drifted" and self.reference.n < MIN_REFERENCE:
                continue
            if evidence >= 1.0:
                reached[signal] = level
        return reached

    def forget(self, signal: str) -> None:
        """Begins a signal anew."""
        for test, (measure, _) in enumerate(self._tests):
            if measure.signal.name == signal:
                self.log_sums[:, test] = -np.inf


def _wins(measure: Measure, direction: float, *, tolerant: bool) -> Evidence:
    """``[stakes, bins] float64``: logarithm of what a text in each bin multiplies a capital by.

    All zero where no mean can be beyond the limit.
    """
    low, high = measure.limits(tolerant=tolerant)
    limit = high if direction > 0 else low
    if not 0.0 < limit < 1.0:
        return np.zeros((len(_STAKES), len(measure.values)))
    # The largest stake that can lose everything, on a text at the far end.
    largest = 1.0 / limit if direction > 0 else 1.0 / (1.0 - limit)
    return np.log1p(direction * largest * np.outer(_STAKES, measure.values - limit))
