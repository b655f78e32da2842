"""Rates in texts: the mean is kept, callers are apart, and all have one together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.inference.quota import TextQuota


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 500)), min_size=1, max_size=60))
def test_the_mean_is_kept_whatever_the_sizes(steps: list[tuple[float, int]]) -> None:
    now, passed = 0.0, 0
    quota = TextQuota(50, 0, lambda: now)
    for step_s, texts in steps:
        now += step_s
        wait_s = quota.take("a", texts)
        passed += texts * (not wait_s)
        # One more request than the rate allows may have passed, but not two.
        assert passed <= 50 * (1 + now) + 500
        if wait_s:
            now += wait_s + 1e-6
            assert quota.take("a", texts) == 0
            passed += texts


def test_callers_are_apart_and_all_have_one_rate() -> None:
    now = 0.0
    quota = TextQuota(10, 15, lambda: now)
    assert quota.take("a", 20) == 0
    assert quota.take("a", 1) == pytest.approx(1)
    # All together owe 5; what is refused is not counted.
    assert quota.take("b", 1) == pytest.approx(1 / 3)
    now = 0.4
    assert quota.take("b", 1) == 0
    assert TextQuota(0, 0).take("a", 10_000) == 0


def test_ten_thousand_callers_at_most_are_remembered() -> None:
    quota = TextQuota(1, 1e9)
    for number in range(12_000):
        quota.take(str(number), 1)
    assert len(quota._left) == 10_000
