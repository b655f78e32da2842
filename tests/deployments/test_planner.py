"""Batches of nearly equal length, for any lengths."""

from hypothesis import given
from hypothesis import strategies as st

from deployments.planner import plan


@given(
    lengths=st.lists(st.integers(1, 512), max_size=130),
    max_texts=st.integers(1, 64),
    max_tokens=st.integers(16, 4_096),
    ratio=st.floats(0, 0.9),
)
def test_every_text_once_and_every_limit_kept(
    lengths: list[int], max_texts: int, max_tokens: int, ratio: float
) -> None:
    batches = plan(lengths, max_texts=max_texts, max_tokens=max_tokens, max_padding_ratio=ratio)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        rows = [lengths[index] for index in batch]
        cells = len(rows) * rows[0]
        assert rows == sorted(rows, reverse=True)
        assert len(rows) <= max_texts
        assert len(rows) == 1 or cells <= max_tokens
        assert cells - sum(rows) <= ratio * cells + 1e-9


def test_neighbours_share_and_outliers_run_alone() -> None:
    lengths = [10, 100, 11, 10, 99]
    batches = plan(lengths, max_texts=32, max_tokens=4_096, max_padding_ratio=0.15)
    assert [sorted(batch) for batch in batches] == [[1, 4], [0, 2, 3]]


def test_no_padding_allowed_batches_equal_lengths_only() -> None:
    batches = plan([5, 6, 5], max_texts=8, max_tokens=4_096, max_padding_ratio=0)
    assert sorted(map(sorted, batches)) == [[0, 2], [1]]
