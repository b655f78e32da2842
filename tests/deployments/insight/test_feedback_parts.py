"""The pure parts of feedback: the label that follows from events, the range of an accuracy."""

import random
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.insight.feedback.accuracy import combined, confidence_sequence, lost
from deployments.insight.feedback.labels import FeedbackEvent, Source, derive


def event(number: int, label: str, actor: str, source: Source = "caller") -> FeedbackEvent:
    return FeedbackEvent(str(number), "p", "d", label, source, actor, float(number))


@pytest.mark.parametrize(
    ("events", "label", "status", "trusted"),
    [
        ([event(1, "A", "x")], "A", "single", False),
        ([event(1, "A", "x"), event(2, "B", "x")], "B", "single", False),
        ([event(1, "A", "x"), event(2, "A", "y")], "A", "agreed", False),
        ([event(1, "A", "x"), event(2, "B", "y")], "A", "conflict", False),
        ([event(1, "A", "x"), event(2, "B", "y"), event(3, "B", "z")], "B", "overruled", False),
        (
            [event(1, "A", "x"), event(2, "A", "y"), event(3, "B", "r", "reviewer")],
            "B",
            "overruled",
            True,
        ),
        ([event(1, "A", "r", "reviewer"), event(2, "A", "s", "import")], "A", "agreed", True),
        ([event(1, "A", "r", "reviewer"), event(2, "B", "s", "reviewer")], "A", "conflict", True),
    ],
)
def test_rules_in_order(
    events: list[FeedbackEvent], label: str, status: str, trusted: bool
) -> None:
    for order in permutations(events):
        found = derive(order)
        assert (found.label, found.status, found.trusted) == (label, status, trusted)


SOURCES: tuple[Source, ...] = ("caller", "reviewer", "import")
EVENTS = st.lists(
    st.builds(
        lambda time, label, actor, source, number: FeedbackEvent(
            number, "p", "d", label, source, actor, float(time)
        ),
        st.integers(0, 5),
        st.sampled_from("ABC"),
        st.sampled_from("xyz"),
        st.sampled_from(SOURCES),
        st.uuids().map(str),
    ),
    min_size=1,
    max_size=8,
)


@given(EVENTS, st.randoms(use_true_random=False))
def test_order_never_matters(events: list[FeedbackEvent], chance: random.Random) -> None:
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert derive(shuffled) == derive(events)


def test_one_actor_never_outvotes_two() -> None:
    many = [event(number, "B", "loud") for number in range(50)]
    found = derive([*many, event(60, "A", "x"), event(61, "A", "y")])
    assert (found.label, found.status) == ("A", "overruled")


def test_the_width_of_the_range() -> None:
    for n, width in ((50, 0.14), (200, 0.078), (500, 0.052), (1_000, 0.037), (4_000, 0.02)):
        found = confidence_sequence(round(0.88 * n), n, 0.05)
        assert (found.high - found.low) / 2 == pytest.approx(width, rel=0.08)
    nothing = confidence_sequence(0, 0, 0.05)
    assert (nothing.value, nothing.low, nothing.high) == (None, 0.0, 1.0)
    assert confidence_sequence(10, 10, 0.05).high == 1.0
    assert confidence_sequence(0, 10, 0.05).low == 0.0


def test_the_range_holds_at_every_look() -> None:
    """200 runs of 2,000 labels, read after each: it misses in at most one of twenty."""
    chance, missed = random.Random(5), 0
    for _ in range(200):
        right = 0
        for n in range(1, 2_001):
            right += chance.random() < 0.9
            if n % 20 == 0:
                found = confidence_sequence(right, n, 0.05)
                if not found.low <= 0.9 <= found.high:
                    missed += 1
                    break
    assert missed <= 10


def test_answers_drawn_with_different_chances_weigh_accordingly() -> None:
    found = combined({0.01: (80, 100), 0.1: (1_000, 1_000)}, 0.05)
    assert found.value == pytest.approx((10_000 * 0.8 + 10_000 * 1.0) / 20_000)
    assert found.low < 0.9 < found.high
    assert combined({0.01: (80, 100)}, 0.05) == confidence_sequence(80, 100, 0.05)
    assert combined({0.01: (0, 0)}, 0.05).value is None


def test_a_fall_is_told_and_calm_is_not() -> None:
    """30 labels a day from 88 %: two years of calm, then a fall to 80 %."""
    chance = random.Random(7)

    def days(n: int, accuracy: float) -> list[tuple[int, int]]:
        return [(sum(chance.random() < accuracy for _ in range(30)), 30) for _ in range(n)]

    calm = days(700, 0.88)
    assert lost(calm, 0.88) < 1
    assert lost([*calm, *days(35, 0.80)], 0.88) >= 1
    assert lost(calm, 0) == 0
    assert lost([], 0.88) == 0
