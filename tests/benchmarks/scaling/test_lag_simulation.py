"""The lag policy through an hour with a burst of six times what one consumer can do."""

import math

from benchmarks.scaling.lag_simulation import Topic, simulate
from deployments.autoscaling import LagPolicy

WORLD = Topic()


def test_a_burst_is_caught_up_with_and_replicas_go_again() -> None:
    found = simulate(LagPolicy(), WORLD)
    assert found.caught_up_s < 60
    # What the burst brings before the first further consumers are there, and no more than that.
    assert found.most_lag < 150 * WORLD.burst_per_s
    assert found.replicas[-1] == WORLD.min_replicas
    assert found.most_replicas <= WORLD.partitions
    assert found.scalings <= 8
    assert found.replica_s < 0.5 * simulate(LagPolicy(), Topic(min_replicas=8)).replica_s


def test_one_consumer_alone_would_not_catch_up() -> None:
    assert simulate(LagPolicy(), Topic(max_replicas=1)).caught_up_s == math.inf


def test_a_steady_stream_changes_nothing() -> None:
    found = simulate(LagPolicy(), Topic(burst_per_s=WORLD.base_per_s))
    assert (found.scalings, found.most_replicas) == (0, 1)


def test_a_slower_target_takes_fewer_replicas_and_longer() -> None:
    hasty, patient = simulate(LagPolicy(10), WORLD), simulate(LagPolicy(300), WORLD)
    assert patient.replica_s < hasty.replica_s
    assert patient.most_lag > hasty.most_lag
