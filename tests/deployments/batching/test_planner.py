"""Plans of least cost, on any cost surface."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.batching.cost_surface import CostSurface
from deployments.batching.planner import MAX_EXACT, PlannedBatch, plan

LIMITS = {"max_texts": 1_000, "max_tokens": 1 << 30}


def surface(seconds: list[list[float]]) -> CostSurface:
    """A grid over 1, 2, 4, … rows and 8, 16, 32, … tokens."""
    cost = np.array(seconds, dtype=np.float32)
    rows, tokens = cost.shape
    return CostSurface(
        np.array([2**i for i in range(rows)], dtype=np.float32),
        np.array([8 * 2**i for i in range(tokens)], dtype=np.float32),
        cost,
    )


@st.composite
def surfaces(draw: st.DrawFn) -> CostSurface:
    """Random surfaces whose cost never falls with rows or tokens, as of any real engine."""
    steps = draw(
        st.lists(st.lists(st.floats(0, 5), min_size=3, max_size=3), min_size=1, max_size=6)
    )
    grid = np.array(steps).cumsum(axis=0).cumsum(axis=1) + draw(st.floats(0.1, 5))
    return surface(grid.tolist())


def cost_of(batches: list[list[int]], lengths: list[int], costs: CostSurface) -> float:
    return sum(
        float(costs.table(len(batch), [max(lengths[i] for i in batch)])[-1, 0]) for batch in batches
    )


def total(batches: list[PlannedBatch]) -> float:
    return sum(batch.cost_s for batch in batches)


lengths_of = st.lists(st.integers(1, 512), min_size=1, max_size=130)


@given(lengths_of, surfaces(), st.integers(1, 64), st.integers(16, 4_096))
def test_every_text_once_and_every_limit_kept(
    lengths: list[int], costs: CostSurface, max_texts: int, max_tokens: int
) -> None:
    batches = plan(lengths, costs, max_texts=max_texts, max_tokens=max_tokens)
    assert sorted(i for batch in batches for i in batch.indices) == list(range(len(lengths)))
    for batch in batches:
        rows = [lengths[index] for index in batch.indices]
        assert rows == sorted(rows, reverse=True)
        assert batch.tokens == rows[0]
        assert len(rows) <= max_texts
        assert len(rows) == 1 or len(rows) * rows[0] <= max_tokens
    oldest = [min(batch.indices) for batch in batches]
    assert oldest == sorted(oldest)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=MAX_EXACT), surfaces())
def test_never_worse_than_one_by_one_nor_than_one_padded_batch(
    lengths: list[int], costs: CostSurface
) -> None:
    best = total(plan(lengths, costs, **LIMITS))
    alone = cost_of([[i] for i in range(len(lengths))], lengths, costs)
    together = cost_of([list(range(len(lengths)))], lengths, costs)
    assert best <= alone * (1 + 1e-4)
    assert best <= together * (1 + 1e-4)


@given(st.lists(st.integers(1, 64), min_size=1, max_size=7), surfaces())
def test_exact_against_all_partitions(lengths: list[int], costs: CostSurface) -> None:
    def partitions(items: list[int]) -> list[list[list[int]]]:
        if not items:
            return [[]]
        head, *tail = items
        found = []
        for size in range(len(tail) + 1):
            for mates in itertools.combinations(tail, size):
                rest = [i for i in tail if i not in mates]
                found += [[[head, *mates], *others] for others in partitions(rest)]
        return found

    least = min(cost_of(p, lengths, costs) for p in partitions(list(range(len(lengths)))))
    assert total(plan(lengths, costs, **LIMITS)) == pytest.approx(least, rel=1e-4)


def test_the_surface_decides() -> None:
    lengths = [10, 100, 11, 10, 99]
    # Cost in proportion to cells and nothing per batch: padding is all that matters.
    per_cell = surface([[8 * 2**t * 2**r * 1e-3 for t in range(5)] for r in range(4)])
    assert all(
        len({lengths[i] for i in batch.indices}) == 1 for batch in plan(lengths, per_cell, **LIMITS)
    )
    # One price for any batch: all together.
    flat = surface([[1.0] * 5] * 4)
    assert [sorted(batch.indices) for batch in plan(lengths, flat, **LIMITS)] == [[0, 1, 2, 3, 4]]


def test_nothing_to_plan() -> None:
    assert plan([], surface([[1.0]]), **LIMITS) == []
