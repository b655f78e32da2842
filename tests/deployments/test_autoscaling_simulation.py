"""The simulator: known cases have known answers, and the same seed is the same day."""

import pytest

from benchmarks.autoscaling_simulation import World, by_requests, simulate
from deployments.autoscaling import ModelPolicy

HOURS = 1 / 24


def test_the_same_seed_is_the_same_day() -> None:
    one, two = (simulate(ModelPolicy(), World(), HOURS / 4, seed=3).figures() for _ in range(2))
    assert one == two


def test_enough_replicas_answer_at_once_and_cost_what_they_cost() -> None:
    world = World(min_replicas=16, max_replicas=16, per_card=4)
    figures = simulate(by_requests(1e9), world, HOURS / 2).figures()
    assert figures["refused_percent"] == 0
    assert figures["p99_ms"] < 200
    assert figures["gpu_hours"] == pytest.approx(4 * 0.5, rel=0.02)
    assert figures["scalings"] == 0


def test_too_few_replicas_refuse_what_they_cannot_answer_in_time() -> None:
    world = World(min_replicas=1, max_replicas=1, text_s=0.01, deadline_s=0.5)
    outcome = simulate(by_requests(1e9), world, HOURS / 4)
    # One replica answers a hundred texts a second of three hundred.
    share = outcome.answered / (outcome.answered + outcome.refused)
    assert share == pytest.approx(0.31, abs=0.05)
    assert max(outcome.waits_ms) < 1_000 * (0.5 + 64 * 0.01 + 0.7)


def test_growth_waits_for_the_delay_and_for_the_machine() -> None:
    world = World(min_replicas=1, max_replicas=2, per_card=1, text_s=0.004, upscale_delay_s=30)
    outcome = simulate(ModelPolicy(), world, HOURS / 4)
    grown = next(hours * 3_600 for hours, _, replicas, _ in outcome.timeline if replicas == 2)
    # Control, delay, machine and replica: 5 + 30 + 240 + 25 seconds, seen once a minute.
    assert 300 <= grown <= 361
