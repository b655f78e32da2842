import math

import numpy as np
import pytest
from planted_traffic import LABELS, Traffic, draw

from deployments.inference.signals import Histograms
from deployments.insight.reference import Reference, wilson
from deployments.insight.sizes import SignalReport, Thresholds, _chi_squared, holm, report

THRESHOLDS = Thresholds(psi=0.1, p=0.05)


def rows(
    old: Histograms, new: Histograms, thresholds: Thresholds = THRESHOLDS
) -> dict[str, SignalReport]:
    return report(Reference(LABELS, old), new, {}, {}, thresholds)


def test_without_drift_the_index_is_what_chance_makes() -> None:
    rng = np.random.default_rng(1)
    found = [
        rows(draw(rng, 5_000, Traffic()), draw(rng, 1_000, Traffic()))["length"] for _ in range(40)
    ]
    mean = np.mean([row.psi for row in found])
    assert mean == pytest.approx(found[0].psi_expected, rel=0.3)
    assert sum(row.p_holm < 0.05 for row in found) <= 4


def test_windows_of_any_size_are_compared() -> None:
    rng = np.random.default_rng(1)
    found = rows(draw(rng, 5_000, Traffic()), draw(rng, 117, Traffic(positive=1.0)))["label"]
    assert found.p_holm < 1e-9
    assert found.marked
    assert (found.measure, found.mean) == ("positive", 1.0)


@pytest.mark.parametrize(
    ("thresholds", "marked"), [(THRESHOLDS, True), (Thresholds(psi=10, p=1e-300), False)]
)
def test_thresholds_mark_rows(thresholds: Thresholds, marked: bool) -> None:
    rng = np.random.default_rng(1)
    old, new = draw(rng, 5_000, Traffic()), draw(rng, 1_000, Traffic(length=40))
    assert rows(old, new, thresholds)["length"].marked is marked


def test_each_threshold_marks_alone() -> None:
    rng = np.random.default_rng(1)
    old, new = draw(rng, 5_000, Traffic()), draw(rng, 1_000, Traffic(length=40))
    assert rows(old, new, Thresholds(psi=10, p=0.05))["length"].marked
    assert rows(old, new, Thresholds(psi=0.1, p=1e-300))["length"].marked


def test_holm_never_falls_and_never_exceeds_one() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize(
    ("x", "freedom", "p"),
    # From a table of the distribution.
    [(3.841, 1, 0.05), (9.488, 4, 0.05), (16.812, 6, 0.01), (0.0, 3, 1.0), (5.0, 0, 1.0)],
)
def test_chi_squared_is_that_of_the_table(x: float, freedom: int, p: float) -> None:
    assert _chi_squared(x, freedom) == pytest.approx(p, rel=0.02)


def test_wilson_holds_the_share_and_is_open_where_nothing_was_seen() -> None:
    low, high = wilson(0.0, 1_000)
    assert low == 0.0
    assert high == pytest.approx(9 / 1_009)
    low, high = wilson(0.5, 10_000)
    assert (high - low) / 2 == pytest.approx(3 * math.sqrt(0.25 / 10_000), rel=0.01)
