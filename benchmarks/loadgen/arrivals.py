"""When the requests of an open loop are due. Pure."""

import numpy as np


def poisson_arrivals(rate_per_s: float, seconds: float, seed: int) -> list[float]:
    """Times of arrival in [0, seconds), rising: independent users, as a Poisson process.

    Args:
        rate_per_s: Mean arrivals each second.
        seconds: Length of the schedule.
        seed: The same seed gives every server the same arrivals.
    """
    rng = np.random.default_rng(seed)
    # Given their number, the arrivals of a Poisson process are uniform over the interval.
    count = rng.poisson(rate_per_s * seconds)
    times: list[float] = np.sort(rng.uniform(0.0, seconds, count)).tolist()
    return times
