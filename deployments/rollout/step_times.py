"""The seconds of each step of a change, from reading MLflow to the new routing table.

``reconciler.py`` starts one in each round; ``controller.py`` adds its own steps and logs all of
them with the table. Plain Python.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class StepTimes:
    """Seconds by step, in the order in which the steps began. For one event loop.

    Attributes:
        began_at_s: Unix time when the round began.
        seconds: Seconds by step; overlapping steps count in full.
    """

    def __init__(self) -> None:
        self.began_at_s = time.time()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Adds the time of the ``with`` block to a step."""
        started_s = time.monotonic()
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self.seconds[name] += time.monotonic() - started_s

    def fields(self) -> dict[str, object]:
        """For a log line."""
        steps = {name: round(seconds, 3) for name, seconds in self.seconds.items()}
        return {"seen_at_s": round(self.began_at_s, 3), "steps_s": steps}
