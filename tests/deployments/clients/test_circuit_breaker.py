"""The breaker as a state machine, against a clock of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.schema.dependencies import BreakerConfig
from deployments.clients.circuit_breaker import Breaker, BreakerOpen


class Clocked:
    """A breaker that is told how each call ends."""

    def __init__(self, **settings: int) -> None:
        self.now = 0.0
        self.states: list[str] = []
        defaults = {"failure_threshold": 3, "recovery_ms": 1_000, "success_threshold": 2}
        config = BreakerConfig(**{**defaults, **settings})
        self.breaker = Breaker(config, self.states.append, lambda: self.now)

    def call(self, fails: bool) -> bool:
        """Whether the call was tried."""
        try:
            with self.breaker.guard():
                if fails:
                    raise OSError
        except BreakerOpen:
            return False
        except OSError:
            return True
        return True


def test_it_opens_after_failures_in_a_row_and_recovers_by_trials() -> None:
    it = Clocked()
    for fails in (True, True, False, True, True, True):
        assert it.call(fails)
    assert it.breaker.state == "open"
    it.now = 0.999
    assert not it.call(False)
    it.now = 1.0
    assert it.call(False)
    assert it.breaker.state == "half_open"
    assert it.call(False)
    assert it.states == ["closed", "open", "half_open", "closed"]


@pytest.mark.parametrize("trials", [1, 3])
def test_it_closes_after_as_many_trials_as_it_is_told(trials: int) -> None:
    it = Clocked(failure_threshold=1, success_threshold=trials)
    it.call(True)
    it.now = 1.0
    for _ in range(trials):
        assert it.breaker.state != "closed"
        assert it.call(False)
    assert it.breaker.state == "closed"


def test_a_failed_trial_opens_it_for_another_while() -> None:
    it = Clocked(failure_threshold=1)
    assert it.call(True)
    it.now = 1.0
    assert it.call(True)
    assert it.breaker.state == "open"
    it.now = 1.999
    assert not it.call(False)
    it.now = 2.0
    assert it.call(False)


def test_one_trial_at_a_time_and_a_cancelled_one_makes_room() -> None:
    it = Clocked(failure_threshold=1)
    it.call(True)
    it.now = 1.0
    with pytest.raises(KeyboardInterrupt), it.breaker.guard():
        assert not it.call(False)
        raise KeyboardInterrupt  # as a cancelled task, not an Exception
    assert it.breaker.state == "half_open"
    assert it.call(False)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 2)), max_size=200))
def test_it_never_calls_while_open_and_never_stays_open(steps: list[tuple[bool, float]]) -> None:
    it = Clocked()
    opened = 0.0
    for fails, passed_s in steps:
        it.now += passed_s
        before = it.breaker.state
        tried = it.call(fails)
        if before == "open":
            assert tried is (it.now - opened >= 1.0)
        else:
            assert tried
        if (before != "open" and it.breaker.state == "open") or (
            before == "open" and tried and fails
        ):
            opened = it.now
