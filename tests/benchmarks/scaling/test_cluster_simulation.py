"""The simulation loses no text and does what queues do."""

import pytest

from benchmarks.scaling.cluster_simulation import (
    Cluster,
    Costs,
    Simulation,
    figures,
    ingresses_for,
    percentile,
)

COSTS = Costs()


@pytest.mark.parametrize("load", [0.3, 2.0])
def test_every_text_is_answered_once_and_the_rate_is_what_engines_allow(load: float) -> None:
    simulation = Simulation(Cluster(4, 2, load=load), COSTS, 4_000)
    simulation.run()
    assert len(simulation.latencies_s) == 4_000
    assert min(simulation.latencies_s) >= COSTS.engine_batch_s + COSTS.engine_text_s
    rate = 4_000 / simulation.ended_s
    assert rate == pytest.approx(simulation.rate() * min(1, 1 / load), rel=0.08)


def test_waits_grow_with_load_and_batches_with_them() -> None:
    light, heavy = (figures(Cluster(8, 2, load=load), COSTS, 8_000) for load in (0.4, 0.95))
    assert light["p99_ms"] < heavy["p99_ms"]
    assert light["texts_in_batch"] < heavy["texts_in_batch"]


def test_cells_have_fewer_connections_and_the_same_texts() -> None:
    count = ingresses_for(64, 0.5, COSTS)
    whole = figures(Cluster(64, count, load=0.5), COSTS, 8_000)
    cells = figures(Cluster(64, count, connected=32, load=0.5), COSTS, 8_000)
    assert cells["connections"] == whole["connections"] / 2
    assert cells["texts_per_s"] == pytest.approx(whole["texts_per_s"], rel=0.1)


def test_the_nearest_rank() -> None:
    assert [percentile([3.0, 1.0, 2.0], share) for share in (0, 0.5, 0.99)] == [1.0, 2.0, 3.0]
