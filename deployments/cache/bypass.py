"""When a lookup in the shared cache is worth its cost. Pure.

A lookup costs every text some time, a hit saves one text its inference. Below the hit rate
where both are equal, level two only adds latency; it is then bypassed, except for a regular
probe that notices when this changes.
"""

_KEEP = 0.8
_PROBE_EVERY = 16
# Lookups before history counts: level two may be warm already, or slow at first.
_PATIENCE = 16


class BreakEven:
    """Compares ``hit rate · inference`` with the cost of a lookup, from recent history."""

    def __init__(self) -> None:
        """No history yet."""
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
        """Whether to look up the next micro-batch; every sixteenth is looked up regardless."""
        worth = self._lookups < _PATIENCE or self._hit_ratio >= self.ratio
        if worth or self._skipped + 1 >= _PROBE_EVERY:
            self._skipped = 0
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
