"""One queue of texts, and the slots that take the next batch out of it. Pure; thread-safe.

A slot is whatever works on one batch at a time: an engine thread, a connection, an RPC in flight.
Slots pull: one that is free takes the next batch of the plan over all that waits, so an idle slot
never waits for a timer and a busy one leaves its texts to the others. Batches are of one class:
interactive ones go first, and bulk has its turn by right once enough of them passed it, so that
neither class starves the other. A text that is withdrawn or expired is never taken.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

# A new plan pays once new texts are a quarter of those left of the present one.
_WORTH_A_PLAN = 0.25
# Texts of one plan; the planner is exact up to this.
_MAX_PLANNED = 128
# A text is overtaken by ones with earlier deadlines only for so long.
_PATIENCE_S = 0.25


class Expired(Exception):
    """The text's deadline passed while it waited."""


class Ticket:
    """One text on its way through a scheduler; its callers derive what they need from it.

    Attributes:
        deadline_s: On the scheduler's clock; looked at when it is taken. May be moved later.
        bulk: Whether interactive texts go first.
        queued_s: When it came.
        started_s: When a slot took it, None while it waits.
        done: It is answered or withdrawn; a slot that sees it leaves it out.
    """

    __slots__ = ("bulk", "deadline_s", "done", "queued_s", "started_s")

    def __init__(self, deadline_s: float, bulk: bool, queued_s: float) -> None:
        self.deadline_s = deadline_s
        self.bulk = bulk
        self.queued_s = queued_s
        self.started_s: float | None = None
        self.done = False

    @property
    def waited_s(self) -> float:
        """Time in the queue; 0 while it waits."""
        return 0.0 if self.started_s is None else self.started_s - self.queued_s


T = TypeVar("T", bound=Ticket)
Plan = Callable[[Sequence[T]], Sequence[Sequence[int]]]
"""Cuts waiting texts into batches: positions of the texts of each."""


