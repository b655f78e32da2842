"""Which dead letters were sent again, as the text beside a committed offset. Pure.

Everything below the committed offset was; of those above it, the text names ranges: ``4,7-9``.
"""

from collections.abc import Iterable

# Brokers take 4,096 bytes (offset.metadata.max.bytes).
MAX_CHARS = 4_000


class TooManyRanges(Exception):
    """The ranges do not fit into the text."""


def parse(text: str) -> frozenset[int]:
    """The offsets that the text names; none when it is something else."""
    found: set[int] = set()
    try:
        for part in filter(None, text.split(",")):
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    except ValueError:
        return frozenset()
    return frozenset(found)


def compact(below: int, offsets: Iterable[int]) -> tuple[int, str]:
    """The offset below which all were sent again, and the text for the others.

    Args:
        below: The present such offset.
        offsets: All that were sent again above it.

    Raises:
        TooManyRanges: The text would be longer than brokers take.
    """
    left = sorted({offset for offset in offsets if offset >= below})
    while left and left[0] == below:
        below += 1
        del left[0]
    ranges: list[list[int]] = []
    for offset in left:
        if ranges and ranges[-1][1] == offset - 1:
            ranges[-1][1] = offset
        else:
            ranges.append([offset, offset])
    text = ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges)
    if len(text) > MAX_CHARS:
        raise TooManyRanges(f"{len(ranges)} separate ranges of letters were sent again")
    return below, text
