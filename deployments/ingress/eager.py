"""Runs a coroutine at once, up to where it first has to wait.

What never waits (a cached answer, a refusal) then costs no task and no turn of the event loop.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any


def start(
    coroutine: Coroutine[Any, None, None], loop: asyncio.AbstractEventLoop, context: Context
) -> asyncio.Task[None] | None:
    """Runs it in ``context``; returns the task that ends it, None if it has ended already.

    Its first part has no current task, so it must not use what needs one, as ``asyncio.timeout``.

    Raises:
        Exception: What it raised in its first part.
    """
    try:
        waits_for = context.run(coroutine.send, None)
    except StopIteration:
        return None
    return loop.create_task(_rest(coroutine, waits_for), context=context)


async def _rest(coroutine: Coroutine[Any, None, None], waits_for: Any) -> None:
    await _Started(coroutine, waits_for)


class _Started:
    """Awaits a coroutine that already waits for something."""

    def __init__(self, coroutine: Coroutine[Any, None, None], waits_for: Any) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        while True:
            step: Callable[[Any], Any]
            try:
                given = yield self._waits_for
                step = self._coroutine.send
            except BaseException as error:  # noqa: BLE001  (it is the coroutine's to handle)
                given, step = error, self._coroutine.throw
            try:
                self._waits_for = step(given)
            except StopIteration:
                return
