"""The policies alone: what they see, what they want."""

from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.autoscaling import (
    BUSY,
    FAST_REQUESTS,
    LAG,
    PARTITIONS,
    RATE,
    WAIT,
    GraphPolicy,
    LagPolicy,
    ModelPolicy,
    RequestPolicy,
    Utilisation,
)


@dataclass
class Context:
    current_num_replicas: int = 4
    total_num_requests: float = 0.0
    aggregated_metrics: dict[str, dict[str, float]] = field(default_factory=dict)


class Id(NamedTuple):
    name: str
    app: str = "sentigraph"


def reported(busy: float, wait_s: float = 0.0, replicas: int = 4) -> Context:
    names = [f"replica-{i}" for i in range(replicas)]
    metrics = {BUSY: dict.fromkeys(names, busy), WAIT: dict.fromkeys(names, wait_s)}
    return Context(replicas, 0.0, metrics)


@pytest.mark.parametrize(
    ("busy", "wait_s", "wanted"),
    [
        (0.7, 0.0, 4.0),  # as busy as wanted
        (1.0, 0.0, 4 / 0.7),  # more, by what is missing
        (0.35, 0.0, 2.0),  # half as busy: half as many
        (0.0, 0.0, 1.0),  # idle: never nothing
        (0.2, 0.075, 6.0),  # idle, and yet somebody waits half again too long
        (1.0, 9.0, 8.0),  # a long queue at most doubles
    ],
)
def test_the_model_follows_its_engines(busy: float, wait_s: float, wanted: float) -> None:
    policy = ModelPolicy(target_busy_ratio=0.7, target_wait_ms=50)
    assert policy(reported(busy, wait_s))[0] == pytest.approx(wanted)


@pytest.mark.parametrize("replicas", [0, 3])
def test_without_reports_requests_decide(replicas: int) -> None:
    policy = ModelPolicy(target_ongoing_requests=4)
    assert policy(Context(replicas, 21.0))[0] == 21 / 4
    assert policy(Context(replicas, 0.0))[0] == 1


def test_an_ingress_is_sized_by_the_requests_of_both_ways() -> None:
    fast = {FAST_REQUESTS: {"a": 40.0, "b": 15.0}}
    ctx = Context(2, total_num_requests=9.0, aggregated_metrics=fast)
    assert RequestPolicy(target_ongoing_requests=32)(ctx) == (2.0, {})
    assert GraphPolicy(target_ongoing_requests=32)({Id("Ingress"): ctx})[0] == {Id("Ingress"): 2.0}


@given(busy=st.floats(0, 1), wait_s=st.floats(0, 60), replicas=st.integers(1, 500))
def test_one_decision_is_bounded(busy: float, wait_s: float, replicas: int) -> None:
    wanted, state = ModelPolicy()(reported(busy, wait_s, replicas))
    assert 1 <= wanted <= 2 * replicas
    assert state == {}


@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_busier_never_wants_less(low: float, high: float) -> None:
    low, high = sorted((low, high))
    policy = ModelPolicy()
    assert policy(reported(low))[0] <= policy(reported(high))[0]


def test_the_tokenizer_follows_the_model_and_the_ingress_its_requests() -> None:
    model, tokenizer, ingress = Id("Model"), Id("Tokenizer"), Id("Ingress")
    contexts = {
        tokenizer: Context(1, 1.0),
        ingress: Context(2, 160.0),
        model: reported(1.0, 0.0, 14),
    }
    policy = GraphPolicy(tokenizers_per_model=0.25, target_ongoing_requests=32)
    wanted, state = policy(contexts)
    assert wanted == {model: pytest.approx(20.0), tokenizer: 5, ingress: 5.0}
    assert state == {}


def test_idle_models_do_not_take_the_tokenizers_away_that_could_feed_them() -> None:
    model, tokenizer = Id("Model"), Id("Tokenizer")
    contexts = {tokenizer: Context(1, 500.0), model: reported(0.1, 0.0, 16)}
    wanted, _ = GraphPolicy(tokenizers_per_model=0.25)(contexts)
    assert wanted[model] < 3
    assert wanted[tokenizer] == 4


def test_in_the_fused_topology_the_tokenizer_is_the_model() -> None:
    wanted, _ = GraphPolicy(target_busy_ratio=0.5)({Id("Ingress"): reported(1.0, 0.0, 3)})
    assert wanted == {Id("Ingress"): 6.0}


def test_utilisation_is_counted_between_reads() -> None:
    counted = Utilisation(clock_s=10.0)
    for _ in range(50):
        counted.add(texts=8, infer_s=0.02, cost_s=0.016)
    first = counted.read(queued=30, clock_s=12.0)
    assert first[BUSY] == pytest.approx(0.5)
    assert first[WAIT] == pytest.approx(30 * 0.002, rel=0.01)
    assert counted.read(queued=0, clock_s=13.0) == {BUSY: 0.0, WAIT: 0.0}


def behind(
    lag: float, rate: float, busy: float = 0.0, replicas: int = 2, partitions: int = 8
) -> Context:
    """Replicas that share what they report evenly."""
    totals = {LAG: lag, RATE: rate, PARTITIONS: partitions}
    metrics = {
        name: {f"replica-{i}": total / replicas for i in range(replicas)}
        for name, total in totals.items()
    }
    metrics[BUSY] = {f"replica-{i}": busy for i in range(replicas)}
    return Context(replicas, 0.0, metrics)


@pytest.mark.parametrize(
    ("lag", "rate", "busy", "wanted"),
    [
        (3_000, 100, 0.0, 2.0),  # worked off in the wanted 30 s: as many
        (4_500, 100, 0.0, 3.0),  # half again too long
        (90_000, 100, 0.0, 4.0),  # however long: at most twice as many at once
        (10, 0, 0.0, 4.0),  # nothing moves
        (0, 100, 0.35, 1.0),  # caught up and half as busy as wanted
        (0, 0, 0.0, 1.0),  # idle: never nothing
    ],
)
def test_streams_follow_the_time_to_catch_up(
    lag: float, rate: float, busy: float, wanted: float
) -> None:
    assert LagPolicy(target_drain_s=30)(behind(lag, rate, busy))[0] == pytest.approx(wanted)


def test_never_more_consumers_than_partitions_and_no_change_without_reports() -> None:
    assert LagPolicy()(behind(1e6, 1, replicas=6, partitions=8))[0] == 8
    assert LagPolicy()(Context(3, 0.0))[0] == 3
    assert LagPolicy()(Context(0, 0.0))[0] == 1


@given(lag=st.floats(0, 1e9), rate=st.floats(0, 1e6), replicas=st.integers(1, 100))
def test_one_decision_on_streams_is_bounded(lag: float, rate: float, replicas: int) -> None:
    wanted, state = LagPolicy()(behind(lag, rate, 0.5, replicas, 64))
    assert 1 <= wanted <= min(2 * replicas, 64)
    assert state == {}


def test_the_graph_sizes_streams_by_their_lag() -> None:
    stream = Id("Stream")
    assert GraphPolicy()({stream: behind(4_500, 100)})[0] == {stream: pytest.approx(3.0)}
