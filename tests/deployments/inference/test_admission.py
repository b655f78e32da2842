"""Predicted waits: learnt costs, a pace that follows the truth, and caution."""

import numpy as np
import pytest

from deployments.inference.admission import Backlog, TextCost


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_cost_follows_the_length_of_texts() -> None:
    cost = TextCost()
    rng = np.random.default_rng(1)
    for _ in range(50):
        chars = rng.integers(5, 400, size=16).astype(np.float32)
        cost.learn(chars, (1e-3 + 2e-5 * chars).astype(np.float32))
    assert cost(0) == pytest.approx(1e-3, rel=0.05)
    assert cost(1_000) == pytest.approx(21e-3, rel=0.05)
    # Another model, ten times slower: forgotten within some dozen batches.
    for _ in range(80):
        chars = rng.integers(5, 400, size=16).astype(np.float32)
        cost.learn(chars, (1e-2 + 2e-4 * chars).astype(np.float32))
    assert cost(1_000) == pytest.approx(210e-3, rel=0.05)


def test_texts_of_one_length_teach_no_slope() -> None:
    cost = TextCost()
    cost.learn(np.full(8, 50, dtype=np.float32), np.full(8, 4e-3, dtype=np.float32))
    assert cost(50) == cost(5_000) == pytest.approx(4e-3)


def work(backlog: Backlog, clock: Clock, pace: float, texts: int, cost_s: float = 0.01) -> None:
    """A queue that never empties and is worked off at ``pace`` engine seconds per second."""
    for _ in range(texts):
        clock.now += cost_s / pace
        backlog.enter(cost_s, bulk=False)
        backlog.leave(cost_s, bulk=False, done=True)


def test_the_wait_is_what_is_ahead_at_the_present_pace() -> None:
    clock = Clock()
    backlog = Backlog(engines=2, clock=clock)
    assert backlog.wait_s(bulk=False) == 0
    for _ in range(100):
        backlog.enter(0.01, bulk=False)
    assert backlog.wait_s(bulk=False) == pytest.approx(0.5)
    # Two engines on one core's worth of time: half as fast as hoped for.
    work(backlog, clock, pace=1, texts=1_000)
    assert backlog.wait_s(bulk=False) == pytest.approx(1.0, rel=0.05)
    work(backlog, clock, pace=4, texts=4_000)
    assert backlog.wait_s(bulk=False) == pytest.approx(0.25, rel=0.05)


def test_interactive_does_not_wait_for_bulk() -> None:
    backlog = Backlog(engines=1, clock=Clock())
    for _ in range(100):
        backlog.enter(0.01, bulk=True)
    assert backlog.wait_s(bulk=False) == 0
    assert backlog.wait_s(bulk=True) == pytest.approx(1)


def test_light_load_does_not_look_like_a_slow_engine() -> None:
    clock = Clock()
    backlog = Backlog(engines=2, clock=clock)
    for _ in range(200):
        backlog.enter(0.005, bulk=False)
        clock.now += 0.2
        backlog.leave(0.005, bulk=False, done=True)
    backlog.enter(2.0, bulk=False)
    assert backlog.wait_s(bulk=False) == pytest.approx(1.0)


def test_withdrawn_texts_leave_no_trace() -> None:
    clock = Clock()
    backlog = Backlog(engines=1, clock=clock)
    for _ in range(50):
        backlog.enter(0.1, bulk=False)
    clock.now += 1
    for _ in range(50):
        backlog.leave(0.1, bulk=False, done=False)
    assert backlog.wait_s(bulk=True) == 0
    backlog.enter(1.0, bulk=False)
    assert backlog.wait_s(bulk=False) == pytest.approx(1)


def test_answers_are_promised_with_the_error_of_earlier_promises() -> None:
    backlog = Backlog(engines=1, clock=Clock())
    plain = backlog.answer_s(0.01, bulk=False)
    assert plain == pytest.approx(0.01)
    for actual_s in (0.03, 0.05) * 50:
        backlog.learn(0.01, actual_s)
    # 30 ms late on average, give or take 10: promised is that and twice the spread.
    assert backlog.answer_s(0.01, bulk=False) == pytest.approx(0.01 + 0.03 + 2 * 0.01, rel=0.15)
