"""How many texts a caller, and all of them, may have classified in a second. Pure.

A request is let in as long as nothing is owed, whatever its size, and then owes its texts: so a
batch needs no burst of its size, and the mean is kept.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

_MAX_CALLERS = 10_000
_BURST_S = 1.0
_ALL = None


class TextQuota:
    """Texts per second in one replica; those that a cache answers are free."""

    def __init__(
        self, per_caller: float, in_all: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Nothing is owed; a rate of 0 is no limit."""
        self._per_caller = per_caller
        self._in_all = in_all
        self._clock = clock
        # By caller: texts that it may have at once, and when that was so.
        self._left: OrderedDict[str | None, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, texts: int) -> float:
        """Takes the texts of a request.

        Returns:
            0 when they may go on, else the seconds until the next may; then nothing is taken.
        """
        limits: list[tuple[str | None, float]] = [(caller, self._per_caller), (_ALL, self._in_all)]
        limits = [(name, rate) for name, rate in limits if rate]
        if not limits:
            return 0.0
        now = self._clock()
        left = {name: self._now(name, rate, now) for name, rate in limits}
        wait_s = max(max(0.0, -left[name] / rate) for name, rate in limits)
        if wait_s:
            return wait_s
        for name, _ in limits:
            self._left[name] = left[name] - texts, now
            self._left.move_to_end(name)
        while len(self._left) > _MAX_CALLERS:
            self._left.popitem(last=False)
        return 0.0

    def _now(self, name: str | None, rate: float, now: float) -> float:
        left, at_s = self._left.get(name, (rate * _BURST_S, now))
        return min(rate * _BURST_S, left + (now - at_s) * rate)
