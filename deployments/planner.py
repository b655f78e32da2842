"""Which texts share an engine batch. Pure.

Padding is the enemy on a CPU: a batch costs as much as its longest row times its number
of rows, so texts are sorted by length and only neighbours of nearly equal length are put
together.
"""

from collections.abc import Sequence


def plan(
    lengths: Sequence[int], *, max_texts: int, max_tokens: int, max_padding_ratio: float
) -> list[list[int]]:
    """Cuts texts into batches.

    Args:
        lengths: Tokens of each text.
        max_texts: Rows of one batch.
        max_tokens: Rows times longest row of one batch; a single longer text runs alone.
        max_padding_ratio: Padded cells over all cells of one batch, at most.

    Returns:
        Batches of indices into ``lengths``; every index once; rows of a batch by falling
        length, so the first row is the padded length.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches: list[list[int]] = []
    tokens = 0
    for index in order:
        length = lengths[index]
        if batches:
            rows = len(batches[-1]) + 1
            cells = rows * lengths[batches[-1][0]]
            padding = cells - tokens - length
            if rows <= max_texts and cells <= max_tokens and padding <= max_padding_ratio * cells:
                batches[-1].append(index)
                tokens += length
                continue
        batches.append([index])
        tokens = length
    return batches
