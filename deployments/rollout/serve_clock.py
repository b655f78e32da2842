"""Ray Serve's controller starts anew when its node's clock was set back.

It times its looks at replicas by the wall clock. Set back by an hour, it looks at none of them for
an hour, and replaces none that dies. Replicas go on answering while it starts, and it knows them
again.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

_log = logging.getLogger("ray.serve.sentigraph")
_LOOK_S = 5.0
_ANSWER_S = 10.0
# It looks at a replica every ten seconds: less is no matter, and it may itself be late by as much.
_SET_BACK_S = 60.0
# So often in a row that it is no restart; said once.
_UNREADABLE = 12


class SteppedBack:
    """Tells from its readings that a wall clock was set back."""

    def __init__(self) -> None:
        self._most_s: float | None = None
        self._before = False

    def read(self, wall_s: float, monotonic_s: float) -> bool:
        """Whether it was; two readings in a row say so, for one may come from a held process."""
        ahead_s = wall_s - monotonic_s
        self._most_s = max(ahead_s, ahead_s if self._most_s is None else self._most_s)
        behind = self._most_s - ahead_s >= _SET_BACK_S
        certain, self._before = behind and self._before, behind
        if certain:
            self._most_s, self._before = ahead_s, False
        return certain


async def watch_serve_clock(
    wall_clock_s: Callable[[], Awaitable[float]], restart: Callable[[], None]
) -> None:
    """Runs until it is cancelled.

    Args:
        wall_clock_s: The controller's.
        restart: Ends the controller; Ray starts it again.
    """
    clock, failures = SteppedBack(), 0
    while True:
        await asyncio.sleep(_LOOK_S)
        try:
            wall_s = await asyncio.wait_for(wall_clock_s(), _ANSWER_S)
            if clock.read(wall_s, time.monotonic()):
                _log.warning("the clock of Ray Serve's controller was set back: it starts anew")
                restart()
            failures = 0
        except Exception as error:  # noqa: BLE001  (one that starts or hangs is Ray's to replace)
            failures += 1
            if failures == _UNREADABLE:
                _log.warning("the clock of Ray Serve's controller cannot be read: %r", error)
