"""Callers take turns before the queue, so that no caller's texts hold up another's.

Only as many texts as keep the engines busy for a moment are let into the batcher behind; the others
wait here, by caller. So a newcomer waits for that moment and then gets its share, whatever others
have sent: batches, long texts, every class. A text has its ticket from the start, so nobody else
needs to know where it waits.
"""

import time
from collections.abc import Callable

from deployments.batching.fair_queue import Entry, FairQueue
from deployments.batching.scheduler import Expired
from deployments.inference.pending_text import PendingText, QueueFull, Road

# Engine time of the texts behind the turns: some batches under way, and enough to plan the next.
_WINDOW_S = 0.3
# Interactive texts of one caller that may go past the others at once.
_FEW = 16
# Texts waiting of all callers, as a multiple of what one alone may have.
_MOST = 4


class Turns:
    """Stands before a road. For one event loop.

    Attributes:
        road: Where texts go whose turn has come.
    """

    def __init__(
        self,
        road: Road,
        pace: Callable[[], float],
        price: Callable[[PendingText], float],
        *,
        max_queued: int,
        bulk_ratio: float,
        on_drop: Callable[[str], None],
    ) -> None:
        """Nobody waits yet.

        Args:
            road: Where texts go whose turn has come.
            pace: Engine seconds that are worked off in a second.
            price: Engine seconds of a text, as they are known now.
            max_queued: Texts of a class that wait; beyond it a caller may only have its share.
            bulk_ratio: Bulk for each interactive text of a caller, while both wait.
            on_drop: Told ``"expired"`` or ``"cancelled"`` for every text that is left out here.
        """
        self.road = road
        self._pace = pace
        self._max_queued = max_queued
        self._on_drop = on_drop
        self._queue = FairQueue[PendingText](bulk_ratio, lambda entry: price(entry.item))
        self._entries: dict[PendingText, Entry[PendingText]] = {}
        # Of those whose turn has come.
        self._under_way = 0
        self._under_way_s = 0.0
        self._letting_in = self._once_more = False

    @property
    def queued(self) -> int:
        """Texts that wait, here and on the road."""
        return len(self._queue) + self.road.waiting(bulk=False) + self.road.waiting(bulk=True)

    def later_s(self, caller: str, cost_s: float, *, bulk: bool) -> float:
        """Engine seconds that wait and come after texts of ``cost_s``, by turns."""
        return self._queue.behind(caller, cost_s, bulk=bulk)

    def submit(self, texts: list[PendingText], caller: str) -> None:
        """Queues all texts of a caller, of one model and class, or none.

        What goes in its turn beside other callers' texts is bulk from there on: interactive is
        only what a caller that is not ahead of its share asks of a few texts at once.

        Raises:
            QueueFull: They do not fit, and the caller has its share of what waits.
        """
        bulk = texts[0].bulk
        self._check_room(caller, len(texts), bulk)
        cost_s = sum(text.cost_s for text in texts)
        past = not bulk and self._queue.goes_past(caller, len(texts), cost_s, _FEW)
        for text in texts:
            entry = self._entries[text] = Entry(text, caller, text.cost_s, bulk)
            if past:
                self._queue.pass_by(entry)
                self._let_in(entry)
            else:
                self._queue.push(entry)
        if past:
            self.road.submit(texts)
        else:
            self._next()

    def finished(self, text: PendingText) -> None:
        """A text is done; the next have their turn."""
        entry = self._entries.pop(text, None)
        if entry is None:
            return
        if text.result is None and text.started_s is None:
            self._on_drop("cancelled")
        if not entry.under_way:
            self._queue.withdraw(entry)
            return
        self._under_way -= 1
        self._under_way_s = self._under_way_s - entry.charged if self._under_way else 0.0
        self._queue.finish(entry)
        self._next()

    def _check_room(self, caller: str, items: int, bulk: bool) -> None:
        waiting = self._queue.waiting(bulk=bulk) + self.road.waiting(bulk=bulk)
        if waiting + items <= self._max_queued:
            return
        self.road.purge()
        waiting = self._queue.waiting(bulk=bulk) + self.road.waiting(bulk=bulk)
        if waiting + items <= self._max_queued:
            return
        callers, mine = self._queue.callers(caller), self._queue.items_of(caller)
        # One that has nothing here yet is let in, or many others could keep it out for ever.
        has_room = not mine or mine + items <= self._max_queued // callers
        most = min(callers, _MOST) * self._max_queued
        if callers == 1 or not has_room or items > self._max_queued or waiting + items > most:
            raise QueueFull(waiting)

    def _next(self) -> None:
        """Lets texts in; one that is finished meanwhile makes room for another round."""
        self._once_more = True
        if self._letting_in:
            return
        self._letting_in = True
        try:
            while self._once_more:
                self._once_more = False
                self._let_in_some()
        finally:
            self._letting_in = False

    def _let_in_some(self) -> None:
        room_s, now = _WINDOW_S * self._pace(), time.monotonic()
        groups: dict[tuple[str, bool], list[PendingText]] = {}
        expired = []
        while self._under_way_s < room_s and (entry := self._queue.pop()) is not None:
            self._let_in(entry)
            text = entry.item
            text.bulk |= self._queue.callers(entry.caller) > 1
            if text.deadline_s <= now:
                expired.append(text)
            else:
                groups.setdefault((text.digest, text.bulk), []).append(text)
        for texts in groups.values():
            self.road.submit(texts)
        for text in expired:
            self._on_drop("expired")
            text.finish(Expired())

    def _let_in(self, entry: Entry[PendingText]) -> None:
        self._under_way += 1
        self._under_way_s += entry.charged
