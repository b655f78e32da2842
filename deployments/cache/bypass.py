"""When a lookup in the shared cache is worth its cost. Pure.

A lookup costs every text some time, a hit saves one text its inference. Below the hit rate
where both are equal, level two only adds latency; it is then bypassed, except for a regular
probe that notices when this changes.
"""

import time
from collections.abc import Callable

_KEEP = 0.8
_PROBE_EVERY = 16
# Micro-batches may hold one text each: probes are not more frequent than this.
_PROBE_PAUSE_S = 0.25
# Lookups before history counts: level two may be warm already, or slow at first.
_PATIENCE = 16


class BreakEven:
    """Compares ``hit rate · inference`` with the cost of a lookup, from recent history."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """No history yet."""
        self._clock = clock
        self._looked_s = 0.0
        self._lookups = 0
        self._hit_ratio = 0.5
        self._lookup_s = 0.0
        self._inference_s = 0.0
        self._skipped = 0

    @property
    def ratio(self) -> float:
        """Hit rate at which a lookup just pays; 0 before both costs are known."""
        return self._lookup_s / self._inference_s if self._inference_s else 0.0

    def pays(self) -> bool:
        """Whether to look up the next micro-batch.

        Every sixteenth is looked up regardless, if the last lookup was a quarter of a second ago.
        """
        worth = self._lookups < _PATIENCE or self._hit_ratio >= self.ratio
        now = self._clock()
        probes = self._skipped + 1 >= _PROBE_EVERY and now - self._looked_s >= _PROBE_PAUSE_S
        if worth or probes:
            self._skipped, self._looked_s = 0, now
            return True
        self._skipped += 1
        return False

    def looked_up(self, texts: int, hits: int, elapsed_s: float) -> None:
        """Records a lookup: its texts (more than 0), hits and seconds."""
        self._lookups += 1
        self._hit_ratio = _KEEP * self._hit_ratio + (1 - _KEEP) * hits / texts
        self._lookup_s = _blend(self._lookup_s, elapsed_s / texts)

    def inferred(self, cost_s: float) -> None:
        """Records the engine seconds of a typical text."""
        self._inference_s = _blend(self._inference_s, cost_s)


def _blend(past: float, now: float) -> float:
    return _KEEP * past + (1 - _KEEP) * now if past else now
