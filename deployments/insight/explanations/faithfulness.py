"""Whether an explanation says what the model does: delete the words that it names. Pure.

DeYoung et al., "ERASER", ACL 2020; Samek et al. 2017 and Petsiuk et al. 2018 for the curves. Texts
with words deleted are unusual texts, so figures compare methods on one model and nothing else.
"""

import random
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from deployments.insight.explanations.methods import Kept

_PARTS = (0.05, 0.1, 0.2, 0.5)
_STEPS = 12
_RANDOM_ORDERS = 3


@dataclass(frozen=True, slots=True)
class Faithfulness:
    """By the probability of the label.

    Attributes:
        comprehensiveness: How far it falls without the most important words; more is better.
        sufficiency: How far it falls with these alone; less is better.
        deletion_auc: Its mean while words are deleted, the most important first; less is better.
        random_deletion_auc: The same in random orders.
    """

    comprehensiveness: float
    sufficiency: float
    deletion_auc: float
    random_deletion_auc: float


def check(
    values: Sequence[float], seed: int
) -> Generator[list[Kept], dict[Kept, float], Faithfulness]:
    """Yields subsets, is sent the label's probability for each."""
    n = len(values)
    order = sorted(range(n), key=lambda i: -values[i])
    chance = random.Random(seed)  # noqa: S311  (the same question has the same answer)
    tops = [order[: max(1, round(part * n))] for part in _PARTS]
    curve = [_without(n, order[:size]) for size in _sizes(n)]
    orders = [chance.sample(range(n), n) for _ in range(_RANDOM_ORDERS)]
    random_curves = [[_without(n, each[:size]) for size in _sizes(n)] for each in orders]
    everything = (True,) * n
    removed = [_without(n, top) for top in tops]
    alone = [_only(n, top) for top in tops]
    asked = [everything, *removed, *alone, *curve, *(kept for row in random_curves for kept in row)]
    found = yield list(dict.fromkeys(asked))

    def mean(subsets: Sequence[Kept]) -> float:
        return sum(found[kept] for kept in subsets) / len(subsets)

    whole = found[everything]
    return Faithfulness(
        comprehensiveness=whole - mean(removed),
        sufficiency=whole - mean(alone),
        deletion_auc=mean(curve),
        random_deletion_auc=sum(map(mean, random_curves)) / len(random_curves),
    )


def _sizes(n: int) -> list[int]:
    steps = min(n, _STEPS)
    return [round(n * step / steps) for step in range(steps + 1)]


def _without(n: int, deleted: Sequence[int]) -> Kept:
    gone = set(deleted)
    return tuple(i not in gone for i in range(n))


def _only(n: int, kept: Sequence[int]) -> Kept:
    chosen = set(kept)
    return tuple(i in chosen for i in range(n))
