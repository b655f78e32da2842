"""How large a change is: what reports show beside the levels. Nothing here alarms. Pure.

Each number stands beside what it is without any drift at the present sizes: with few texts a
population stability index of 0.1 is what chance makes (Yurdakul and Naranjo, Journal of Risk Model
Validation 14, 2020).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from deployments.inference.signals import Histograms, Signal, signals_of
from deployments.insight.drift import Level
from deployments.insight.reference import Reference

Row = npt.NDArray[np.float64]
_PSI_BINS = 10


@dataclass(frozen=True, slots=True)
class SignalReport:
    """One signal of the window beside the reference.

    Attributes:
        n: Texts in the window.
        n_reference: Texts in the reference.
        measure: The mean that moved most, as ``rank`` or a label.
        mean: It, in the window.
        mean_reference: It, in the reference.
        psi: Population stability index over at most ten bins.
        psi_expected: What it is on average without drift.
        ks_d: Largest difference of the cumulative shares; of kinds, half the sum of differences.
        p_holm: p-value of one look at this window, corrected for all signals by Holm.
        evidence: Of the bets, as a part of what alarms; never below 0.
        level: The level that holds.
        since: When it was reached, in Unix time.
        marked: Whether the index or the p-value is beyond its setting.
    """

    n: int
    n_reference: int
    measure: str
    mean: float
    mean_reference: float
    psi: float
    psi_expected: float
    ks_d: float
    p_holm: float
    evidence: float
    level: Level
    since: float | None
    marked: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From what on a row is marked."""

    psi: float
    p: float


def report(
    reference: Reference,
    window: Histograms,
    evidence: dict[str, float],
    levels: dict[str, tuple[Level, float]],
    thresholds: Thresholds,
) -> dict[str, SignalReport]:
    """All signals of which the window has texts.

    Args:
        reference: What traffic is compared with.
        window: Counts of the latest texts.
        evidence: Of each signal.
        levels: That hold, with their beginnings.
        thresholds: For marks.
    """
    found: dict[str, SignalReport] = {}
    for signal in signals_of(reference.labels):
        old = np.asarray(reference.counts[signal.name], np.float64)
        new = np.asarray(window[signal.name], np.float64)
        n0, n = float(old.sum()), float(new.sum())
        if not (n and n0):
            continue
        psi, bins = _psi(signal, old, new)
        measure, mean, usual = _moved(reference, signal, window)
        level, since_s = levels.get(signal.name, ("none", 0.0))
        found[signal.name] = SignalReport(
            n=int(n),
            n_reference=int(n0),
            measure=measure,
            mean=mean,
            mean_reference=usual,
            psi=psi,
            psi_expected=(bins - 1) * (1 / n + 1 / n0),
            ks_d=_distance(signal, old / n0, new / n),
            p_holm=_p_value(signal, old, new),
            evidence=evidence.get(signal.name, 0.0),
            level=level,
            since=since_s or None,
        )
    corrected = holm({name: row.p_holm for name, row in found.items()})
    return {
        name: replace(
            row,
            p_holm=corrected[name],
            marked=row.psi > thresholds.psi or corrected[name] < thresholds.p,
        )
        for name, row in found.items()
    }


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Holm's correction for looking at several (Scandinavian Journal of Statistics 6, 1979)."""
    corrected: dict[str, float] = {}
    least = 0.0
    for turn, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        least = max(least, min(1.0, (len(p_values) - turn) * p_values[name]))
        corrected[name] = least
    return corrected


def _moved(reference: Reference, signal: Signal, window: Histograms) -> tuple[str, float, float]:
    rows = [
        (measure.name, mean, measure.mean)
        for measure in reference.measures
        if measure.signal.name == signal.name and (mean := measure.mean_of(window)) is not None
    ]
    return max(rows, key=lambda row: abs(row[1] - row[2]))


def _psi(signal: Signal, old: Row, new: Row) -> tuple[float, int]:
    """The index, and over how many bins. Half a text is added to each bin, so none is empty."""
    if signal.edges:
        # Bins of about equal share in the reference; both ends stay open.
        share = np.cumsum(old) / old.sum()
        group = np.minimum((share - 1e-12) * _PSI_BINS, _PSI_BINS - 1).astype(int)
        _, group = np.unique(group, return_inverse=True)
    else:
        group = np.arange(len(old))
    bins = int(group.max()) + 1
    a = np.bincount(group, old, bins) + 0.5
    b = np.bincount(group, new, bins) + 0.5
    p, q = a / a.sum(), b / b.sum()
    return float(((q - p) * np.log(q / p)).sum()), bins


def _distance(signal: Signal, old: Row, new: Row) -> float:
    if signal.edges:
        return float(np.abs(np.cumsum(old) - np.cumsum(new)).max())
    return float(np.abs(old - new).sum() / 2)


def _p_value(signal: Signal, old: Row, new: Row) -> float:
    if signal.edges:
        n = float(old.sum() * new.sum() / (old.sum() + new.sum()))
        return _kolmogorov(math.sqrt(n) * _distance(signal, old / old.sum(), new / new.sum()))
    return _g_test(old, new)


def _kolmogorov(x: float) -> float:
    """Chance of a larger distance; a little too large for numbers in bins, so it errs on calm."""
    if x < 0.2:
        return 1.0
    terms = (2 * (-1.0) ** (k - 1) * math.exp(-2 * k * k * x * x) for k in range(1, 101))
    return min(1.0, max(0.0, sum(terms)))


def _g_test(old: Row, new: Row) -> float:
    """G-test of two rows of counts, of any sizes."""
    table = np.stack([old, new])[:, (old + new) > 0]
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(table > 0, table * np.log(table / expected), 0.0)
    return _chi_squared(2 * float(terms.sum()), table.shape[1] - 1)


def _chi_squared(x: float, freedom: int) -> float:
    """Chance of a larger value; by Wilson and Hilferty (1931) beyond one degree of freedom."""
    if freedom < 1 or x <= 0:
        return 1.0
    if freedom == 1:
        return math.erfc(math.sqrt(x / 2))
    spread = 2 / (9 * freedom)
    z = ((x / freedom) ** (1 / 3) - (1 - spread)) / math.sqrt(spread)
    return math.erfc(z / math.sqrt(2)) / 2