class Scheduler(Generic[T]):
    """The queue of some slots. Any thread may call any method."""

    def __init__(
        self,
        start_slot: Callable[[], None],
        *,
        slots: int,
        max_items: int,
        plan: Plan[T] | None = None,
        slots_per_class: int | None = None,
        bulk_ratio: float = 0.125,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes an idle scheduler.

        Args:
            start_slot: Wakes one more slot, which then calls ``take`` until that has nothing.
            slots: How many there are.
            max_items: Texts of one batch without a plan, then in order of arrival.
            plan: How waiting texts share batches.
            slots_per_class: Batches of one class that run at once; None is no bound.
            bulk_ratio: Bulk texts for each interactive one, while texts of both classes wait.
            clock: Seconds, monotonic.
        """
        self._start_slot = start_slot
        self._idle = slots
        self._per_class = slots_per_class or math.inf
        self._bulk_ratio = bulk_ratio
        # Bulk collects its share until it makes a batch of this size.
        self._bulk_turn = math.ceil(max_items * bulk_ratio)
        self._bulk_owed = 0.0
        self._clock = clock
        self._lock = threading.Lock()
        # By class: interactive, bulk.
        self._queues = (_Queue(max_items, plan), _Queue(max_items, plan))
        self._running = [0, 0]

    @property
    def idle(self) -> int:
        """Slots that have nothing to do."""
        return self._idle

    def queued(self, *, bulk: bool | None = None) -> int:
        """Texts of a class, or of both, that wait; withdrawn ones included until they are met."""
        interactive, bulk_queue = self._queues
        if bulk is None:
            return interactive.size + bulk_queue.size
        return bulk_queue.size if bulk else interactive.size

    def purge(self) -> None:
        """Forgets withdrawn texts."""
        with self._lock:
            for queue in self._queues:
                queue.purge()

    def submit(self, tickets: Sequence[T]) -> None:
        """Queues texts of one class."""
        queue = self._queues[tickets[0].bulk]
        with self._lock:
            queue.add(tickets)
            wakes = min(self._idle, len(tickets))
            self._idle -= wakes
        for _ in range(wakes):
            self._start_slot()

    def add_slot(self) -> None:
        """There is one more slot, and it is idle."""
        with self._lock:
            waiting = any(queue.size for queue in self._queues)
            self._idle += not waiting
        if waiting:
            self._start_slot()

    def remove_idle(self, slots: int) -> None:
        """So many idle slots are gone."""
        with self._lock:
            self._idle -= slots

    def drop_slot(self, after: bool) -> None:
        """A slot is gone that was started and has finished a batch of a class."""
        with self._lock:
            self._running[after] -= 1

    def take(self, after: bool | None = None) -> tuple[list[T], list[T]]:
        """The next batch for a slot that was started; an empty one ends its turn: it is idle then.

        Args:
            after: The class of the batch that this slot has just finished; None before its first.

        Returns:
            The batch, its texts started; and texts that expired, whose callers want to know.
        """
        expired: list[T] = []
        with self._lock:
            if after is not None:
                self._running[after] -= 1
            now = self._clock()
            while (bulk := self._next_class()) is not None:
                batch = self._take(bulk, now, expired)
                if batch:
                    self._running[bulk] += 1
                    return batch, expired
            self._idle += 1
        return [], expired

    def _next_class(self) -> bool | None:
        """Whose batch may start now: False is interactive, True is bulk, None is nobody's."""
        interactive, bulk = (
            queue.size > 0 and running < self._per_class
            for queue, running in zip(self._queues, self._running, strict=True)
        )
        if bulk and (not interactive or self._bulk_owed >= self._bulk_turn > 0):
            return True
        return False if interactive else None

    def _take(self, bulk: bool, now: float, expired: list[T]) -> list[T]:
        interactive, bulk_queue = self._queues
        if not bulk:
            batch = interactive.take(now, expired)
            if bulk_queue.size:
                self._bulk_owed += len(batch) * self._bulk_ratio
            return batch
        if not interactive.size:
            self._bulk_owed = 0.0
            return bulk_queue.take(now, expired)
        # Only what it is owed, if it overtakes.
        batch = bulk_queue.take(now, expired, self._bulk_turn)
        self._bulk_owed = max(0.0, self._bulk_owed - len(batch)) if bulk_queue.size else 0.0
        return batch


class _Queue(Generic[T]):
    """Texts of one class: those of the present plan, and those that came after it was made."""

    def __init__(self, max_items: int, plan: Plan[T] | None) -> None:
        self._max_items = max_items
        self._plan = plan
        self._fresh: deque[T] = deque()
        # The batch that is next comes last.
        self._planned: list[list[T]] = []
        self._in_plan = 0

    @property
    def size(self) -> int:
        return len(self._fresh) + self._in_plan

    def add(self, tickets: Sequence[T]) -> None:
        self._fresh.extend(tickets)

    def purge(self) -> None:
        self._fresh = deque(ticket for ticket in self._all() if not ticket.done)

    def take(self, now: float, expired: list[T], most: int | None = None) -> list[T]:
        """The next batch, of at most ``most`` texts; empty if all that it held was dropped."""
        if self._plan is None:
            return self._alive(self._fresh, now, expired, most or self._max_items)
        if not self._planned or len(self._fresh) >= self._in_plan * _WORTH_A_PLAN:
            self._make_plan(self._plan, now, expired)
            if not self._planned:
                return []
        batch = self._planned.pop()
        if most is not None and len(batch) > most:
            batch.sort(key=_arrival)
            self._planned.append(batch[most:])
            batch = batch[:most]
        self._in_plan -= len(batch)
        return self._alive(deque(batch), now, expired, len(batch))

    def _make_plan(self, plan: Plan[T], now: float, expired: list[T]) -> None:
        waiting = deque(self._all())
        part = self._alive(waiting, now, expired, _MAX_PLANNED, start=False)
        self._fresh, self._in_plan = waiting, len(part)
        if part:
            batches = [[part[i] for i in positions] for positions in plan(part)]
            # Of equals the plan's first one goes first.
            self._planned = sorted(batches, key=_urgency)[::-1]

    def _all(self) -> list[T]:
        """What waits, in order of arrival; there is no plan afterwards."""
        left = [ticket for batch in reversed(self._planned) for ticket in batch]
        self._planned, self._in_plan = [], 0
        return [*sorted(left, key=_arrival), *self._fresh]

    @staticmethod
    def _alive(
        waiting: deque[T], now: float, expired: list[T], most: int, *, start: bool = True
    ) -> list[T]:
        """Takes up to ``most`` texts off the head; drops the withdrawn, and notes the expired."""
        taken: list[T] = []
        while waiting and len(taken) < most:
            ticket = waiting.popleft()
            if ticket.done:
                continue
            if ticket.deadline_s <= now:
                ticket.started_s = now
                expired.append(ticket)
                continue
            if start:
                ticket.started_s = now
            taken.append(ticket)
        return taken


def _arrival(ticket: Ticket) -> float:
    return ticket.queued_s


def _urgency(batch: Sequence[Ticket]) -> float:
    return min(min(t.deadline_s, t.queued_s + _PATIENCE_S) for t in batch)
