"""Turns by cost: what each of several callers gets, whatever the others queue."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.batching.fair_queue import Entry, FairQueue


def entry(caller: str, cost: float = 1.0, *, bulk: bool = False) -> Entry[str]:
    return Entry(f"{caller} {cost}", caller, cost, bulk)


def served(queue: FairQueue[str], cost: float) -> Counter[str]:
    """Cost by caller of what is popped until ``cost`` was served; each is done at once."""
    done: Counter[str] = Counter()
    while done.total() < cost and (popped := queue.pop()) is not None:
        done[str(popped.caller)] += popped.cost  # type: ignore[assignment]
        queue.finish(popped)
    return done


@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from([0.5, 1.0, 8.0]), st.booleans()),
        min_size=2,
        max_size=6,
    )
)
def test_callers_that_wait_get_the_same_within_an_item(
    callers: list[tuple[int, float, bool]],
) -> None:
    queue = FairQueue[str](0.125)
    for number, (items, cost, bulk) in enumerate(callers):
        for _ in range(items):
            queue.push(entry(str(number), cost, bulk=bulk))
    least = min(items * cost for items, cost, _ in callers)
    done = served(queue, least)
    # While all wait, two differ by no more than the largest item of either.
    assert max(done.values()) - min(done[str(n)] for n in range(len(callers))) <= 2 * 8.0
    served(queue, 1e9)
    assert len(queue) == 0
    assert queue.callers("new") == 1


def test_a_newcomer_has_the_next_turn_and_the_past_is_not_held_against_anyone() -> None:
    queue = FairQueue[str](0.125)
    for _ in range(100):
        queue.push(entry("hog"))
    assert served(queue, 50) == {"hog": 50}
    for _ in range(100):
        queue.push(entry("victim"))
    next_turn = queue.pop()
    assert next_turn is not None
    assert next_turn.caller == "victim"
    done = served(queue, 40)
    assert abs(done["hog"] - done["victim"]) <= 2


@pytest.mark.parametrize("alone", [True, False])
def test_one_that_rested_or_was_alone_is_neither_ahead_nor_behind(alone: bool) -> None:
    queue = FairQueue[str](0.125)
    for _ in range(1_000 if alone else 0):
        passed = entry("busy")
        queue.pass_by(passed)
        queue.finish(passed)
    held = entry("busy")
    queue.pass_by(held)  # it is never idle, so it is not forgotten
    for name in ("rested", "busy"):
        for _ in range(20):
            queue.push(entry(name))
    done = served(queue, 20)
    assert abs(done["busy"] - done["rested"]) <= 2


def test_interactive_goes_first_and_bulk_has_its_part() -> None:
    queue = FairQueue[str](0.25)
    for bulk in (True, False):
        for _ in range(40):
            queue.push(entry("one", bulk=bulk))
    first = [queue.pop() for _ in range(20)]
    kinds = [popped.bulk for popped in first if popped]
    assert kinds[:1] == [False]
    assert kinds.count(True) == 4


def test_few_interactive_items_go_past_unless_the_caller_is_ahead() -> None:
    queue = FairQueue[str](0.125)
    assert queue.goes_past("new", 4, 4.0, few=4)
    assert not queue.goes_past("new", 5, 5.0, few=4)
    for _ in range(8):
        queue.push(entry("hog", bulk=True))
    for _ in range(4):
        passed = entry("hog")
        assert queue.goes_past("hog", 1, 1.0, few=4)  # alone: nobody is kept waiting
        queue.pass_by(passed)
    assert not queue.goes_past("hog", 1, 1.0, few=4)
    beside = FairQueue[str](0.125)
    beside.push(entry("victim", bulk=True))
    for _ in range(3):
        beside.pass_by(passed := entry("hog"))
        beside.finish(passed)
    assert not beside.goes_past("hog", 1, 1.0, few=9)
    assert beside.goes_past("victim", 1, 1.0, few=9)


def test_what_comes_later_is_known() -> None:
    queue = FairQueue[str](0.125)
    for _ in range(10):
        queue.push(entry("hog", 2.0, bulk=True))
    assert queue.behind("hog", 2.0, bulk=True) == 0
    assert queue.behind("new", 3.0, bulk=True) == pytest.approx(17)
    assert queue.behind("new", 3.0, bulk=False) == 0  # of interactive, nothing waits
    queue.push(entry("third", 1.0))
    assert queue.behind("new", 3.0, bulk=True) == pytest.approx(21 - 6)


def test_withdrawn_items_take_no_turn_and_no_space() -> None:
    queue = FairQueue[str](0.125)
    kept = [entry("hog") for _ in range(3)]
    for each in kept:
        queue.push(each)
    for _ in range(10_000):
        queue.push(gone := entry("hog"))
        queue.withdraw(gone)
    assert len(queue) == queue.items_of("hog") == 3
    assert len(queue._accounts["hog"].queues[0]) < 200
    assert [queue.pop() for _ in range(4)] == [*kept, None]
