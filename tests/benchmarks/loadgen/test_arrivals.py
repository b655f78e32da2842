"""Arrivals of the open loop."""

import numpy as np
import pytest

from benchmarks.loadgen.arrivals import poisson_arrivals


def test_arrivals_rise_within_the_time_and_repeat_with_their_seed() -> None:
    times = poisson_arrivals(200.0, 10.0, seed=3)
    assert times == sorted(times)
    assert times[0] >= 0.0
    assert times[-1] < 10.0
    assert times == poisson_arrivals(200.0, 10.0, seed=3)
    assert times != poisson_arrivals(200.0, 10.0, seed=4)


@pytest.mark.parametrize("rate_per_s", [5.0, 80.0])
def test_gaps_are_those_of_independent_users(rate_per_s: float) -> None:
    gaps = np.diff(poisson_arrivals(rate_per_s, 2_000.0, seed=1))
    # Exponential gaps: mean and deviation are both 1 / rate.
    assert gaps.mean() == pytest.approx(1 / rate_per_s, rel=0.05)
    assert gaps.std() == pytest.approx(1 / rate_per_s, rel=0.05)


def test_no_rate_no_arrivals() -> None:
    assert poisson_arrivals(0.0, 10.0, seed=1) == []
