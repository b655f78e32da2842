"""The simulator: known cases have known answers, and the same seed is the same day."""

from dataclasses import replace

import pytest

from benchmarks.scaling.autoscaling_simulation import Cluster, by_requests, each, simulate, together
from benchmarks.scaling.autoscaling_stage import Delays
from deployments.autoscaling import GraphPolicy, ModelPolicy

HOURS = 1 / 24
OURS = each(ModelPolicy(), by_requests(32))
NOBODY = by_requests(1e9)


def world(**model: float) -> Cluster:
    """The usual one with another model."""
    return replace(Cluster(), model=replace(Cluster().model, **model))


def test_the_same_seed_is_the_same_day() -> None:
    one, two = (simulate(OURS, Cluster(), HOURS / 12, seed=3).figures() for _ in range(2))
    assert one == two


def test_enough_replicas_answer_at_once_and_cost_what_they_cost() -> None:
    figures = simulate(NOBODY, world(min_replicas=16, max_replicas=16), HOURS / 4).figures()
    assert figures["refused_percent"] == 0
    assert figures["p99_ms"] < 200
    assert figures["gpu_hours"] == pytest.approx(4 * 0.25, rel=0.02)
    assert figures["tokenizer_hours"] == pytest.approx(0.25, abs=0.051)  # rounded
    assert figures["scalings"] == 0


def test_too_few_replicas_refuse_what_they_cannot_answer_in_time() -> None:
    slow = replace(world(min_replicas=1, max_replicas=1, text_s=0.01), deadline_s=0.5)
    outcome = simulate(NOBODY, slow, HOURS / 4)
    # One replica answers a hundred texts a second of three hundred.
    share = outcome.answered / (outcome.answered + outcome.refused)
    assert share == pytest.approx(0.31, abs=0.05)
    assert max(outcome.waits_ms) < 1_000 * (0.5 + 64 * 0.01 + 0.7)


def test_growth_waits_for_the_delay_and_for_the_machine() -> None:
    one = world(min_replicas=1, max_replicas=2, per_machine=1, text_s=0.004)
    outcome = simulate(OURS, one, HOURS / 4)
    grown = next(hours * 3_600 for hours, _, replicas, _ in outcome.timeline if replicas == 2)
    # Control, delay, machine and replica: 5 + 30 + 240 + 25 seconds, seen once a minute.
    assert 300 <= grown <= 361


def test_the_tokenizer_follows_the_model_and_a_slow_one_is_what_refuses() -> None:
    many = world(min_replicas=8, max_replicas=8)
    slow = replace(
        many,
        tokenizer=replace(many.tokenizer, text_s=0.01, machine_start_s=0.0),
        delays=Delays(upscale_s=0.0),
    )
    alone = simulate(NOBODY, slow, HOURS / 12)
    followed = simulate(together(GraphPolicy(tokenizers_per_model=0.5)), slow, HOURS / 12)
    # Eight models want four tokenizers, of which one answers a third of what comes.
    assert alone.tokenizer_hours == pytest.approx(1 / 12, rel=0.05)
    assert followed.tokenizer_hours == pytest.approx(4 / 12, rel=0.15)
    assert alone.refused > 10 * followed.refused > 0
