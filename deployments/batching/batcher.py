"""The window: items wait here until a slot is free, then leave together.

Used twice: in the ingress, where a slot is one RPC in flight, and in the model replica,
where the slot is the engine. An idle batcher never waits: the first item leaves at once,
alone. Under load a batch is whatever arrived while the slots were busy, and of one class:
an interactive item must not wait for the bulk that happens to leave with it. Interactive
batches go first, and bulk has its turn by right once enough of them passed it, so that
neither class starves the other. Nothing here knows Ray; everything runs on one event loop.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """More items of one class would wait than ``max_queued``; nothing was queued."""

    def __init__(self, queued: int) -> None:
        super().__init__(queued)
        self.queued = queued


class Expired(Exception):
    """The item's deadline passed while it waited."""


class Postponed(Exception):
    """``run`` left the item for the next batch, because more urgent ones are waiting."""


class Ticket(Generic[Item, Result]):
    """One item on its way through.

    Attributes:
        item: What was submitted.
        deadline_s: On the batcher's clock; looked at when the item leaves the queue.
        bulk: Whether interactive items go first.
        future: The result. Cancel it to withdraw the item.
        queued_s: When it was submitted.
        started_s: When its batch left the queue, None while it waits.
    """

    __slots__ = ("bulk", "deadline_s", "future", "item", "queued_s", "started_s")

    def __init__(
        self,
        item: Item,
        deadline_s: float,
        bulk: bool,
        future: "asyncio.Future[Result]",
        queued_s: float,
    ) -> None:
        self.item = item
        self.deadline_s = deadline_s
        self.bulk = bulk
        self.future = future
        self.queued_s = queued_s
        self.started_s: float | None = None

    @property
    def waited_s(self) -> float:
        """Time in the queue; 0 while it waits."""
        return 0.0 if self.started_s is None else self.started_s - self.queued_s


Run = Callable[[list[Ticket[Item, Result]]], Awaitable[Sequence[Result | Exception]]]


