"""The window: items wait here until a slot is free, then leave together.

Used twice: in the ingress, where a slot is one RPC in flight, and in the model replica,
where the slot is the engine. An idle batcher never waits: the first item leaves at once,
alone. Under load a batch is whatever arrived while the slots were busy. Nothing here
knows Ray; everything runs on one event loop.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class QueueFull(Exception):
    """More items would wait than ``max_queued``; nothing was queued."""

    def __init__(self, queued: int) -> None:
        super().__init__(queued)
        self.queued = queued


class Expired(Exception):
    """The item's deadline passed while it waited."""


class Ticket(Generic[Item, Result]):
    """One item on its way through.

    Attributes:
        item: What was submitted.
        deadline_s: On the batcher's clock; looked at when the item leaves the queue.
        future: The result. Cancel it to withdraw the item.
        queued_s: When it was submitted.
        started_s: When its batch left the queue, None while it waits.
    """

    __slots__ = ("deadline_s", "future", "item", "queued_s", "started_s")

    def __init__(
        self, item: Item, deadline_s: float, future: "asyncio.Future[Result]", queued_s: float
    ) -> None:
        self.item = item
        self.deadline_s = deadline_s
        self.future = future
        self.queued_s = queued_s
        self.started_s: float | None = None


Run = Callable[[list[Ticket[Item, Result]]], Awaitable[Sequence[Result | Exception]]]


class Batcher(Generic[Item, Result]):
    """Gathers items and runs them in batches on a fixed number of slots.

    Items leave in arrival order. Withdrawn and expired items are dropped before ``run``
    sees them. An exception of ``run`` fails the items of that batch and nothing else.
    """

    def __init__(
        self,
        run: Run[Item, Result],
        *,
        max_items: int,
        slots: int,
        max_queued: int,
        on_drop: Callable[[str], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Makes an idle batcher; call the other methods from one event loop.

        Args:
            run: Answers one result or exception per ticket, in order.
            max_items: Items in one batch.
            slots: Batches that run at once.
            max_queued: Items that may wait.
            on_drop: Told ``"expired"`` or ``"cancelled"`` for every item dropped.
            clock: Seconds, monotonic.
        """
        self._run = run
        self._max_items = max_items
        self._free_slots = slots
        self._max_queued = max_queued
        self._on_drop = on_drop
        self._clock = clock
        self._queue: deque[Ticket[Item, Result]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._pump_scheduled = False
        self._items_per_s = 0.0

    @property
    def queued(self) -> int:
        """Items that wait, withdrawn ones included until they are dropped."""
        return len(self._queue)

    def drain_s(self) -> float:
        """Seconds that the waiting items will take at the recent pace; 0 while none is known."""
        return len(self._queue) / self._items_per_s if self._items_per_s else 0.0

    def submit(self, items: Sequence[Item], deadline_s: float) -> list[Ticket[Item, Result]]:
        """Queues all items or none.

        Raises:
            QueueFull: They do not all fit.
        """
        if len(self._queue) + len(items) > self._max_queued:
            self._drop_withdrawn()
            if len(self._queue) + len(items) > self._max_queued:
                raise QueueFull(len(self._queue))
        loop = asyncio.get_running_loop()
        now = self._clock()
        tickets = [
            Ticket[Item, Result](item, deadline_s, loop.create_future(), now) for item in items
        ]
        self._queue.extend(tickets)
        if self._free_slots and not self._pump_scheduled:
            # On the loop's next turn, so that what arrives in this turn leaves together.
            self._pump_scheduled = True
            loop.call_soon(self._pump)
        return tickets

    def _pump(self) -> None:
        self._pump_scheduled = False
        while self._free_slots and (batch := self._take()):
            self._free_slots -= 1
            task = asyncio.get_running_loop().create_task(self._execute(batch))
            self._tasks.add(task)
            _cancel_when_all_withdrawn(task, batch)

    def _take(self) -> list[Ticket[Item, Result]]:
        batch: list[Ticket[Item, Result]] = []
        now = self._clock()
        while self._queue and len(batch) < self._max_items:
            ticket = self._queue.popleft()
            if ticket.future.done():
                self._on_drop("cancelled")
            elif ticket.deadline_s <= now:
                self._on_drop("expired")
                ticket.future.set_exception(Expired())
            else:
                ticket.started_s = now
                batch.append(ticket)
        return batch

    def _drop_withdrawn(self) -> None:
        waiting = [ticket for ticket in self._queue if not ticket.future.done()]
        for _ in range(len(self._queue) - len(waiting)):
            self._on_drop("cancelled")
        self._queue = deque(waiting)

    async def _execute(self, batch: list[Ticket[Item, Result]]) -> None:
        started = self._clock()
        try:
            results = await self._run(batch)
            for ticket, result in zip(batch, results, strict=True):
                if ticket.future.done():
                    continue
                if isinstance(result, Exception):
                    ticket.future.set_exception(result)
                else:
                    ticket.future.set_result(result)
        except Exception as error:  # noqa: BLE001  (a batch must fail its own futures)
            _fail(batch, error)
        except asyncio.CancelledError:
            _fail(batch, None)
            raise
        finally:
            self._free_slots += 1
            asyncio_task = asyncio.current_task()
            if asyncio_task is not None:
                self._tasks.discard(asyncio_task)
            self._note_pace(len(batch), started)
            self._pump()

    def _note_pace(self, items: int, started_s: float) -> None:
        # Batches run side by side, so the pace of one slot counts once per slot in use.
        elapsed = max(self._clock() - started_s, 1e-6)
        pace = items / elapsed * (len(self._tasks) + 1)
        self._items_per_s = pace if not self._items_per_s else 0.8 * self._items_per_s + 0.2 * pace


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
