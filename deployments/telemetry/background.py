"""Work beside the answers: one failure that nobody foresaw must not end it in silence."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

_log = logging.getLogger("ray.serve.sentigraph")
# A failure that comes again at once doubles the pause.
_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


def keep_running(work: Callable[[], Coroutine[Any, Any, None]], what: str) -> asyncio.Task[None]:
    """Runs ``work`` as a task until it returns or is cancelled; starts it again when it fails.

    Args:
        work: Makes the coroutine, anew for each start.
        what: Its name in the log.
    """
    return asyncio.get_running_loop().create_task(_run(work, what))


async def _run(work: Callable[[], Coroutine[Any, Any, None]], what: str) -> None:
    pause_s = _PAUSE_S
    while True:
        started_s = asyncio.get_running_loop().time()
        try:
            return await work()
        except Exception:  # noqa: BLE001  (whatever it was, the next round may do better)
            if asyncio.get_running_loop().time() - started_s > _LONGEST_PAUSE_S:
                pause_s = _PAUSE_S
            _log.exception("%s failed, and starts again in %g s", what, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
