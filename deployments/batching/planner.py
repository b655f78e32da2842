"""Which texts share an engine batch. Pure.

Padding is the enemy on a CPU, small batches are on a GPU, and where the line runs depends
on engine, model and host. So nothing here believes in a rule: a window, sorted by length,
is cut at the places that make the sum of the measured costs least.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.batching.cost_surface import CostSurface

# Above this many texts the window is cut into parts first, each planned exactly.
MAX_EXACT = 128


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """Texts that run together.

    Attributes:
        indices: Into the window; by falling length, so the first one is the padded length.
        tokens: Padded length.
        cost_s: What the surface says it takes, seconds.
    """

    indices: tuple[int, ...]
    tokens: int
    cost_s: float


def plan(
    lengths: Sequence[int], surface: CostSurface, *, max_texts: int, max_tokens: int
) -> list[PlannedBatch]:
    """Cuts a window into the batches of least total cost.

    Exact for windows up to ``MAX_EXACT``: with texts sorted by length some best plan cuts the
    row into neighbours whenever cost does not fall with length or rows, and the least-cost cut
    of a row follows by dynamic programming over its prefixes (Bellman 1957), in
    ``O(n · max_texts)``.

    Args:
        lengths: Tokens of each text, above 0.
        surface: Cost of a batch.
        max_texts: Rows of one batch.
        max_tokens: Rows times padded length of one batch; a single longer text runs alone.

    Returns:
        Batches in the order of their oldest text (the least index); every index once.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[PlannedBatch] = []
    for start in range(0, len(order), MAX_EXACT):
        part = order[start : start + MAX_EXACT]
        batches += _plan_sorted(part, [lengths[i] for i in part], surface, max_texts, max_tokens)
    return sorted(batches, key=lambda batch: min(batch.indices))


def _plan_sorted(
    indices: Sequence[int],
    lengths: Sequence[int],
    surface: CostSurface,
    max_texts: int,
    max_tokens: int,
) -> list[PlannedBatch]:
    """Least-cost cut of texts whose ``lengths`` fall."""
    count = len(lengths)
    cost = surface.table(min(max_texts, count), lengths)
    best = np.zeros(count + 1)
    cut = np.zeros(count, dtype=np.int64)
    for end in range(1, count + 1):
        # A batch that ends here starts at ``first … end - 1``; its start is its longest text.
        first = max(0, end - max_texts)
        starts = np.arange(first, end)
        rows = end - starts
        total = best[first:end] + cost[rows - 1, starts]
        cells = rows * np.asarray(lengths[first:end])
        total[(cells > max_tokens) & (rows > 1)] = np.inf
        chosen = int(total.argmin())
        best[end], cut[end - 1] = total[chosen], first + chosen
    batches = []
    end = count
    while end:
        start = int(cut[end - 1])
        batches.append(
            PlannedBatch(
                tuple(indices[start:end]), lengths[start], float(cost[end - start - 1, start])
            )
        )
        end = start
    return batches
