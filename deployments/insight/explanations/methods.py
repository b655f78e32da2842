"""How much each part of a text adds to its label: generators that ask for values of subsets. Pure.

A method yields lists of subsets (a tuple of booleans: which parts are kept) and is sent their
values; it returns ``Contributions``. So it knows neither models nor texts, and a game with known
answers tests it.

``occlusion``: the mean of leaving a part out and of leaving it in alone, the last and the first
term of its Shapley value; exact where contributions add up. ``shapley``: random orders, each with
its reverse (Castro, Gomez and Tejada 2009; Mitchell et al., JMLR 23, 2022).
"""

import random
import statistics
from collections.abc import Generator, Sequence
from dataclasses import dataclass

Kept = tuple[bool, ...]
Values = Generator[list[Kept], dict[Kept, float], "Contributions"]


@dataclass(frozen=True, slots=True)
class Contributions:
    """What was found.

    Attributes:
        values: Of each part.
        errors: Standard error of each, where values are estimates.
        gap: What the values do not explain of the difference between all and nothing.
        without: Value of all but this part, where it was asked.
    """

    values: tuple[float, ...]
    errors: tuple[float | None, ...]
    gap: float
    without: tuple[float | None, ...]


def occlusion(parts: int) -> Values:
    """Needs ``2 * parts + 2`` subsets."""
    everything, nothing = (True,) * parts, (False,) * parts
    out = [_with(everything, part, kept=False) for part in range(parts)]
    alone = [_with(nothing, part, kept=True) for part in range(parts)]
    found = yield [everything, nothing, *out, *alone]
    whole, empty = found[everything], found[nothing]
    values = tuple(
        ((whole - found[without]) + (found[only] - empty)) / 2
        for without, only in zip(out, alone, strict=True)
    )
    return Contributions(
        values=values,
        errors=(None,) * parts,
        gap=whole - empty - sum(values),
        without=tuple(found[without] for without in out),
    )


def shapley(parts: int, budget: int, seed: int) -> Values:
    """Pairs of orders until ``budget`` subsets were asked; at least one pair."""
    chance = random.Random(seed)  # noqa: S311  (the same question has the same answer)
    everything, nothing = (True,) * parts, (False,) * parts
    known = yield [everything, nothing]
    values: dict[Kept, float] = dict(known)
    pairs: list[list[float]] = []
    for _ in range(budget):
        order = list(range(parts))
        chance.shuffle(order)
        paths = [_path(order), _path(order[::-1])]
        new = list(dict.fromkeys(kept for path in paths for kept in path if kept not in values))
        if pairs and (len(values) + len(new) > budget or (not new and len(pairs) >= parts)):
            break
        if new:
            values.update((yield new))
        added = [0.0] * parts
        for path, sequence in zip(paths, (order, order[::-1]), strict=True):
            for before, after, part in zip(path, path[1:], sequence, strict=False):
                added[part] += (values[after] - values[before]) / 2
        pairs.append(added)
    found = tuple(statistics.fmean(pair[part] for pair in pairs) for part in range(parts))
    errors: tuple[float | None, ...] = (None,) * parts
    if len(pairs) > 1:
        spread = (statistics.stdev(pair[part] for pair in pairs) for part in range(parts))
        errors = tuple(each / len(pairs) ** 0.5 for each in spread)
    whole = values[everything] - values[nothing]
    out = [values.get(_with(everything, part, kept=False)) for part in range(parts)]
    return Contributions(found, errors, whole - sum(found), tuple(out))


def grouped(groups: Sequence[range], budget: int) -> Values:
    """Occlusion of groups of parts, then of the parts of the strongest groups.

    The parts of a group share what the group adds (Owen 1977): by occlusion within it where the
    budget reaches, else evenly.
    """
    parts = groups[-1].stop

    def spread(kept: Kept) -> Kept:
        return tuple(kept[i] for i, group in enumerate(groups) for _ in group)

    outer = occlusion(len(groups))
    asked = next(outer)
    values = yield [spread(kept) for kept in asked]
    try:
        outer.send({kept: values[spread(kept)] for kept in asked})
        raise AssertionError("occlusion asks once")
    except StopIteration as done:
        of_groups: Contributions = done.value
    spent = len(asked)
    added = [of_groups.values[i] / len(group) for i, group in enumerate(groups) for _ in group]
    left_out: list[float | None] = [None] * parts
    everything, nothing = (True,) * parts, (False,) * parts
    by_strength = sorted(range(len(groups)), key=lambda i: -abs(of_groups.values[i]))
    for index in by_strength:
        group = groups[index]
        if len(group) == 1:
            left_out[group.start] = of_groups.without[index]
            continue
        if spent + 2 * len(group) > budget:
            break
        out = [_with(everything, part, kept=False) for part in group]
        alone = [_with(nothing, part, kept=True) for part in group]
        found = yield [*out, *alone]
        spent += 2 * len(group)
        rough = [
            ((values[everything] - found[a]) + (found[b] - values[nothing])) / 2
            for a, b in zip(out, alone, strict=True)
        ]
        # What the parts add one by one differs from what they add together; all bear it alike.
        rest = (of_groups.values[index] - sum(rough)) / len(group)
        for part, value, kept in zip(group, rough, out, strict=True):
            added[part] = value + rest
            left_out[part] = found[kept]
    gap = values[everything] - values[nothing] - sum(added)
    return Contributions(tuple(added), (None,) * parts, gap, tuple(left_out))


def _path(order: Sequence[int]) -> list[Kept]:
    kept = [False] * len(order)
    path = [tuple(kept)]
    for part in order:
        kept[part] = True
        path.append(tuple(kept))
    return path


def _with(subset: Kept, part: int, *, kept: bool) -> Kept:
    return (*subset[:part], kept, *subset[part + 1 :])
