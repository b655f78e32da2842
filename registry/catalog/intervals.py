"""Intervals of shares, for whoever shows or compares figures."""

import math

Z_95 = 1.959963984540054


def wilson_interval(hits: int, trials: int) -> tuple[float, float]:
    """Returns the 95 % score interval of a share (Wilson, "Probable inference", JASA 1927).

    Raises:
        ValueError: No trials.
    """
    if trials < 1:
        raise ValueError("an interval needs at least one trial")
    share, square = hits / trials, Z_95**2
    centre = (share + square / (2 * trials)) / (1 + square / trials)
    half = (
        Z_95
        / (1 + square / trials)
        * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    )
    return max(0.0, centre - half), min(1.0, centre + half)
