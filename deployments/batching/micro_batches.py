"""Micro-batches on an event loop: what arrived while some calls were in flight goes together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Generic, TypeVar

from deployments.batching.scheduler import Scheduler, Ticket

T = TypeVar("T", bound=Ticket)


class MicroBatches(Generic[T]):
    """A scheduler whose slots are calls in flight. For one event loop.

    An idle one calls in the loop's next turn, so that texts of one turn go together.
    """

    def __init__(
        self,
        run: Callable[[list[T]], Awaitable[None]],
        expired: Callable[[Sequence[T]], None],
        *,
        calls: int,
        max_texts: int,
        bulk_ratio: float = 0.125,
    ) -> None:
        """Makes an idle one.

        Args:
            run: Answers the texts of a micro-batch; raises nothing.
            expired: Called with texts whose deadline passed before their turn.
            calls: Calls of one class in flight; bulk in flight keeps no interactive text.
            max_texts: Texts of one call.
            bulk_ratio: See ``Scheduler``.
        """
        self._run = run
        self._expired = expired
        self._tasks: set[asyncio.Task[None]] = set()
        self.scheduler = Scheduler[T](
            self._start,
            slots=2 * calls,
            slots_per_class=calls,
            max_items=max_texts,
            bulk_ratio=bulk_ratio,
        )

    def _start(self) -> None:
        # Not in the context of the request that is first: Serve cancels what a request called
        # when its client leaves, and a call carries the texts of others too.
        task = asyncio.get_running_loop().create_task(self._work(), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self) -> None:
        after: bool | None = None
        while True:
            batch, expired = self.scheduler.take(after)
            if expired:
                self._expired(expired)
            if not batch:
                return
            after = batch[0].bulk
            await self._run(batch)