class Batcher(Generic[Item, Result]):
    """Gathers items and runs them in batches on a fixed number of slots.

    Items of one class leave in arrival order. Withdrawn and expired items are dropped before
    ``run`` sees them. An exception of ``run`` fails the items of that batch and nothing else.
    """

    def __init__(
        self,
        run: Run[Item, Result],
        *,
        max_items: int,
        slots: int,
        max_queued: int,
        together: int | None = None,
        bulk_ratio: float = 0.125,
        on_drop: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes an idle batcher; call the other methods from one event loop.

        Args:
            run: Answers one result or exception per ticket, in order; ``Postponed`` puts a
                ticket back to the head of the queue.
            max_items: Items in one batch.
            slots: Batches of one class that run at once.
            together: Batches of both classes that run at once; None is ``slots``.
            max_queued: Items of one class that may wait; waiting bulk refuses nobody interactive.
            bulk_ratio: Bulk items for each interactive one, while items of both classes wait.
            on_drop: Told ``"expired"`` or ``"cancelled"`` for every item dropped.
            clock: Seconds, monotonic.
        """
        self._run = run
        self._max_items = max_items
        self._slots = slots
        self._together = together or slots
        self._max_queued = max_queued
        self._bulk_ratio = bulk_ratio
        # Bulk collects its share until it makes a batch of this size.
        self._bulk_turn = math.ceil(max_items * bulk_ratio)
        self._bulk_owed = 0.0
        self._on_drop = on_drop
        self._clock = clock
        self._interactive: deque[Ticket[Item, Result]] = deque()
        self._bulk: deque[Ticket[Item, Result]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # By class: interactive, bulk.
        self._running = [0, 0]
        self._pump_scheduled = False

    @property
    def queued(self) -> int:
        """Items that wait, withdrawn ones included until they are dropped."""
        return len(self._interactive) + len(self._bulk)

    def waiting(self, *, bulk: bool) -> int:
        """Items of a class that wait, as ``queued``."""
        return len(self._bulk if bulk else self._interactive)

    @property
    def interactive_queued(self) -> int:
        """Interactive items that wait. May be read from any thread."""
        return len(self._interactive)

    def submit(
        self, items: Sequence[Item], deadline_s: float, *, bulk: bool = False
    ) -> list[Ticket[Item, Result]]:
        """Queues all items or none.

        Raises:
            QueueFull: They do not all fit.
        """
        queue = self._bulk if bulk else self._interactive
        if len(queue) + len(items) > self._max_queued:
            self._drop_withdrawn(queue)
            if len(queue) + len(items) > self._max_queued:
                raise QueueFull(len(queue))
        loop = asyncio.get_running_loop()
        now = self._clock()
        tickets = [
            Ticket[Item, Result](item, deadline_s, bulk, loop.create_future(), now)
            for item in items
        ]
        self.enter(tickets)
        return tickets

    def enter(self, tickets: Sequence[Ticket[Item, Result]]) -> None:
        """Queues tickets whose turn has come, however many wait."""
        for ticket in tickets:
            (self._bulk if ticket.bulk else self._interactive).append(ticket)
        if not self._pump_scheduled and self._next_class() is not None:
            # On the loop's next turn, so that what arrives in this turn leaves together.
            self._pump_scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _next_class(self) -> bool | None:
        """Whose batch may start now: False is interactive, True is bulk, None is nobody's."""
        if sum(self._running) >= self._together:
            return None
        interactive, bulk = (
            bool(queue) and running < self._slots
            for queue, running in zip((self._interactive, self._bulk), self._running, strict=True)
        )
        if bulk and (not interactive or self._bulk_owed >= self._bulk_turn > 0):
            return True
        return False if interactive else None

    def _pump(self) -> None:
        self._pump_scheduled = False
        while (bulk := self._next_class()) is not None:
            if batch := self._take(bulk):
                self._running[bulk] += 1
                task = asyncio.get_running_loop().create_task(self._execute(batch, bulk))
                self._tasks.add(task)
                _cancel_when_all_withdrawn(task, batch)

    def _take(self, bulk: bool) -> list[Ticket[Item, Result]]:
        """The next batch of a class; empty if all that waited was withdrawn or expired."""
        now = self._clock()
        if not bulk:
            batch = self._take_from(self._interactive, self._max_items, now)
            if self._bulk:
                self._bulk_owed += len(batch) * self._bulk_ratio
            return batch
        # Only what it is owed, if it overtakes.
        up_to = self._bulk_turn if self._interactive else self._max_items
        self._bulk_owed = max(0.0, self._bulk_owed - up_to)
        return self._take_from(self._bulk, up_to, now)

    def _take_from(
        self,
        queue: deque[Ticket[Item, Result]],
        up_to: int,
        now: float,
    ) -> list[Ticket[Item, Result]]:
        batch: list[Ticket[Item, Result]] = []
        while queue and len(batch) < up_to:
            ticket = queue.popleft()
            if not self._drop(ticket, now):
                ticket.started_s = now
                batch.append(ticket)
        return batch

    def _drop(self, ticket: Ticket[Item, Result], now: float) -> bool:
        """Whether the ticket is withdrawn or expired; its future is done then."""
        if ticket.future.done():
            self._on_drop("cancelled")
        elif ticket.deadline_s <= now:
            self._on_drop("expired")
            ticket.future.set_exception(Expired())
        else:
            return False
        return True

    def _drop_withdrawn(self, queue: deque[Ticket[Item, Result]]) -> None:
        waiting = [ticket for ticket in queue if not ticket.future.done()]
        for _ in range(len(queue) - len(waiting)):
            self._on_drop("cancelled")
        queue.clear()
        queue.extend(waiting)

    async def _execute(self, batch: list[Ticket[Item, Result]], bulk: bool) -> None:
        try:
            self._settle(batch, await self._run(batch))
        except Exception as error:  # noqa: BLE001  (a batch must fail its own futures)
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, None)
            raise
        finally:
            self._running[bulk] -= 1
            asyncio_task = asyncio.current_task()
            if asyncio_task is not None:
                self._tasks.discard(asyncio_task)
            self._pump()

    def _settle(
        self, batch: list[Ticket[Item, Result]], results: Sequence[Result | Exception]
    ) -> None:
        postponed: list[Ticket[Item, Result]] = []
        for ticket, result in zip(batch, results, strict=True):
            if ticket.future.done():
                continue
            if isinstance(result, Postponed):
                postponed.append(ticket)
            elif isinstance(result, Exception):
                ticket.future.set_exception(result)
            else:
                ticket.future.set_result(result)
        for ticket in reversed(postponed):
            ticket.started_s = None
            (self._bulk if ticket.bulk else self._interactive).appendleft(ticket)


def _fail(batch: Sequence[Ticket[Item, Result]], error: Exception | None) -> None:
    for ticket in batch:
        if not ticket.future.done():
            if error is None:
                ticket.future.cancel()
            else:
                ticket.future.set_exception(error)


def _cancel_when_all_withdrawn(
    task: "asyncio.Task[None]", batch: Sequence[Ticket[Item, Result]]
) -> None:
    """Stops a running batch once nobody waits for any of its items."""
    waiting = len(batch)

    def on_done(future: "asyncio.Future[Result]") -> None:
        nonlocal waiting
        waiting -= 1
        if waiting == 0 and future.cancelled():
            task.cancel()

    for ticket in batch:
        ticket.future.add_done_callback(on_done)
