"""Answers are compared before anything is timed."""

import pytest

from benchmarks.comparison.answer_parity import compare
from benchmarks.comparison.errors import AnswersDiffer

EXPECTED = [("POSITIVE", 0.9), ("NEGATIVE", 0.8), ("POSITIVE", 0.5005)]


def test_equal_answers_pass() -> None:
    found = compare(EXPECTED, EXPECTED, EXPECTED)
    assert (found.texts, found.alone_max, found.together_p90) == (3, 0.0, 0.0)


def test_a_label_may_flip_only_where_both_are_as_likely() -> None:
    alone = [*EXPECTED[:2], ("NEGATIVE", 0.5003)]
    assert compare(EXPECTED, alone, EXPECTED).alone_max == pytest.approx(0.0008)


@pytest.mark.parametrize("wrong", [("NEGATIVE", 0.9), ("POSITIVE", 0.89)])
def test_another_label_or_score_alone_is_refused(wrong: tuple[str, float]) -> None:
    with pytest.raises(AnswersDiffer, match="alone"):
        compare(EXPECTED, [wrong, *EXPECTED[1:]], EXPECTED)


def test_answers_that_went_to_the_wrong_texts_are_refused() -> None:
    swapped = [EXPECTED[1], EXPECTED[0], EXPECTED[2]]
    with pytest.raises(AnswersDiffer, match="in batches"):
        compare(EXPECTED, EXPECTED, swapped)
