"""The queue: who goes first, what is dropped, which slots work, and that nothing is ever stuck."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from deployments.batching.scheduler import Scheduler, Ticket

FAR = 1e9


class Text(Ticket):
    """A ticket with a name and a length."""

    def __init__(
        self, name: int, now: float = 0.0, *, bulk: bool = False, deadline_s: float = FAR
    ) -> None:
        super().__init__(deadline_s, bulk, now)
        self.name = name


class Slots:
    """Some slots that are told when to work, and a clock."""

    def __init__(self, count: int = 1, **options: object) -> None:
        self.now = 0.0
        self.started = 0
        settings = {"max_items": 4, "slots": count, "clock": lambda: self.now, **options}
        self.scheduler = Scheduler[Text](self._start, **settings)  # type: ignore[arg-type]
        self.expired: list[int] = []

    def _start(self) -> None:
        self.started += 1

    def submit(self, *names: int, bulk: bool = False, deadline_s: float = FAR) -> list[Text]:
        texts = [Text(name, self.now, bulk=bulk, deadline_s=deadline_s) for name in names]
        self.scheduler.submit(texts)
        return texts

    def take(self, after: bool | None = None) -> list[int]:
        batch, expired = self.scheduler.take(after)
        self.expired += [text.name for text in expired]
        return [text.name for text in batch]

    def drain(self) -> list[list[int]]:
        """All batches of one slot."""
        batches: list[list[int]] = []
        after: bool | None = None
        while True:
            batch, _ = self.scheduler.take(after)
            if not batch:
                return batches
            after = batch[0].bulk
            batches.append([text.name for text in batch])


def pairs(texts: Sequence[Text]) -> list[list[int]]:
    """A plan of neighbours by name."""
    order = sorted(range(len(texts)), key=lambda i: texts[i].name)
    return [order[i : i + 2] for i in range(0, len(order), 2)]


def test_an_idle_slot_is_woken_once_and_rests_when_nothing_is_left() -> None:
    slots = Slots(2)
    slots.submit(1)
    slots.submit(2)
    slots.submit(3)
    assert slots.started == 2
    assert slots.take() == [1, 2, 3]
    assert slots.take() == []
    slots.submit(4)
    assert slots.started == 3
    assert slots.take() == [4]


def test_without_a_plan_texts_leave_in_order_up_to_the_limit() -> None:
    slots = Slots()
    slots.submit(*range(10))
    assert slots.drain() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert slots.scheduler.queued() == 0


def test_a_plan_spans_all_that_waits_and_is_made_anew_when_enough_has_come() -> None:
    slots = Slots(plan=pairs)
    slots.submit(9, 1, 8, 2, 7, 3, 6, 4)
    assert slots.take() == [1, 2]
    # One text for six that are planned is not worth a plan, two are.
    slots.submit(5)
    assert slots.take(False) == [3, 4]
    slots.submit(10)
    assert slots.drain() == [[5, 6], [7, 8], [9, 10]]
    assert slots.scheduler.queued() == 0


def test_withdrawn_and_expired_texts_are_never_taken() -> None:
    slots = Slots()
    withdrawn, _ = slots.submit(1, 2)
    slots.submit(3, deadline_s=1.0)
    withdrawn.done = True
    slots.now = 2.0
    assert slots.take() == [2]
    assert slots.expired == [3]
    assert slots.take(False) == []


def test_texts_that_expire_after_they_were_planned_are_noted_too() -> None:
    slots = Slots(plan=lambda texts: [[i] for i in range(len(texts))])
    slots.submit(1, 2, deadline_s=5.0)
    slots.submit(3)
    assert slots.take() == [1]
    slots.now = 6.0
    assert slots.take(False) == [3]
    assert slots.expired == [2]


def test_an_earlier_deadline_goes_first_but_overtakes_nobody_for_long() -> None:
    one_by_one: Callable[[Sequence[Text]], list[list[int]]] = lambda texts: [  # noqa: E731
        [i] for i in range(len(texts))
    ]
    slots = Slots(plan=one_by_one)
    slots.submit(1, 2)
    slots.now = 0.1
    slots.submit(3, deadline_s=0.2)
    assert slots.take() == [3]
    # Whoever has waited for a quarter of a second is overtaken no more.
    slots.now = 0.2
    slots.submit(4, deadline_s=0.3)
    assert slots.drain() == [[1], [2], [4]]


def test_withdrawn_texts_count_until_they_are_purged() -> None:
    slots = Slots()
    waiting = slots.submit(1, 2)
    slots.submit(91, 92, 93, bulk=True)
    waiting[0].done = True
    assert (slots.scheduler.queued(bulk=False), slots.scheduler.queued(bulk=True)) == (2, 3)
    slots.scheduler.purge()
    assert (slots.scheduler.queued(bulk=False), slots.scheduler.queued(bulk=True)) == (1, 3)
    assert slots.drain() == [[2], [91, 92, 93]]


def test_interactive_goes_first_and_bulk_keeps_its_share() -> None:
    slots = Slots(bulk_ratio=0.5)
    slots.submit(91, 92, 93, 94, 95, bulk=True)
    slots.submit(*range(1, 11))
    # Two bulk texts for four interactive ones, and whole batches once nothing else waits.
    expected = [[1, 2, 3, 4], [91, 92], [5, 6, 7, 8], [93, 94], [9, 10], [95]]
    assert slots.drain() == expected


def test_a_share_of_planned_batches_is_kept_too_and_nothing_of_a_batch_is_lost() -> None:
    slots = Slots(bulk_ratio=0.25, plan=lambda texts: [list(range(len(texts)))])
    slots.submit(*range(90, 96), bulk=True)
    slots.submit(1, 2, 3, 4)
    batches = [slots.take()]
    slots.submit(5, 6, 7, 8)
    batches += [slots.take(False)]
    batches += slots.drain()
    assert batches == [[1, 2, 3, 4], [90], [5, 6, 7, 8], [91, 92, 93, 94, 95]]


def test_one_class_keeps_no_slot_from_the_other() -> None:
    slots = Slots(4, max_items=2, slots_per_class=2)
    slots.submit(91, 92, 93, 94, 95, bulk=True)
    assert [slots.take(), slots.take(), slots.take()] == [[91, 92], [93, 94], []]
    slots.submit(1, 2, 3, 4, 5)
    assert [slots.take(), slots.take()] == [[1, 2], [3, 4]]
    assert slots.take(False) == [5]
    assert slots.take(True) == [95]


def test_a_slot_that_is_added_later_works_at_once_where_texts_wait() -> None:
    slots = Slots(0)
    slots.submit(1)
    assert slots.started == 0
    slots.scheduler.add_slot()
    assert slots.started == 1
    assert slots.take() == [1]
    assert slots.take(False) == []
    slots.scheduler.add_slot()
    slots.submit(2)
    assert slots.started == 2


@given(st.data())
def test_every_text_is_taken_dropped_or_expired_exactly_once(data: st.DataObject) -> None:
    """Any order of arrivals, takes, withdrawals and passing time, on several slots."""

    def plan(texts: Sequence[Text]) -> list[list[int]]:
        size = data.draw(st.integers(1, 5))
        order = data.draw(st.permutations(range(len(texts))))
        return [order[i : i + size] for i in range(0, len(order), size)]

    planned = data.draw(st.booleans())
    slots = Slots(data.draw(st.integers(1, 3)), plan=plan if planned else None)
    known: list[Text] = []
    seen: Counter[int] = Counter()
    working: list[bool | None] = []

    def step_slot() -> None:
        batch, expired = slots.scheduler.take(working.pop())
        seen.update(text.name for text in (*batch, *expired))
        assert all(text.deadline_s > slots.now and not text.done for text in batch)
        assert len({text.bulk for text in batch}) <= 1
        if batch:
            working.append(batch[0].bulk)

    for _ in range(data.draw(st.integers(1, 30))):
        match data.draw(st.sampled_from(["submit", "take", "withdraw", "wait"])):
            case "submit":
                count, before = data.draw(st.integers(1, 6)), slots.started
                known += slots.submit(
                    *range(len(known), len(known) + count),
                    bulk=data.draw(st.booleans()),
                    deadline_s=slots.now + data.draw(st.floats(0.1, 3)),
                )
                working += [None] * (slots.started - before)
            case "take" if working:
                step_slot()
            case "withdraw" if known:
                data.draw(st.sampled_from(known)).done = True
            case "wait":
                slots.now += data.draw(st.floats(0, 1))
    while working:
        step_slot()
    assert slots.scheduler.queued() == 0
    assert max(seen.values(), default=1) == 1
    assert all(text.done for text in known if text.name not in seen)


def test_threads_share_a_queue_without_losing_or_repeating_a_text() -> None:
    seen: Counter[int] = Counter()
    threads: list[threading.Thread] = []

    def work() -> None:
        after: bool | None = None
        while True:
            batch, _ = scheduler.take(after)
            if not batch:
                return
            after = batch[0].bulk
            seen.update(text.name for text in batch)

    def start() -> None:
        thread = threading.Thread(target=work)
        threads.append(thread)
        thread.start()

    scheduler = Scheduler[Text](start, slots=3, max_items=4, plan=pairs)
    for first in range(0, 3_000, 3):
        texts = [Text(name, first, bulk=first % 2 == 0) for name in range(first, first + 3)]
        scheduler.submit(texts)
    for thread in threads:
        thread.join(20)
    assert scheduler.queued() == 0
    assert len(seen) == 3_000
    assert set(seen.values()) == {1}
