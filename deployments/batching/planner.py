"""Which texts share an engine batch. Pure.

On CPUs padding dominates, on GPUs batch size; the boundary depends on engine, model and host.
So a window, sorted by length, is cut where the sum of the measured costs is least.
"""

from collections.abc import Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """What the batches of one model cost, and how large they may be.

    Attributes:
        surface: Cost of a batch.
        max_texts: Rows of one batch.
        max_tokens: Rows times padded length of one batch.
    """

    surface: CostSurface
    max_texts: int
    max_tokens: int

    def plan(self, lengths: Sequence[int]) -> list[PlannedBatch]:
        """See the function of this name."""
        return plan(lengths, self.surface, max_texts=self.max_texts, max_tokens=self.max_tokens)


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
    # Lists: at a window's few texts numpy costs more in calls than it saves in arithmetic.
    cost = [surface.by_rows(length, min(max_texts, count)) for length in lengths]
    best = [0.0] * (count + 1)
    cut = [0] * (count + 1)
    # The first start that a batch may have grows with its end: texts that are left fall in length.
    first = 0
    for end in range(1, count + 1):
        first = max(first, end - max_texts)
        while first < end - 1 and (end - first) * lengths[first] > max_tokens:
            first += 1
        # A batch that ends here starts at ``start``, its longest text. The last one fits always.
        totals = [best[start] + cost[start][end - start - 1] for start in range(first, end)]
        best[end] = min(totals)
        cut[end] = first + totals.index(best[end])
    batches = []
    end = count
    while end:
        start = cut[end]
        found = cost[start][end - start - 1]
        batches.append(PlannedBatch(tuple(indices[start:end]), lengths[start], found))
        end = start
    return batches
