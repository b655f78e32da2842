"""Callers take turns before the queue, so that no caller's texts hold up another's.

Only as many texts as keep the engines busy for a moment are let into the batcher behind; the others
wait here, by caller. So a newcomer waits for that moment and then gets its share, whatever others
have sent: batches, long texts, every class. A text has its ticket from the start, so nobody else
needs to know where it waits.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

from deployments.batching.batcher import Batcher, Expired, QueueFull, Ticket
from deployments.batching.fair_queue import Entry, FairQueue
from deployments.predictions import Outcome

# Engine time of the texts behind the turns: some batches under way, and enough to plan the next.
_WINDOW_S = 0.3
# Interactive texts of one caller that may go past the others at once.
_FEW = 16
# Texts waiting of all callers, as a multiple of what one alone may have.
_MOST = 4


class Priced(Protocol):
    """What is queued: a text with its predicted engine seconds."""

    @property
    def cost_s(self) -> float:
        """Above 0."""
        ...


Item = TypeVar("Item", bound=Priced)


class Turns(Generic[Item]):
    """Stands before a batcher. For one event loop."""

    def __init__(
        self,
        batcher: Batcher[Item, Outcome],
        pace: Callable[[], float],
        price: Callable[[Item], float],
        *,
        max_queued: int,
        bulk_ratio: float,
        on_drop: Callable[[str], None],
    ) -> None:
        """Nobody waits yet.

        Args:
            batcher: Where texts go whose turn has come.
            pace: Engine seconds that are worked off in a second.
            price: Engine seconds of a text, as they are known now.
            max_queued: Texts of a class that wait; beyond it a caller may only have its share.
            bulk_ratio: Bulk for each interactive text of a caller, while both wait.
            on_drop: Told ``"expired"`` or ``"cancelled"`` for every text that is left out.
        """
        self._batcher = batcher
        self._pace = pace
        self._max_queued = max_queued
        self._on_drop = on_drop
        self._queue = FairQueue[Ticket[Item, Outcome]](
            bulk_ratio, lambda entry: price(entry.item.item)
        )
        self._entries: dict[Ticket[Item, Outcome], Entry[Ticket[Item, Outcome]]] = {}
        # Of those whose turn has come.
        self._under_way = 0
        self._under_way_s = 0.0

    @property
    def queued(self) -> int:
        """Texts that wait, here and in the batcher."""
        return len(self._queue) + self._batcher.queued

    def later_s(self, caller: str, cost_s: float, *, bulk: bool) -> float:
        """Engine seconds that wait and come after texts of ``cost_s``, by turns."""
        return self._queue.behind(caller, cost_s, bulk=bulk)

    def submit(
        self, items: Sequence[Item], deadline_s: float, *, bulk: bool, caller: str
    ) -> list[Ticket[Item, Outcome]]:
        """Queues all texts of a caller, or none.

        What goes in its turn beside other callers' texts is bulk from there on: interactive is
        only what a caller that is not ahead of its share asks of a few texts at once.

        Raises:
            QueueFull: They do not fit, and the caller has its share of what waits.
        """
        self._check_room(caller, len(items), bulk)
        loop, now = asyncio.get_running_loop(), time.monotonic()
        tickets = [
            Ticket[Item, Outcome](item, deadline_s, bulk, loop.create_future(), now)
            for item in items
        ]
        cost_s = sum(item.cost_s for item in items)
        past = not bulk and self._queue.goes_past(caller, len(items), cost_s, _FEW)
        for ticket in tickets:
            entry = self._entries[ticket] = Entry(ticket, caller, ticket.item.cost_s, bulk)
            if past:
                self._queue.pass_by(entry)
                self._let_in(entry)
            else:
                self._queue.push(entry)
        if past:
            self._batcher.enter(tickets)
        else:
            self._next()
        return tickets

    def finished(self, ticket: Ticket[Item, Outcome]) -> None:
        """A ticket's future is done; the next have their turn."""
        entry = self._entries.pop(ticket, None)
        if entry is None:
            return
        if not entry.under_way:
            self._queue.withdraw(entry)
            self._on_drop("cancelled")
            return
        self._under_way -= 1
        self._under_way_s = self._under_way_s - entry.charged if self._under_way else 0.0
        self._queue.finish(entry)
        self._next()

    def _check_room(self, caller: str, items: int, bulk: bool) -> None:
        waiting = self._queue.waiting(bulk=bulk) + self._batcher.waiting(bulk=bulk)
        if waiting + items <= self._max_queued:
            return
        callers, mine = self._queue.callers(caller), self._queue.items_of(caller)
        # One that has nothing here yet is let in, or many others could keep it out for ever.
        has_room = not mine or mine + items <= self._max_queued // callers
        most = min(callers, _MOST) * self._max_queued
        if callers == 1 or not has_room or items > self._max_queued or waiting + items > most:
            raise QueueFull(waiting)

    def _next(self) -> None:
        room_s = _WINDOW_S * self._pace()
        batch, now = [], time.monotonic()
        while self._under_way_s < room_s and (entry := self._queue.pop()) is not None:
            self._let_in(entry)
            entry.item.bulk |= self._queue.callers(entry.caller) > 1
            if entry.item.deadline_s <= now:
                self._on_drop("expired")
                entry.item.future.set_exception(Expired())
            else:
                batch.append(entry.item)
        if batch:
            self._batcher.enter(batch)

    def _let_in(self, entry: Entry[Ticket[Item, Outcome]]) -> None:
        self._under_way += 1
        self._under_way_s += entry.charged
