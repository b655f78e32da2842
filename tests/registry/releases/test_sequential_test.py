"""The bets: what they win on average, how often they win wrongly, and what does not matter."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.releases.sequential_test import PairedCount, evidence_beyond, evidence_within

limits = st.floats(0.005, 0.6)
counts = st.integers(0, 50_000)


def mean_capital(n: int, shares: tuple[float, float, float], bet: str, limit: float) -> float:
    """Exact expectation over all outcomes of ``n`` observations."""
    total = 0.0
    for worse, better in itertools.product(range(n + 1), repeat=2):
        same = n - worse - better
        if same < 0 or (better and not shares[2]):
            continue
        ways = math.factorial(n) / math.prod(map(math.factorial, (worse, same, better)))
        chance = ways * shares[0] ** worse * shares[1] ** same * shares[2] ** better
        tally = PairedCount(worse, same, better)
        won = (
            evidence_within(tally, limit)
            if bet == "within"
            else evidence_beyond(tally, limit, paired=bet == "paired")
        )
        total += chance * math.exp(won)
    return total


@given(limit=limits, n=st.integers(1, 12))
def test_on_the_limit_no_bet_wins_on_average(limit: float, n: int) -> None:
    assert mean_capital(n, (limit, 1 - limit, 0.0), "one-sided", limit) == pytest.approx(1)
    assert mean_capital(n, (limit, 1 - limit, 0.0), "within", limit) == pytest.approx(1)
    half = (1 - limit) / 2
    paired = (half + limit, 0.0, half)
    assert mean_capital(n, paired, "paired", limit) == pytest.approx(1)


@given(limit=limits, share=st.floats(0, 1), n=st.integers(1, 12))
def test_the_wrong_bet_loses_on_average(limit: float, share: float, n: int) -> None:
    shares = (share, 1 - share, 0.0)
    bet = "one-sided" if share <= limit else "within"
    assert mean_capital(n, shares, bet, limit) <= 1 + 1e-9


@given(a=st.tuples(counts, counts, counts), b=st.tuples(counts, counts, counts), limit=limits)
def test_replicas_may_be_heard_in_any_order(
    a: tuple[int, int, int], b: tuple[int, int, int], limit: float
) -> None:
    one, other = PairedCount(*a) + PairedCount(*b), PairedCount(*b) + PairedCount(*a)
    assert one == other
    assert evidence_beyond(one, limit, paired=True) == evidence_beyond(other, limit, paired=True)
    assert not math.isnan(evidence_within(one, limit))


@given(worse=counts, same=counts, limit=limits)
def test_more_failures_never_speak_for_the_candidate(worse: int, same: int, limit: float) -> None:
    fewer, more = PairedCount(worse, same), PairedCount(worse + 1, same)
    for paired in (True, False):
        assert evidence_beyond(more, limit, paired=paired) >= evidence_beyond(
            fewer, limit, paired=paired
        )
    assert evidence_within(more, limit) <= evidence_within(fewer, limit)


def test_looking_after_every_observation_raises_no_more_false_alarms_than_stated() -> None:
    chance, rate = np.random.default_rng(1), 0.05
    alarms = 0
    for hits in chance.random((300, 2_000)) < 0.1:
        worse = np.cumsum(hits)
        alarms += any(
            evidence_beyond(PairedCount(int(k), n - int(k)), 0.1, paired=False)
            >= math.log(1 / rate)
            for n, k in enumerate(worse.tolist()[::5], 1)
            for n, k in [(5 * n - 4, k)]
        )
    assert 0 < alarms <= 300 * rate


@pytest.mark.parametrize(("share", "texts"), [(1.0, 8), (0.5, 40), (0.2, 300)])
def test_what_is_clearly_beyond_is_seen_soon(share: float, texts: int) -> None:
    worse = round(share * texts)
    assert evidence_beyond(PairedCount(worse, texts - worse), 0.1, paired=False) > math.log(260)
