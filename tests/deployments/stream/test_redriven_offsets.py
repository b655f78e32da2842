"""What is kept of the letters that were sent again."""

import pytest

from deployments.stream.redriven_offsets import MAX_CHARS, TooManyRanges, compact, parse


def test_what_is_written_is_read() -> None:
    assert compact(3, {5, 7, 8, 9, 11}) == (3, "5,7-9,11")
    assert parse("5,7-9,11") == {5, 7, 8, 9, 11}
    assert parse("") == frozenset()
    assert parse("by someone else") == frozenset()


def test_without_a_gap_the_offset_moves_and_the_text_is_empty() -> None:
    assert compact(3, {3, 4, 5}) == (6, "")
    assert compact(3, {1, 4}) == (3, "4")
    assert compact(3, {3, *range(5, 9)}) == (4, "5-8")


def test_more_than_brokers_keep_is_refused() -> None:
    with pytest.raises(TooManyRanges):
        compact(0, range(1, MAX_CHARS, 2))
