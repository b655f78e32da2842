"""Threads that run engine batches: each takes the next one itself when it is free."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


class EngineThreads:
    """Some threads of one process; what they do beside batches comes between two of them."""

    def __init__(self, count: int, work: Callable[[bool | None], bool | None]) -> None:
        """Starts no thread yet.

        Args:
            count: Threads.
            work: Runs the next batch, given the class of the one before it; returns its class, or
                None if none waits: its thread then rests until ``wake``.
        """
        self.count = count
        self._work = work
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="engine")
        self._calls: deque[Callable[[], None]] = deque()

    def wake(self) -> None:
        """One more thread works until there is nothing to do."""
        self._executor.submit(self._run)

    async def call(self, function: Callable[[], R]) -> R:
        """Runs a function in an engine thread, between two batches."""
        done: Future[R] = Future()

        def run() -> None:
            if not done.set_running_or_notify_cancel():
                return
            try:
                done.set_result(function())
            except BaseException as error:  # noqa: BLE001  (it is the caller's)
                done.set_exception(error)

        self._calls.append(run)
        # A thread that is busy comes to it after its batch; this makes sure that one does.
        self._executor.submit(self._call)
        return await asyncio.wrap_future(done)

    def _run(self) -> None:
        after: bool | None = None
        while (after := self._work(after)) is not None:
            self._call()

    def _call(self) -> None:
        try:
            call = self._calls.popleft()
        except IndexError:
            return
        call()
